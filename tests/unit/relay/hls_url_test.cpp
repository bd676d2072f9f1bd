#include "relay/hls_url.hpp"

#include <gtest/gtest.h>

#include "servers/http/target.hpp"

namespace sluice::relay::test {
namespace {

runtime::http_request request_for(const std::string& target, const std::string& host = "127.0.0.1") {
  runtime::http_request r;
  r.method = "GET";
  r.target = target;
  const auto mark = target.find('?');
  r.path = target.substr(0, mark);
  if (mark != std::string::npos) r.query = target.substr(mark + 1);
  r.headers = {{"Host", host}};
  return r;
}

const cluster::stream_key key{"v.example.com", "live/a", "s-1"};

TEST(spbhid, names_a_stream_and_nothing_else) {
  EXPECT_EQ(spbhid_of({"__defaultVhost__", "live", "livestream"}), "X19kZWZhdWx0Vmhvc3RfXy9saXZlL2xpdmVzdHJlYW0");
  for (const auto& k :
       {key, {"__defaultVhost__", "a", "b"}, {"__defaultVhost__", "a", "bc"}, {"x.y", "a", "\xC3\xA4"}}) {
    const auto id = spbhid_of(k);
    EXPECT_EQ(key_of_spbhid(id), k);
    EXPECT_EQ(id.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
              std::string::npos);
  }
  // No key, two spellings of the last bits, padding, other alphabets.
  for (const std::string_view bad : {"", "X", "X19", "!!!!", "X19kZWZhdWx0Vmhvc3RfXy9saXZlL2xpdmVzdHJlYW1=",
                                     "X19kZWZhdWx0Vmhvc3RfXy9saXZlL2xpdmVzdHJlYW1", "Li4vLi4vLi4"})
    EXPECT_FALSE(key_of_spbhid(bad)) << bad;
  EXPECT_FALSE(key_of_spbhid(std::string(5000, 'A')));
}

TEST(uri_tagger, tags_what_resolves_to_this_host) {
  const uri_tagger tag{"ID", {"proxy.example.com:8080", "10.0.0.1:8081", "plain"}};
  const std::pair<const char*, const char*> cases[] = {
      {"s-1.ts", "s-1.ts?spbhid=ID"},
      {"s-1.ts?a=b&c", "s-1.ts?a=b&c&spbhid=ID"},
      {"s-1.ts?spbhid=old&x=1", "s-1.ts?x=1&spbhid=ID"},
      {"../x/i.mp4#t", "../x/i.mp4?spbhid=ID#t"},
      {"/live/sub.vtt", "/live/sub.vtt?spbhid=ID"},
      {"?q=1", "?q=1&spbhid=ID"},
      {"http://10.0.0.1:8081/live/s.ts", "/live/s.ts?spbhid=ID"},
      {"HTTP://Proxy.Example.com:8080/a?b", "/a?b&spbhid=ID"},
      {"https://plain:443/a", "/a?spbhid=ID"},
      {"//plain/a", "/a?spbhid=ID"},
      {"http://plain", "/?spbhid=ID"},
      {"http://plain//evil.example/a.ts", "/.//evil.example/a.ts?spbhid=ID"},
  };
  for (const auto& [uri, expected] : cases) EXPECT_EQ(tag(uri), expected) << uri;
  for (const std::string_view uri :
       {"http://other/a.ts", "http://10.0.0.1:9999/a.ts", "//cdn.example/a", "data:text/plain,a", "skd://key", "#x", "",
        "ftp://plain/a", "http:a.ts", "http:///a", "http://user@plain/a"})
    EXPECT_FALSE(tag(uri)) << uri;
}

TEST(hls_url, takes_its_own_parameter_off) {
  EXPECT_EQ(origin_target(request_for("/live/s.ts?a=1&&b")), "/live/s.ts?a=1&&b") << "byte for byte";
  EXPECT_EQ(origin_target(request_for("/live/s.ts?spbhid=X")), "/live/s.ts");
  EXPECT_EQ(origin_target(request_for("/live/s%20.ts?a=%31&spbhid=X&b=2")), "/live/s%20.ts?a=%31&b=2");
  EXPECT_EQ(with_parameters_of("s.m3u8?media=ts", "token=a%26b&media=x"), "s.m3u8?media=ts&token=a%26b");
  EXPECT_EQ(with_parameters_of("s.m3u8", ""), "s.m3u8");
}

TEST(hls_url, follows_uris) {
  const auto from = request_for("/live/a/s.m3u8?x=/y");
  EXPECT_EQ(path_to(from, ""), "/live/a/s.m3u8");
  EXPECT_EQ(path_to(from, "?q"), "/live/a/s.m3u8");
  EXPECT_EQ(path_to(from, "steer?q=/z"), "/live/a/steer");
  EXPECT_EQ(path_to(from, "/steer#f"), "/steer");
  EXPECT_EQ(path_to(from, "../b/./c/.."), "/live/b/");
  EXPECT_EQ(path_to(from, "../../../../x"), "/x");
  EXPECT_EQ(path_to(from, "http://host"), "/");
  EXPECT_EQ(path_to(from, "http://host/a//b"), "/a//b");
}

TEST(hls_url, finds_the_stream_of_a_segment) {
  const cluster::vhost_rules rules;
  EXPECT_EQ(key_of_segment(request_for("/live/a/s-1-1700000000.ts", "v.example.com"), rules), key);
  EXPECT_EQ(key_of_segment(request_for("/live/a/s-1-00000000000000ff-init.mp4", "v.example.com"), rules), key);
  EXPECT_EQ(key_of_segment(request_for("/any/where.key?spbhid=" + spbhid_of(key)), rules), key);
  EXPECT_FALSE(key_of_segment(request_for("/live/a/s-1-1700000000.ts?spbhid=bad"), rules));
  for (const auto* bad : {"/live/s.m4s", "/s-1.m4s", "/live/..%2f-1.ts", "/live/%00-5.ts", "//-5.m4s"})
    EXPECT_FALSE(key_of_segment(request_for(bad), rules)) << bad;
}

TEST(hls_url, names_files_of_our_origins) {
  const auto of = [](const std::string& target, bool playlist) {
    return hls_file_of(request_for(target), key, playlist).value_or("-");
  };
  EXPECT_EQ(of("/live/a/s-1.m3u8?token=1", true), "s-1.m3u8");
  EXPECT_EQ(of("/live/a/s-1.m3u8?hls=ts&x", true), "s-1.m3u8?hls=ts");
  EXPECT_EQ(of("/live/a/s-1.m3u8?hls=ts&media=fmp4", true), "s-1.m3u8?media=fmp4");
  EXPECT_EQ(of("/live/a/s-1.m3u8?media=&hls=auto", true), "s-1.m3u8?hls=auto");
  EXPECT_EQ(of("/live/a/s-1.m3u8?media=../x", true), "-") << "refused, as the origin does";
  EXPECT_EQ(of("/live/a/s-1.m3u8?media=../x&hls=ts", true), "-");
  EXPECT_EQ(of("/live/a/s-1-42.m4s?token=1", false), "s-1-42.m4s");
  EXPECT_EQ(of("/live/a/%73-1-42.ts", false), "s-1-42.ts") << "one file, one name";
  EXPECT_EQ(of("/live/a/t-42.ts", false), "-");
  EXPECT_EQ(of("/live/a/s-1.key", false), "-");
  EXPECT_EQ(hls_path({"v", "a b/c", "s"}, "s.m3u8"), "/a%20b/c/s.m3u8");
}

TEST(media_targets, tell_segments_from_endless_streams) {
  using servers::media_kind;
  const auto kind = [](const std::string& target) {
    const auto t = servers::parse_media_target(request_for(target), {});
    return t ? t->kind : media_kind::none;
  };
  EXPECT_EQ(kind("/live/s.ts"), media_kind::endless);
  EXPECT_EQ(kind("/live/s-12.ts"), media_kind::endless) << "a stream may be called so";
  EXPECT_EQ(kind("/live/s-1700000000.ts"), media_kind::segment);
  EXPECT_EQ(kind("/live/s-12.ts?spbhid=x"), media_kind::segment);
  EXPECT_EQ(kind("/live/s-12.m4s"), media_kind::segment);
  EXPECT_EQ(kind("/any/sub.vtt?spbhid=x"), media_kind::segment);
  EXPECT_EQ(kind("/index.m3u8?spbhid=x"), media_kind::playlist) << "the id alone names the stream";
  EXPECT_EQ(kind("/index.m3u8"), media_kind::none) << "refused";
}

}  // namespace
}  // namespace sluice::relay::test
