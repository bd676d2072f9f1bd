#include "relay/http_pass.hpp"

#include <gtest/gtest.h>

namespace sluice::relay {
namespace {

using header_list = std::vector<std::pair<std::string, std::string>>;

header_list forwarded(header_list headers, const char* peer = "127.0.0.1") {
  runtime::http_request r;
  r.method = "GET";
  r.headers = std::move(headers);
  r.peer = {*base::ip_address::parse(peer), 5};
  return forwarded_headers(r, {*base::network::parse("127.0.0.0/8"), *base::network::parse("10.0.0.0/8")},
                           "origin.host");
}
std::string value(const header_list& in, std::string_view name) {
  std::string found;
  for (const auto& [n, v] : in)
    if (n == name) found += (found.empty() ? "" : "|") + v;
  return found;
}

TEST(forwarded_headers, say_where_the_client_is) {
  const auto plain = forwarded({{"Host", "a"}}, "203.0.113.1");
  EXPECT_EQ(plain,
            (header_list{{"Host", "origin.host"}, {"X-Forwarded-For", "203.0.113.1"}, {"X-Real-IP", "203.0.113.1"}}));
}

TEST(forwarded_headers, what_trusted_peers_say_goes_on_with_their_own_address) {
  const auto h = forwarded({{"X-Forwarded-For", "198.51.100.1, 203.0.113.7"}, {"X-Real-IP", "9.9.9.9"}});
  EXPECT_EQ(value(h, "X-Forwarded-For"), "198.51.100.1, 203.0.113.7, 127.0.0.1");
  EXPECT_EQ(value(h, "X-Real-IP"), "203.0.113.7");
  const auto lines = forwarded({{"X-Forwarded-For", "1.2.3.4"}, {"x-forwarded-for", "203.0.113.7"}});
  EXPECT_EQ(value(lines, "X-Forwarded-For"), "1.2.3.4, 203.0.113.7, 127.0.0.1");
  EXPECT_EQ(value(lines, "X-Real-IP"), "203.0.113.7");
  const auto real = forwarded({{"x-real-ip", "203.0.113.9"}});
  EXPECT_EQ(value(real, "X-Forwarded-For"), "203.0.113.9");
  EXPECT_EQ(value(real, "X-Real-IP"), "203.0.113.9");
}

TEST(forwarded_headers, what_strangers_say_does_not) {
  const auto h = forwarded(
      {{"X-Forwarded-For", "10.0.0.1"}, {"x-forwarded-for", "10.0.0.2"}, {"X-Real-IP", "10.0.0.3"}}, "203.0.113.1");
  EXPECT_EQ(value(h, "X-Forwarded-For"), "203.0.113.1");
  EXPECT_EQ(value(h, "X-Real-IP"), "203.0.113.1");
  EXPECT_EQ(value(h, "x-forwarded-for"), "");
}

TEST(forwarded_headers, those_of_the_connection_are_left_out) {
  const auto h = forwarded({{"Host", "a"},
                            {"Connection", "close, X-Mine"},
                            {"X-Mine", "1"},
                            {"TE", "trailers"},
                            {"Upgrade", "h2c"},
                            {"Content-Length", "0"},
                            {"Transfer-Encoding", "chunked"},
                            {"Expect", "100-continue"},
                            {"Proxy-Authorization", "x"},
                            {"Authorization", "Bearer t"},
                            {"Cookie", "a"},
                            {"cookie", "b"},
                            {"Range", "bytes=0-"}});
  EXPECT_EQ(header_list(h.begin() + 1, h.end() - 2),
            (header_list{{"Authorization", "Bearer t"}, {"Cookie", "a"}, {"cookie", "b"}, {"Range", "bytes=0-"}}));
}

TEST(forwarded_headers, cannot_split_a_request) {
  const auto h = forwarded({{"X", "a\r\nHost: b"}, {"Y Z", "1"}, {"X-Forwarded-For", "1.2.3.4\r\nA: b"}});
  EXPECT_EQ(h.size(), 3u);
  EXPECT_EQ(value(h, "X-Forwarded-For"), "127.0.0.1");
}

TEST(returned_headers, those_of_the_connection_are_left_out) {
  const auto h = returned_headers({200,
                                   {{"Server", "SRS"},
                                    {"Connection", "keep-alive, x-hop"},
                                    {"X-Hop", "1"},
                                    {"Transfer-Encoding", "chunked"},
                                    {"Content-Length", "5"},
                                    {"Set-Cookie", "a"},
                                    {"Set-Cookie", "b"},
                                    {"Content-Type", "video/mp2t"}}});
  EXPECT_EQ(h,
            (header_list{{"Server", "SRS"}, {"Set-Cookie", "a"}, {"Set-Cookie", "b"}, {"Content-Type", "video/mp2t"}}));
}

TEST(forwarded_headers, who_names_no_host_means_the_origins) {
  runtime::http_request r;
  r.peer = *base::endpoint::parse("203.0.113.1:5");
  const std::vector<base::endpoint> origin{*base::endpoint::parse("10.1.1.1:8080")};
  EXPECT_EQ(value(forwarded_headers(r, {}, "", origin), "Host"), "10.1.1.1:8080");
  EXPECT_EQ(value(forwarded_headers(r, {}, "a.b", origin), "Host"), "a.b");
}

}  // namespace
}  // namespace sluice::relay
