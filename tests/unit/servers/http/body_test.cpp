#include "servers/http/body.hpp"

#include "support.hpp"

namespace sluice::servers::test {
namespace {

const http_body digits{std::make_shared<const std::string>("0123456789"), "video/mp2t", "\"tag\"", "max-age=60"};

runtime::http_response answer(std::vector<std::pair<std::string, std::string>> headers,
                              const http_body& body = digits) {
  return answer_with(request_for("/x", std::move(headers)), body);
}
std::string text_of(const runtime::http_response& r) { return r.shared_body ? *r.shared_body : r.body; }

TEST(http_body, is_sent_whole_without_a_copy) {
  const auto r = answer({});
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.shared_body, digits.bytes);
  EXPECT_EQ(r.content_type, "video/mp2t");
  EXPECT_EQ(header_of(r, "ETag"), "\"tag\"");
  EXPECT_EQ(header_of(r, "Cache-Control"), "max-age=60");
  EXPECT_EQ(header_of(r, "Accept-Ranges"), "bytes");
  EXPECT_EQ(header_of(r, "Access-Control-Allow-Origin"), "*");
}

TEST(http_body, one_range) {
  struct row {
    const char* range;
    const char* bytes;
    const char* content_range;
  };
  for (const auto& [range, bytes, content_range] : {row{"bytes=0-0", "0", "bytes 0-0/10"},
                                                    {"bytes=2-4", "234", "bytes 2-4/10"},
                                                    {"bytes=7-", "789", "bytes 7-9/10"},
                                                    {"bytes=7-100", "789", "bytes 7-9/10"},
                                                    {"bytes=-3", "789", "bytes 7-9/10"},
                                                    {"bytes=-100", "0123456789", "bytes 0-9/10"}}) {
    const auto r = answer({{"Range", range}});
    EXPECT_EQ(r.status, 206) << range;
    EXPECT_EQ(text_of(r), bytes) << range;
    EXPECT_EQ(header_of(r, "Content-Range"), content_range) << range;
  }
}

TEST(http_body, a_range_beyond_the_end) {
  for (const auto* range : {"bytes=10-", "bytes=100-200", "bytes=-0"}) {
    const auto r = answer({{"Range", range}});
    EXPECT_EQ(r.status, 416) << range;
    EXPECT_EQ(header_of(r, "Content-Range"), "bytes */10") << range;
  }
  const http_body empty{std::make_shared<const std::string>(), "a/b", "", ""};
  EXPECT_EQ(answer({{"Range", "bytes=0-"}}, empty).status, 416);
  EXPECT_EQ(answer({{"Range", "bytes=-1"}}, empty).status, 416);
}

TEST(http_body, other_ranges_are_ignored) {
  for (const auto* range : {"bytes=", "bytes=-", "bytes=a-b", "bytes=4-2", "bytes=0-1,3-4", "lines=0-1", "bytes=0",
                            "bytes=99999999999999999999-", "bytes=+1-2"}) {
    const auto r = answer({{"Range", range}});
    EXPECT_EQ(r.status, 200) << range;
    EXPECT_EQ(text_of(r), "0123456789") << range;
  }
}

TEST(http_body, ranges_are_of_get_only) {
  auto request = request_for("/x", {{"Range", "bytes=2-4"}});
  request.method = "HEAD";
  const auto r = answer_with(request, digits);
  EXPECT_EQ(r.status, 200);
  EXPECT_EQ(r.shared_body, digits.bytes) << "to be counted";
  EXPECT_EQ(header_of(r, "Content-Range"), "");
}

TEST(http_body, what_the_client_has_is_not_sent) {
  for (const auto* have : {"\"tag\"", "*", "W/\"tag\"", "\"other\", \"tag\""}) {
    const auto r = answer({{"If-None-Match", have}});
    EXPECT_EQ(r.status, 304) << have;
    EXPECT_EQ(text_of(r), "") << have;
    EXPECT_EQ(header_of(r, "ETag"), "\"tag\"");
  }
  EXPECT_EQ(answer({{"If-None-Match", "\"other\""}}).status, 200);
  EXPECT_EQ(answer({{"If-None-Match", "\"tag\""}, {"Range", "bytes=0-0"}}).status, 304) << "it comes before the range";
}

TEST(http_body, a_range_under_a_condition) {
  EXPECT_EQ(answer({{"Range", "bytes=0-0"}, {"If-Range", "\"tag\""}}).status, 206);
  EXPECT_EQ(answer({{"Range", "bytes=0-0"}, {"If-Range", "\"old\""}}).status, 200);
}

}  // namespace
}  // namespace sluice::servers::test
