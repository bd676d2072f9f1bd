#include "cluster/core/stream_key.hpp"

#include <gtest/gtest.h>

#include <unordered_set>

namespace sluice::cluster {
namespace {

using namespace std::string_literals;

struct rtmp_case {
  std::string tc_url, app, name;
  std::string key;  // empty: refused
  std::string query;
};

void PrintTo(const rtmp_case& c, std::ostream* out) { *out << c.tc_url << " | " << c.app << " | " << c.name; }

class rtmp_forms : public testing::TestWithParam<rtmp_case> {};

TEST_P(rtmp_forms, key_and_query) {
  const rtmp_case& c = GetParam();
  const auto got = parse_rtmp(c.tc_url, c.app, c.name, {});
  if (c.key.empty()) {
    ASSERT_FALSE(got) << got->key.str();
    EXPECT_EQ(got.error().reason, "bad_stream_name");
    return;
  }
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->key.str(), c.key);
  EXPECT_EQ(got->query, c.query);
}

const std::string def = "__defaultVhost__/live/livestream";
const std::string srs = "demo.srs.com/live/livestream";

INSTANTIATE_TEST_SUITE_P(
    plain, rtmp_forms,
    testing::Values(rtmp_case{"rtmp://127.0.0.1/live", "live", "livestream", def, ""},
                    rtmp_case{"rtmp://127.0.0.1:1935/live", "live", "livestream", def, ""},
                    rtmp_case{"rtmp://localhost/live", "live", "livestream", def, ""},
                    rtmp_case{"rtmp://[::1]:1935/live", "live", "livestream", def, ""},
                    rtmp_case{"rtmp://[fe80::1]/live", "live", "livestream", def, ""},
                    rtmp_case{"rtmp://demo.srs.com/live", "live", "livestream", srs, ""},
                    rtmp_case{"rtmps://demo.srs.com:443/live/", "live/", "/livestream", srs, ""},
                    rtmp_case{"rtmp://Demo.SRS.com./live", "live", "livestream", srs, ""},
                    rtmp_case{"rtmp://user:pa@ss@demo.srs.com:1935/live", "live", "livestream", srs, ""},
                    rtmp_case{"", "live", "livestream", def, ""}, rtmp_case{"/live", "live", "livestream", def, ""},
                    rtmp_case{"rtmp://demo.srs.com", "live", "livestream", srs, ""},
                    rtmp_case{"rtmp://demo.srs.com/a/b/c", "a/b/c", "s", "demo.srs.com/a/b/c/s", ""},
                    rtmp_case{"rtmp://demo.srs.com/a/b", "a/b", "c/s", "demo.srs.com/a/b/c/s", ""},
                    rtmp_case{"rtmp://h/live", "live", "mp4:f.mp4", "__defaultVhost__/live/mp4:f.mp4", ""},
                    rtmp_case{"rtmp://h/live", "live", "a%20b", "__defaultVhost__/live/a b", ""},
                    rtmp_case{"rtmp://h/live", "live", "\xe4\xb8\xad", "__defaultVhost__/live/\xe4\xb8\xad", ""}));

INSTANTIATE_TEST_SUITE_P(
    vhosts, rtmp_forms,
    testing::Values(
        rtmp_case{"rtmp://1.2.3.4/live?vhost=demo.srs.com", "live?vhost=demo.srs.com", "livestream", srs,
                  "vhost=demo.srs.com"},
        rtmp_case{"rtmp://1.2.3.4/live", "live", "livestream?vhost=demo.srs.com", srs, "vhost=demo.srs.com"},
        rtmp_case{"rtmp://1.2.3.4/live", "live", "livestream?domain=demo.srs.com", srs, "domain=demo.srs.com"},
        rtmp_case{"rtmp://1.2.3.4/live", "live?domain=demo.srs.com", "livestream", srs, "domain=demo.srs.com"},
        rtmp_case{"rtmp://1.2.3.4/live?domain=x.y&vhost=demo.srs.com", "live", "livestream", srs,
                  "domain=x.y&vhost=demo.srs.com"},
        rtmp_case{"rtmp://1.2.3.4/live?vhost=x.y", "live", "livestream?vhost=demo.srs.com", srs,
                  "vhost=x.y&vhost=demo.srs.com"},
        rtmp_case{"rtmp://1.2.3.4/live...vhost...demo.srs.com", "live...vhost...demo.srs.com", "livestream", srs, ""},
        rtmp_case{"rtmp://1.2.3.4/live...vhost...demo.srs.com?token=1", "live", "livestream", srs, "token=1"},
        rtmp_case{"rtmp://1.2.3.4/live...vhost...demo.srs.com/_definst_", "live", "livestream", srs, ""},
        rtmp_case{"rtmp://other.com/live?vhost=__defaultVhost__", "live", "livestream", def, "vhost=__defaultVhost__"},
        rtmp_case{"rtmp://other.com/live?vhost=", "live", "livestream", "other.com/live/livestream", "vhost="},
        rtmp_case{"rtmp://other.com/live?novhost=a.b&vhost=demo.srs.com:1935", "live", "livestream", srs,
                  "novhost=a.b&vhost=demo.srs.com:1935"},
        rtmp_case{"rtmp://demo.srs.com/live/_definst_", "live/_definst_", "livestream", srs, ""},
        rtmp_case{"rtmp://demo.srs.com/live?k=v/_definst_", "live?k=v/_definst_", "livestream", srs, "k=v"},
        rtmp_case{"rtmp://demo.srs.com/live#k=v", "live#k=v", "livestream", srs, "k=v"}));

INSTANTIATE_TEST_SUITE_P(
    tokens, rtmp_forms,
    testing::Values(rtmp_case{"rtmp://demo.srs.com/live?token=a", "live?token=a", "livestream?k=v", srs, "token=a&k=v"},
                    rtmp_case{"rtmp://demo.srs.com/live", "live?token=a", "livestream", srs, "token=a"},
                    rtmp_case{"rtmp://demo.srs.com/live?token=a/b", "live?token=a/b", "livestream", srs, "token=a/b"},
                    rtmp_case{"rtmp://demo.srs.com/live", "live", "livestream?token=a%2Fb%00", srs, "token=a%2Fb%00"}));

INSTANTIATE_TEST_SUITE_P(
    refused, rtmp_forms,
    testing::Values(
        rtmp_case{"rtmp://h/live", "live", ""}, rtmp_case{"rtmp://h/", "", "s"}, rtmp_case{"", "", ""},
        rtmp_case{"rtmp://h/live", "live", ".."}, rtmp_case{"rtmp://h/live", "live", "."},
        rtmp_case{"rtmp://h/live", "live", "../s"}, rtmp_case{"rtmp://h/live/..", "live/..", "s"},
        rtmp_case{"rtmp://h/live", "live", "%2e%2E"}, rtmp_case{"rtmp://h/live", "live", "a%2fb"},
        rtmp_case{"rtmp://h/live", "live", "a%5cb"}, rtmp_case{"rtmp://h/live", "live", "a\\b"},
        rtmp_case{"rtmp://h/live", "live", "a%00b"}, rtmp_case{"rtmp://h/live", "live", "a\0b"s},
        rtmp_case{"rtmp://h/live", "live", "a\r\nb"}, rtmp_case{"rtmp://h/live", "live", "a%0d%0ab"},
        rtmp_case{"rtmp://h/live", "live", "a\x7f"}, rtmp_case{"rtmp://h/live", "live", "{a}"},
        rtmp_case{"rtmp://h/live", "live", "a%7b"}, rtmp_case{"rtmp://h/live", "live", "a}"},
        rtmp_case{"rtmp://h/live", "live", "a%252e"}, rtmp_case{"rtmp://h/live", "live", "100%"},
        rtmp_case{"rtmp://h/live", "live", "a%3fb"}, rtmp_case{"rtmp://h/live", "live", "a%zz"},
        rtmp_case{"rtmp://h/live", "live", "\xff"}, rtmp_case{"rtmp://h/live", "live", "\xc0\xae\xc0\xae"},
        rtmp_case{"rtmp://h/live", "live", "\xed\xa0\x80"}, rtmp_case{"rtmp://h/live", "live", "\xc2\x85"},
        rtmp_case{"rtmp://h/live", "live", "a/"}, rtmp_case{"rtmp://h/live", "live", "//a"},
        rtmp_case{"rtmp://h//live", "/live", "a"}, rtmp_case{"rtmp://h/a//b", "a//b", "s"},
        rtmp_case{"rtmp://h/live", "live", std::string(256, 'a')},
        rtmp_case{"rtmp://h/live", "live", std::string(65536, 'a')},
        rtmp_case{"rtmp://h/" + std::string(256, 'a'), "", "s"}, rtmp_case{"rtmp://a b.c/live", "live", "s"},
        rtmp_case{"rtmp://" + std::string(300, 'a') + ".com/live", "live", "s"},
        rtmp_case{"rtmp://[::1/live", "live", "s"}, rtmp_case{"rtmp://a.com../live", "live", "s"},
        rtmp_case{"rtmp://h/live?vhost=../x.y", "live", "s"}, rtmp_case{"rtmp://h/live?vhost=a..b", "live", "s"},
        rtmp_case{"rtmp://h/live?vhost=%7Bx.y%7D", "live", "s"}, rtmp_case{"rtmp://h/live", "live", "s?k=\r\nv"},
        rtmp_case{"rtmp://h/live", "live", "s?k=" + std::string(8200, 'v')}));

TEST(stream_key, longest_parts_are_taken) {
  const std::string part(255, 'a');
  const auto got = parse_rtmp("rtmp://h/" + part, part, part, {});
  ASSERT_TRUE(got);
  EXPECT_EQ(got->key.app, part);
  EXPECT_EQ(got->key.stream, part);
}

struct http_case {
  std::string host, path, query;
  std::string key;  // empty: refused
};

class http_forms : public testing::TestWithParam<http_case> {};

TEST_P(http_forms, key) {
  const http_case& c = GetParam();
  const auto got = parse_http(c.host, c.path, c.query, {});
  if (c.key.empty()) {
    ASSERT_FALSE(got) << got->key.str();
    EXPECT_EQ(got.error().reason, "bad_stream_name");
    return;
  }
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->key.str(), c.key);
  EXPECT_EQ(got->query, c.query);
}

