#include "proto/hls/reader.hpp"

#include <gtest/gtest.h>

namespace sluice::hls::test {
namespace {

std::optional<std::string> mark(std::string_view uri) { return "<" + std::string(uri) + ">"; }
std::optional<std::string> keep(std::string_view) { return std::nullopt; }

// Every place of RFC 8216 and its successor where a URI stands; unknown tags; CRLF; no last line end.
const std::string all_places =
    "#EXTM3U\r\n#EXT-X-VERSION:9\r\n#EXT-X-MEDIA:TYPE=AUDIO,NAME=\"a,URI=\\\",URI=\"audio.m3u8\",LANGUAGE=\"en\"\r\n"
    "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI=\"i.m3u8\"\n#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"sk\",IV=0x1\n"
    "#EXT-X-SESSION-DATA:DATA-ID=\"x\",URI=\"sd.json\"\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"steer?a=b,c\"\n"
    "#EXT-X-KEY:METHOD=AES-128,URI=\"key\"\n#EXT-X-MAP:URI=\"init.mp4\",BYTERANGE=\"1@0\"\n\n"
    "#EXT-X-PART:DURATION=0.3,URI=\"p.m4s\"\n# URI=\"comment\"\n#EXTINF:4,title, URI=\"no attribute\n  "
    "\nseg.ts?x=\"y\"\n"
    "#EXT-X-DATERANGE:ID=\"d\",X-ASSET-URI=\"ad.m3u8\",X-ASSET-LIST=\"ads.json\"\n"
    "#EXT-X-FUTURE:ANY,URI=\"f\"\n#EXT-X-CURI:XURI=\"stays\"\n"
    "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"hint\"\n#EXT-X-RENDITION-REPORT:URI=\"../r.m3u8\",LAST-MSN=2\nlast.ts";

TEST(hls_reader, shows_every_uri) {
  std::vector<std::string> seen;
  const auto out = rewrite(all_places, [&](std::string_view uri) {
    seen.emplace_back(uri);
    return std::nullopt;
  });
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, all_places) << "byte for byte";
  EXPECT_EQ(seen, (std::vector<std::string>{"audio.m3u8", "i.m3u8", "sk", "sd.json", "steer?a=b,c", "key", "init.mp4",
                                            "p.m4s", "seg.ts?x=\"y\"", "ad.m3u8", "ads.json", "f", "hint", "../r.m3u8",
                                            "last.ts"}));
}

TEST(hls_reader, rewrites_what_it_is_told) {
  const auto out = rewrite("#EXTM3U\r\n#EXT-X-MAP:URI=\"i\",X=1\r\n#EXTINF:1,\r\na.ts\r\n", mark);
  ASSERT_TRUE(out);
  EXPECT_EQ(*out, "#EXTM3U\r\n#EXT-X-MAP:URI=\"<i>\",X=1\r\n#EXTINF:1,\r\n<a.ts>\r\n");
  const auto evil = rewrite("#EXTM3U\n#EXT-X-KEY:URI=\"k\"\nb\n",
                            [](std::string_view) { return std::optional<std::string>("a\"\n#EXT-X-ENDLIST"); });
  ASSERT_TRUE(evil);
  EXPECT_EQ(*evil, "#EXTM3U\n#EXT-X-KEY:URI=\"a%22%0A#EXT-X-ENDLIST\"\na%22%0A#EXT-X-ENDLIST\n");
}

TEST(hls_reader, takes_broken_attribute_lists_as_they_are) {
  for (const std::string line : {"#EXT-X-KEY:URI=\"open", "#EXT-X-KEY:\"\"\"", "#EXT-X-KEY:,,==,=", "#EXT-X-KEY:",
                                 "#EXT-X-KEY", "#EXT-X-KEY:URI=bare", "#EXT-X-KEY:\"URI=\"x\""}) {
    const auto out = rewrite("#EXTM3U\n" + line, keep);
    ASSERT_TRUE(out);
    EXPECT_EQ(*out, "#EXTM3U\n" + line);
  }
}

TEST(hls_reader, refuses_what_is_no_playlist) {
  const auto reason = [](std::string_view text, const read_limits& limits = {}) {
    const auto ok = check(text, limits);
    return ok ? std::string_view("ok") : ok.error().reason;
  };
  EXPECT_EQ(reason("#EXTM3U"), "ok");
  EXPECT_EQ(reason("\xEF\xBB\xBF#EXTM3U\n"), "ok");
  EXPECT_EQ(reason(""), "hls_not_a_playlist");
  EXPECT_EQ(reason("<html>#EXTM3U"), "hls_not_a_playlist");
  EXPECT_EQ(reason(std::string_view("#EXTM3U\na\0b", 11)), "hls_not_a_playlist");
  EXPECT_EQ(reason("#EXTM3U\n\n\n\n", {100, 3, 100}), "hls_playlist_too_large");
  EXPECT_EQ(reason("#EXTM3U\n", {7, 3, 100}), "hls_playlist_too_large");
  EXPECT_EQ(reason("#EXTM3U\n12345678", {100, 3, 7}), "hls_playlist_too_large");
}

const std::string window =
    "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-DISCONTINUITY-SEQUENCE:4\n"
    "#EXTINF:2,\n10.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\n11.ts\n#EXTINF:2,\n12.ts\n#EXT-X-PRELOAD-HINT:URI=\"h\"\n";

TEST(hls_reader, parses_a_media_playlist) {
  const auto p = parse_media(window);
  ASSERT_TRUE(p);
  ASSERT_EQ(p->segments.size(), 3u);
  std::string joined(p->head);
  for (const auto& s : p->segments) joined += s.lines;
  joined += p->tail;
  EXPECT_EQ(joined, window);
  EXPECT_EQ(p->sequence, 10u);
  EXPECT_EQ(p->segments[0].number, 10u);
  EXPECT_EQ(p->segments[0].discontinuity, 4u);
  EXPECT_EQ(p->segments[1].discontinuity, 5u);
  EXPECT_EQ(p->segments[2].uri, "12.ts");
  EXPECT_FALSE(p->ended);
  EXPECT_TRUE(parse_media(window + "#EXT-X-ENDLIST")->ended);
  EXPECT_TRUE(parse_media("#EXTM3U\n")->segments.empty());
}

TEST(hls_reader, refuses_what_is_no_media_playlist) {
  for (const auto* text : {"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\na\n", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:x\n",
                           "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:\n", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n",
                           "#EXTM3U\na\n#EXT-X-MEDIA-SEQUENCE:1\n"}) {
    const auto p = parse_media(text);
    ASSERT_FALSE(p) << text;
    EXPECT_EQ(p.error().reason, "hls_not_a_media_playlist");
  }
}

std::string merged(const std::string& older, const std::string& newer, size_t most = 10) {
  return merge(*parse_media(older), *parse_media(newer), most);
}

TEST(hls_reader, merges_windows) {
  const std::string newer =
      "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:13\n#EXT-X-DISCONTINUITY-SEQUENCE:5\n"
      "#EXTINF:2,\n13.ts\n#EXTINF:2,\n14.ts\n";
  EXPECT_EQ(merged(window, newer),
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:10\n#EXT-X-DISCONTINUITY-SEQUENCE:4\n"
            "#EXTINF:2,\n10.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\n11.ts\n#EXTINF:2,\n12.ts\n#EXTINF:2,\n13.ts\n#EXTINF:"
            "2,\n14.ts\n");
  // The number in the head takes the place of a discontinuity in front of the first segment.
  EXPECT_EQ(merged(window, newer, 4),
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:11\n#EXT-X-DISCONTINUITY-SEQUENCE:5\n"
            "#EXTINF:2,\n11.ts\n#EXTINF:2,\n12.ts\n#EXTINF:2,\n13.ts\n#EXTINF:2,\n14.ts\n");
  EXPECT_EQ(merged(window, newer, 2), newer);
  EXPECT_EQ(merged(window, newer, 0), newer);
}

TEST(hls_reader, merges_overlaps_and_says_hidden_discontinuities) {
  const std::string newer =
      "#EXTM3U\r\n#EXT-X-MEDIA-SEQUENCE:12\r\n#EXT-X-DISCONTINUITY-SEQUENCE:6\r\n#EXTINF:2,\r\nx12.ts";
  EXPECT_EQ(merged(window, newer),
            "#EXTM3U\r\n#EXT-X-MEDIA-SEQUENCE:10\r\n#EXT-X-DISCONTINUITY-SEQUENCE:4\r\n"
            "#EXTINF:2,\n10.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\n11.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:2,\r\nx12.ts");
}

TEST(hls_reader, does_not_merge_what_does_not_join) {
  const std::string far = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:14\n#EXT-X-DISCONTINUITY-SEQUENCE:9\n#EXTINF:2,\n14.ts\n";
  EXPECT_EQ(merged(window, far), far);
  const std::string back = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:13\n#EXTINF:2,\n13.ts\n";
  EXPECT_EQ(merged(window, back), back) << "a discontinuity sequence that would step back";
  EXPECT_EQ(merged(window, "#EXTM3U\n"), "#EXTM3U\n");
}

}  // namespace
}  // namespace sluice::hls::test
