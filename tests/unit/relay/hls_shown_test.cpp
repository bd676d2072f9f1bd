#include "relay/hls_shown.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace sluice::relay::test {
namespace {

std::string window(uint64_t first, size_t count, uint64_t discontinuities = 0, std::string_view map = {}) {
  std::string out =
      fmt::format("#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{}\n", first);
  if (discontinuities > 0) out += fmt::format("#EXT-X-DISCONTINUITY-SEQUENCE:{}\n", discontinuities);
  if (!map.empty()) out += fmt::format("#EXT-X-MAP:URI=\"{}\"\n", map);
  for (uint64_t n = first; n < first + count; ++n) out += fmt::format("#EXTINF:2.000,\ns-{}.ts\n", n);
  return out;
}

bool all(std::string_view) { return true; }
bool none(std::string_view) { return false; }

TEST(hls_shown, shows_an_origins_playlists_as_they_are) {
  hls_shown s;
  EXPECT_EQ(s.take(window(10, 6), false, all), window(10, 6));
  EXPECT_EQ(s.take(window(11, 6), false, all), window(11, 6));
  EXPECT_EQ(s.take(window(20, 3), false, all), window(20, 3)) << "a shorter window, numbers that jump";
  EXPECT_EQ(s.take("nonsense", false, all).error().reason, "hls_not_a_playlist");
  EXPECT_EQ(s.text(), window(20, 3));
}

TEST(hls_shown, fills_the_window_at_the_next_origin) {
  hls_shown s;
  s.take(window(10, 4), false, all);
  EXPECT_EQ(s.take(window(14, 1), true, all), window(11, 4));
  EXPECT_EQ(s.take(window(14, 2), false, all), window(12, 4));
  EXPECT_EQ(s.take(window(14, 4), false, all), window(14, 4));
  EXPECT_EQ(s.take(window(18, 1), false, all), window(18, 1)) << "filled up: the origin's own again";
}

TEST(hls_shown, removes_nothing_from_a_short_window) {
  hls_shown s;
  s.take(window(10, 2), false, all);
  EXPECT_EQ(s.take(window(12, 1), true, all), window(10, 3));
  EXPECT_EQ(s.take(window(12, 2), false, all), window(11, 3)) << "three target durations";
}

TEST(hls_shown, says_what_is_missing) {
  hls_shown s;
  s.take(window(10, 3, 0, "i.mp4"), false, all);
  const auto out = s.take(window(13, 1, 0, "i.mp4"), true, [](std::string_view uri) { return uri != "s-12.ts"; });
  EXPECT_EQ(out,
            "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:11\n#EXT-X-MAP:URI=\"i.mp4\"\n"
            "#EXTINF:2.000,\ns-11.ts\n#EXT-X-GAP\n#EXTINF:2.000,\ns-12.ts\n#EXT-X-MAP:URI=\"i.mp4\"\n"
            "#EXTINF:2.000,\ns-13.ts\n")
      << "the map in force is said, though its segment is gone";
  EXPECT_EQ(s.alone(all), s.text());
  const auto lost = s.alone(none);
  EXPECT_EQ(hls::parse_media(lost)->segments.size(), 3u);
  EXPECT_NE(lost.find("#EXT-X-GAP\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:2.000,\ns-11.ts"), std::string::npos);
  EXPECT_EQ(lost.find("#EXT-X-GAP\n#EXT-X-GAP"), std::string::npos) << "once";
}

TEST(hls_shown, never_steps_back) {
  hls_shown s;
  s.take(window(10, 4, 3), false, all);
  EXPECT_EQ(s.take(window(8, 4, 3), true, all).error().reason, "hls_steps_back") << "newest number";
  EXPECT_EQ(s.take(window(20, 4, 2), true, all).error().reason, "hls_steps_back") << "discontinuities";
  EXPECT_EQ(s.take("#EXTM3U\n#EXT-X-TARGETDURATION:2\n", true, all).error().reason, "hls_steps_back") << "nothing";
  EXPECT_EQ(s.text(), window(10, 4, 3)) << "kept";
  EXPECT_EQ(s.take(window(8, 7, 3), true, all), window(10, 5, 3)) << "what had gone does not come back";
  s.forget();
  EXPECT_EQ(s.take(window(1, 1), true, all), window(1, 1));
}

TEST(hls_shown, keeps_the_longer_target_duration) {
  hls_shown s;
  std::string slow = window(10, 3);
  slow.replace(slow.find("DURATION:2") + 9, 1, "6");
  s.take(slow, false, all);
  EXPECT_NE(s.take(window(13, 1), true, all)->find("TARGETDURATION:6"), std::string::npos);
}

}  // namespace
}  // namespace sluice::relay::test