INSTANTIATE_TEST_SUITE_P(
    all, http_forms,
    testing::Values(
        http_case{"127.0.0.1:8080", "/live/livestream.flv", "", def},
        http_case{"[::1]:8080", "/live/livestream.ts", "", def}, http_case{"", "/live/livestream.m3u8", "", def},
        http_case{"demo.srs.com", "/live/livestream.flv", "", srs},
        http_case{"DEMO.srs.com:80", "/live/_definst_/livestream.m3u8", "", srs},
        http_case{"1.2.3.4", "/live/livestream.flv", "vhost=demo.srs.com&token=x", srs},
        http_case{"1.2.3.4", "/live/livestream", "domain=demo.srs.com", srs},
        http_case{"demo.srs.com", "/rtc/v1/whip/", "app=live&stream=livestream", srs},
        http_case{"demo.srs.com", "/rtc/v1/whep/", "app=a%2Fb&stream=s", "demo.srs.com/a/b/s"},
        http_case{"demo.srs.com", "/rtc/v1/whep/", "app=live&stream=x.flv", "demo.srs.com/live/x.flv"},
        http_case{"demo.srs.com", "/live/livestream.flv", "app=other", srs},
        http_case{"h", "/live/v1.0.flv", "", "__defaultVhost__/live/v1.0"},
        http_case{"h", "/live/v1.0", "", "__defaultVhost__/live/v1.0"},
        http_case{"h", "/live/a%20b.flv", "", "__defaultVhost__/live/a b"}, http_case{"h", "/live/.flv", "", ""},
        http_case{"h", "/live/..%2fx.flv", "", ""}, http_case{"h", "/live%2fx.flv", "", ""},
        http_case{"h", "/live/%5cx.flv", "", ""}, http_case{"h", "/live/x%00.flv", "", ""}, http_case{"h", "/", "", ""},
        http_case{"h", "/x.flv", "", ""}, http_case{"h", "/live//x.flv", "", ""},
        http_case{"h", "/w/", "app=live&stream=..", ""}, http_case{"h", "/w/", "app=live&stream=%252e%252e", ""},
        http_case{"h", "/w/", "app=..%2f..&stream=x", ""}));

