#include "servers/http/target.hpp"

#include "support.hpp"

namespace sluice::servers::test {
namespace {

std::string said(const std::string& target,
                 std::vector<std::pair<std::string, std::string>> headers = {{"Host", "a.b"}}) {
  const auto t = parse_media_target(request_for(target, std::move(headers)), {});
  if (!t) return std::string(t.error().reason);
  const auto key = t->address.key.stream.empty() ? std::string() : " " + t->address.key.str();
  switch (t->kind) {
    case media_kind::none:
      return "none" + key;
    case media_kind::endless:
      return std::string(name(t->format)) + key;
    case media_kind::playlist:
      return "playlist" + key;
    case media_kind::segment:
      return t->may_be_stream ? "segment, or else" + key : "segment" + key;
  }
  return {};
}

TEST(media_target, is_told_by_the_extension) {
  EXPECT_EQ(said("/live/s.flv"), "http-flv a.b/live/s");
  EXPECT_EQ(said("/live/s.ts"), "http-ts a.b/live/s");
  EXPECT_EQ(said("/live/s.m3u8"), "playlist a.b/live/s");
  EXPECT_EQ(said("/live/s-1795679408.ts"), "segment, or else a.b/live/s-1795679408")
      << "segments are counted from the wall clock on";
  EXPECT_EQ(said("/live/s-1795679408.ts", {{"Host", "a.b"}, {"x-sluice-segment", "1"}}), "segment");
  EXPECT_EQ(said("/live/s-1795679408.ts?spbhid=x"), "segment");
  EXPECT_EQ(said("/live/cam-20261126210000.ts"), "http-ts a.b/live/cam-20261126210000") << "no segment has that number";
  EXPECT_EQ(said("/live/cam-0123456789.ts"), "http-ts a.b/live/cam-0123456789");
  EXPECT_EQ(said("/live/s-12.ts"), "http-ts a.b/live/s-12");
  EXPECT_EQ(said("/live/s-1.ts?spbhid=x"), "segment");
  EXPECT_EQ(said("/live/s-1795679408.m4s"), "segment");
  EXPECT_EQ(said("/live/s-0123456789abcdef-init.mp4"), "segment");
  EXPECT_EQ(said("/live/s.mp4?spbhid=x"), "segment");
  EXPECT_EQ(said("/live/s.mp4"), "none") << "a file";
  for (const auto* other : {"/", "/live/s", "/api/v1/versions", "/a.flv/b", "/players/x.html", "/live/s.flvx"})
    EXPECT_EQ(said(other), "none") << other;
}

TEST(media_target, has_the_same_key_as_by_rtmp) {
  EXPECT_EQ(said("/a/b/s.flv"), "http-flv a.b/a/b/s");
  EXPECT_EQ(said("/live/s.flv", {{"Host", "a.b:8080"}}), "http-flv a.b/live/s");
  EXPECT_EQ(said("/live/s.flv", {{"Host", "10.0.0.1:8080"}}), "http-flv __defaultVhost__/live/s");
  EXPECT_EQ(said("/live/s.flv", {{"Host", "localhost"}}), "http-flv __defaultVhost__/live/s");
  EXPECT_EQ(said("/live/s.flv?vhost=c.d"), "http-flv c.d/live/s");
  EXPECT_EQ(said("/live/s.flv?domain=c.d"), "http-flv c.d/live/s");
  EXPECT_EQ(said("/x/y.flv?app=live&stream=s"), "http-flv a.b/live/s");
}

TEST(media_target, names_that_must_not_become_a_key_are_refused) {
  for (const auto* bad : {"/live/..flv?stream=..", "/live/%00.flv", "/live/a%0d%0ab.flv", "/.flv", "/live/{x}.flv"})
    EXPECT_EQ(said(bad), "bad_stream_name") << bad;
  EXPECT_EQ(said("/live/" + std::string(70'000, 'x') + ".flv"), "bad_stream_name");
}

std::string client_of(std::vector<std::pair<std::string, std::string>> headers, const char* trusted = "127.0.0.0/8") {
  return client_address(request_for("/", std::move(headers)),
                        {*base::network::parse(trusted), *base::network::parse("10.0.0.0/8")})
      .address.to_string();
}

TEST(client_address, is_what_trusted_peers_say) {
  EXPECT_EQ(client_of({}), "127.0.0.1");
  EXPECT_EQ(client_of({{"X-Real-IP", "203.0.113.1"}}), "203.0.113.1");
  EXPECT_EQ(client_of({{"X-Forwarded-For", "203.0.113.1"}}), "203.0.113.1");
  EXPECT_EQ(client_of({{"X-Forwarded-For", "203.0.113.1"}, {"X-Real-IP", "203.0.113.9"}}), "203.0.113.1");
  EXPECT_EQ(client_of({{"X-Forwarded-For", " 203.0.113.1 , 10.0.0.5"}}), "203.0.113.1") << "behind a trusted proxy";
  EXPECT_EQ(client_of({{"X-Forwarded-For", "1.2.3.4, 203.0.113.1, 10.0.0.5"}}), "203.0.113.1") << "beyond is hearsay";
  EXPECT_EQ(client_of({{"X-Forwarded-For", "10.0.0.4, 10.0.0.5"}}), "10.0.0.4") << "all of them trusted";
  EXPECT_EQ(client_of({{"X-Forwarded-For", "2001:db8::1"}}), "2001:db8::1");
}

TEST(client_address, a_line_that_a_proxy_added_counts_more) {
  EXPECT_EQ(client_of({{"X-Forwarded-For", "1.2.3.4"}, {"x-forwarded-for", "203.0.113.1"}}), "203.0.113.1");
}

TEST(client_address, garbage_is_not_believed) {
  EXPECT_EQ(client_of({{"X-Forwarded-For", "nonsense"}}), "127.0.0.1");
  EXPECT_EQ(client_of({{"X-Forwarded-For", ",,,"}}), "127.0.0.1");
  EXPECT_EQ(client_of({{"X-Forwarded-For", "203.0.113.1, unknown"}}), "127.0.0.1");
  EXPECT_EQ(client_of({{"X-Real-IP", "1.2.3"}}), "127.0.0.1");
}

TEST(client_address, strangers_are_not_believed) {
  EXPECT_EQ(client_of({{"X-Forwarded-For", "203.0.113.1"}, {"X-Real-IP", "203.0.113.1"}}, "192.0.2.0/24"), "127.0.0.1");
}

TEST(http_failure, escapes_its_text) {
  const auto r = http_failure(404, "a \"b\"\n");
  EXPECT_EQ(r.status, 404);
  EXPECT_EQ(r.body, R"({"code":404,"error":"a \"b\"\n"})");
  EXPECT_EQ(header_of(r, "Access-Control-Allow-Origin"), "*");
}

}  // namespace
}  // namespace sluice::servers::test
