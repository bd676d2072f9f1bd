#include "proto/hls/playlist.hpp"

#include <gtest/gtest.h>

namespace sluice::hls::test {
namespace {

TEST(hls_playlist, mpegts) {
  const media_playlist p{4, 7, 0, {{"a.ts", 3967, false, false, 1769860800123, ""}, {"b.ts", 4005}}};
  EXPECT_EQ(write(p),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n"
            "#EXT-X-PROGRAM-DATE-TIME:2026-01-31T12:00:00.123Z\n#EXTINF:3.967,\na.ts\n#EXTINF:4.005,\nb.ts\n");
}

TEST(hls_playlist, maps_gaps_and_discontinuities) {
  media_playlist p{2, 7, 3, {}, true};
  p.segments = {{"a.m4s", 2000, true, false, -1, "i.mp4"},
                {"b.m4s", 2000, false, false, -1, "i.mp4"},
                {"c.m4s", 2000, true, true, -1, "j.mp4"},
                {"d.m4s", 2000, true, false, -1, "j.mp4"}};
  EXPECT_EQ(write(p),
            "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n"
            "#EXT-X-DISCONTINUITY-SEQUENCE:3\n"
            "#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:2.000,\na.m4s\n#EXTINF:2.000,\nb.m4s\n"
            "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"j.mp4\"\n#EXT-X-GAP\n#EXTINF:2.000,\nc.m4s\n"
            "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"j.mp4\"\n#EXTINF:2.000,\nd.m4s\n#EXT-X-ENDLIST\n");
}

TEST(hls_playlist, master) {
  EXPECT_EQ(write_master({{"s.m3u8?x=1", 800000, 700000, {"avc1.64001f", "mp4a.40.2"}, 1280, 720, 29.97},
                          {"t.m3u8", 1, 0, {}, 0, 0, 0}}),
            "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-STREAM-INF:BANDWIDTH=800000,AVERAGE-BANDWIDTH=700000,"
            "CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=29.970\ns.m3u8?x=1\n"
            "#EXT-X-STREAM-INF:BANDWIDTH=1\nt.m3u8\n");
}

// Fault 15: what a stream's name holds may add no line and no attribute.
TEST(hls_playlist, nothing_is_injected) {
  const std::string evil = "x\"\r\n#EXT-X-ENDLIST\nhttp://evil/,\x7f\xff";
  media_playlist p{2, 0, 0, {{evil, 2000, false, false, -1, evil}}};
  const std::string media = write(p), master = write_master({{evil, 1, 0, {evil}}});
  for (const auto& text : {media, master}) {
    EXPECT_EQ(text.find("\n#EXT-X-ENDLIST"), std::string::npos) << text;
    EXPECT_EQ(text.find('\r'), std::string::npos);
    EXPECT_EQ(text.find("\nhttp"), std::string::npos);
  }
  EXPECT_EQ(std::count(media.begin(), media.end(), '\n'), 7);
  EXPECT_EQ(std::count(media.begin(), media.end(), '"'), 2);
  EXPECT_EQ(std::count(master.begin(), master.end(), '\n'), 4);
  EXPECT_EQ(std::count(master.begin(), master.end(), '"'), 2);
  EXPECT_EQ(escape_name("a/../b:c?d%e ~\n"), "a%2F..%2Fb%3Ac%3Fd%25e%20~%0A");
  EXPECT_EQ(safe_uri("/a%20b?c=d&e#f"), "/a%20b?c=d&e#f");
}

TEST(hls_playlist, dates) {
  EXPECT_EQ(date_time(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(date_time(951782399999), "2000-02-28T23:59:59.999Z");
  EXPECT_EQ(date_time(951782400000), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(date_time(-5), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(date_time(INT64_MAX), "9999-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace sluice::hls::test