/// Every form, over every protocol, is the same stream.
TEST(stream_key, all_forms_give_one_key) {
  std::unordered_set<stream_key> keys;
  for (const auto& [url, name] : std::vector<std::pair<std::string, std::string>>{
           {"rtmp://demo.srs.com/live", "livestream"},
           {"rtmp://10.0.0.1/live?vhost=demo.srs.com", "livestream"},
           {"rtmp://10.0.0.1/live...vhost...demo.srs.com", "livestream?token=1"},
           {"rtmp://10.0.0.1/live/_definst_", "livestream?domain=demo.srs.com"}}) {
    keys.insert(parse_rtmp(url, "", name, {}).value().key);
  }
  keys.insert(parse_http("demo.srs.com:8080", "/live/livestream.flv", "token=2", {}).value().key);
  keys.insert(parse_http("10.0.0.1", "/rtc/v1/whip/", "vhost=demo.srs.com&app=live&stream=livestream", {}).value().key);
  EXPECT_EQ(keys.size(), 1u);
}

TEST(stream_key, vhost_rules) {
  auto vhost = [](const char* host, const vhost_rules& rules) {
    return parse_rtmp("rtmp://" + std::string(host) + "/live", "live", "s", rules).value().key.vhost;
  };
  const vhost_rules listed{{"Demo.srs.com", "studio"}, false};
  EXPECT_EQ(vhost("demo.srs.com", listed), "demo.srs.com");
  EXPECT_EQ(vhost("studio", listed), "studio");
  EXPECT_EQ(vhost("other.com", listed), default_vhost);
  EXPECT_EQ(vhost("1.2.3.4", listed), default_vhost);
  const vhost_rules only_default{{}, true};
  EXPECT_EQ(vhost("demo.srs.com", only_default), default_vhost);
}

struct srt_case {
  const char* id;
  const char* key;  // empty: refused
  const char* query = "";
  bool publish = false;
};

class srt_stream_id : public ::testing::TestWithParam<srt_case> {};

TEST_P(srt_stream_id, gives_the_key) {
  const srt_case& c = GetParam();
  const auto got = parse_srt(c.id, {});
  if (*c.key == 0) {
    EXPECT_FALSE(got) << c.id << " gave " << got->address.key.str();
    return;
  }
  ASSERT_TRUE(got) << c.id << ": " << got.error().text;
  EXPECT_EQ(got->address.key.str(), c.key);
  EXPECT_EQ(got->address.query, c.query);
  EXPECT_EQ(got->publish, c.publish);
}

INSTANTIATE_TEST_SUITE_P(
    forms, srt_stream_id,
    ::testing::Values(srt_case{"#!::r=live/cam,m=publish", "__defaultVhost__/live/cam", "", true},
                      srt_case{"#!::r=live/cam,m=request", "__defaultVhost__/live/cam"},
                      srt_case{"#!::r=live/cam", "__defaultVhost__/live/cam"},
                      srt_case{"#!::r=/live/cam", "__defaultVhost__/live/cam"},
                      srt_case{"#!::m=publish,r=a/b/cam", "__defaultVhost__/a/b/cam", "", true},
                      srt_case{"#!::r=cam,m=publish", "__defaultVhost__/live/cam", "", true},
                      srt_case{"#!::r=live/cam,m=publish,h=demo.srs.com", "demo.srs.com/live/cam", "", true},
                      srt_case{"#!::h=demo.srs.com:10080,r=live/cam", "demo.srs.com/live/cam"},
                      srt_case{"#!::h=10.0.0.1,r=live/cam", "__defaultVhost__/live/cam"},
                      srt_case{"#!::r=live/cam,token=x,k=v", "__defaultVhost__/live/cam", "token=x&k=v"},
                      srt_case{"#!::r=live/cam?secret=1,m=publish,k=v", "__defaultVhost__/live/cam", "secret=1&k=v",
                               true},
                      srt_case{"#!::r=live/cam?vhost=v.example.com,h=other.example.com", "v.example.com/live/cam",
                               "vhost=v.example.com"},
                      srt_case{"#!::r=live/cam,vhost=v.example.com", "v.example.com/live/cam", "vhost=v.example.com"},
                      srt_case{"#!::h=live/cam,m=publish", "__defaultVhost__/live/cam", "", true},
                      srt_case{"#!::h=live/cam", "__defaultVhost__/live/cam"},
                      srt_case{"#!::h=demo.srs.com/live/cam,m=publish", "demo.srs.com/live/cam", "", true},
                      srt_case{"#!::h=live/cam?secret=1,m=publish", "__defaultVhost__/live/cam", "secret=1", true},
                      srt_case{"live/cam", "__defaultVhost__/live/cam"},
                      srt_case{"/live/cam", "__defaultVhost__/live/cam"},
                      srt_case{"live/cam?token=1", "__defaultVhost__/live/cam", "token=1"},
                      srt_case{"cam", "__defaultVhost__/live/cam"}, srt_case{"a/b/cam", "__defaultVhost__/a/b/cam"}));

INSTANTIATE_TEST_SUITE_P(
    refused, srt_stream_id,
    ::testing::Values(srt_case{"", ""}, srt_case{"/", ""}, srt_case{"#!::", ""}, srt_case{"#!::m=publish", ""},
                      srt_case{"#!::h=cam", ""}, srt_case{"#!::r=live/cam,m=bidirectional", ""},
                      srt_case{"#!::r=,m=publish", ""}, srt_case{"#!::r", ""}, srt_case{"#!::r=live/a,r=live/b", ""},
                      srt_case{"#!::r=live/cam,m=publish,m=request", ""}, srt_case{"#!::r=live/../cam", ""},
                      srt_case{"#!::r=live//cam", ""}, srt_case{"#!::r=live/cam%20x", ""}, srt_case{"live/\ncam", ""},
                      srt_case{"#!:r=live/cam", ""}, srt_case{"#!::r=live/{cam}", ""},
                      srt_case{"#!::h=bad host,r=live/cam", ""}));

TEST(stream_key, the_mode_of_an_srt_request_has_a_reason_of_its_own) {
  EXPECT_EQ(parse_srt("#!::r=live/cam,m=bidirectional", {}).error().reason, "bad_mode");
  EXPECT_EQ(parse_srt(std::string("live/cam\0x", 10), {}).error().reason, "bad_stream_name");
  EXPECT_EQ(parse_srt("#!::r=live/cam,h=demo.srs.com", {{}, true})->address.key.vhost, default_vhost);
}

TEST(stream_key, names_of_other_servers_are_checked) {
  for (const char* name : {"__defaultVhost__/live/a", "v.example/a/b/c", "v/a/\"b\""}) {
    const auto key = parse_key(name);
    ASSERT_TRUE(key) << name;
    EXPECT_EQ(key->str(), name);
  }
  const std::string long_part(256, 'a');
  for (const std::string& name :
       {std::string(), std::string("/"), std::string("v/a"), std::string("v/a/"), std::string("/a/b"),
        std::string("v//b"), std::string("v/../b"), std::string("v/a/_definst_/b"), std::string("v/a/b%20"),
        std::string("v/a/b\n"), std::string("v/a/\xff"), "v/" + long_part + "/b", long_part + "/a/b",
        "v/a/" + std::string(2000, 'b')}) {
    EXPECT_FALSE(parse_key(name)) << name;
  }
}

}  // namespace
}  // namespace sluice::cluster
