#include "media/bridge/hls_stream.hpp"

#include <gtest/gtest.h>

#include "proto/hls/reader.hpp"
#include "unit/media/bridge/support.hpp"

namespace sluice::media::test {
namespace {

constexpr uint64_t first = 1'800'000'000;

/// A container that can be read: the number, then type and time of each frame.
class text_muxer final : public segment_muxer {
 public:
  void begin(const header_set& headers, const segment_state& at) override {
    text_ = std::to_string(at.number) + ":" + std::to_string(headers.size());
  }
  void add(const frame& f, uint64_t dts_ms) override {
    text_ += (f.type == rtmp::video ? f.keyframe ? " K" : " v" : " a") + std::to_string(dts_ms);
  }
  bytes end(uint64_t end_ms) override {
    text_ += " " + std::to_string(end_ms);
    const auto v = base::as_bytes(text_);
    return {v.begin(), v.end()};
  }
  bytes init() const override { return {}; }
  stream_description describe() const override { return {{"avc1.640028"}, 1920, 1080}; }

 private:
  std::string text_;
};

class hls_stream : public ::testing::Test {
 protected:
  hls_window make(hls_settings settings = {}) {
    return hls_window("cam 1", settings, [this](container c) -> std::unique_ptr<segment_muxer> {
      asked.push_back(c);
      if (c == container::mpegts) return std::make_unique<text_muxer>();
      return make_segment_muxer(c);
    });
  }
  /// Returns how many segments began.
  static size_t feed(hls_window& w, const all& packets) {
    size_t begun = 0;
    for (const auto& p : packets) begun += w.add(frame_of(p)) ? 1 : 0;
    return begun;
  }
  static hls::media_lines lines(const hls_window& w) {
    const auto p = hls::parse_media(w.media_playlist());
    EXPECT_TRUE(p) << w.media_playlist();
    return p.value_or(hls::media_lines{});
  }
  static std::string text(const hls_window& w, uint64_t number) {
    const auto file = w.segment(number);
    return file ? *file->bytes : "";
  }
  static size_t count(const std::string& text, std::string_view what) {
    size_t n = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
    return n;
  }
  std::vector<container> asked;
};

TEST_F(hls_stream, a_playlist_comes_with_the_first_whole_segment) {
  auto w = make();
  w.begin_publication(first, first * 1000, 2000);
  EXPECT_EQ(feed(w, all{avc_header(), aac_header()} + live(500, 1980)), 1u);
  EXPECT_TRUE(w.media_playlist().empty());
  EXPECT_TRUE(w.master_playlist("x").empty());
  EXPECT_EQ(feed(w, {key(2500)}), 1u);
  EXPECT_EQ(w.media_playlist(),
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:1800000000\n"
            "#EXT-X-DISCONTINUITY-SEQUENCE:1800000000\n#EXT-X-PROGRAM-DATE-TIME:2027-01-15T08:00:00.000Z\n"
            "#EXTINF:2.000,\ncam%201-1800000000.ts\n");
  EXPECT_TRUE(text(w, first).starts_with("1800000000:2 K500 a500 a520 v540 ")) << text(w, first);
  EXPECT_TRUE(text(w, first).ends_with(" 2500"));
  EXPECT_NE(w.master_playlist("m.m3u8").find("CODECS=\"avc1.640028\",RESOLUTION=1920x1080"), std::string::npos);
  EXPECT_EQ(asked, std::vector<container>{container::mpegts});
}

TEST_F(hls_stream, the_window_slides_and_removed_segments_stay_for_a_while) {
  auto w = make({{}, 6000});
  w.begin_publication(first, 0, 2000);
  feed(w, {avc_header(), aac_header()});
  for (uint32_t i = 0; i < 30; ++i) {
    feed(w, live(i * 2000, 2000));
    if (i < 4) continue;
    const auto p = lines(w);
    ASSERT_EQ(p.segments.size(), 3u);
    EXPECT_EQ(p.sequence, first + i - 3);
    EXPECT_FALSE(text(w, p.sequence - 1).empty());
    for (const auto& s : p.segments) EXPECT_TRUE(w.find(s.uri));
  }
  EXPECT_TRUE(text(w, first).empty()) << "not for ever";
  EXPECT_LT(w.bytes(), 20000u);
}

TEST_F(hls_stream, bytes_are_bounded) {
  auto w = make({{}, 600000, 5000, 3000});
  w.begin_publication(first, 0, 2000);
  feed(w, {avc_header(), aac_header()});
  for (uint32_t i = 0; i < 50; ++i) {
    feed(w, {key(i * 2000, 0, 1000), inter(i * 2000 + 40, 0, 2500), sound(i * 2000 + 50)});
    EXPECT_LE(w.bytes(), 5000u);
    EXPECT_LE(w.pending_bytes(), 3000u);
  }
  EXPECT_EQ(w.frames_dropped(), 50u);
  EXPECT_GE(lines(w).segments.size(), 1u);
}

TEST_F(hls_stream, another_publication_follows_with_a_discontinuity) {
  auto w = make();
  w.begin_publication(first, 0, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 5500));
  w.end(false);
  EXPECT_EQ(w.next_number(), first + 3) << "the rest of more than a second was published";
  EXPECT_EQ(count(w.media_playlist(), "#EXT-X-ENDLIST"), 0u);
  const auto before = w.media_playlist();
  w.begin_publication(w.next_number(), 60000, 2000);
  EXPECT_EQ(w.media_playlist(), before) << "until the first new segment is whole";
  feed(w, all{avc_header(), aac_header()} + live(0, 2500));
  const auto p = lines(w);
  ASSERT_EQ(p.segments.size(), 4u);
  EXPECT_EQ(count(w.media_playlist(), "#EXT-X-DISCONTINUITY\n"), 1u);
  EXPECT_EQ(p.segments[3].discontinuity, p.segments[2].discontinuity + 1);
  w.end(true);
  EXPECT_TRUE(lines(w).ended);
  EXPECT_EQ(lines(w).segments.size(), 4u) << "less than a second is not published";
}

TEST_F(hls_stream, a_number_that_jumps_begins_the_playlist_anew) {
  auto w = make();
  w.begin_publication(first, 0, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 4500));
  w.begin_publication(first + 100, 200000, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 2500));
  const auto p = lines(w);
  ASSERT_EQ(p.segments.size(), 1u);
  EXPECT_EQ(p.sequence, first + 100);
  EXPECT_EQ(p.discontinuity_sequence, first + 100);
  EXPECT_FALSE(text(w, first).empty()) << "players may still want it";
  w.begin_publication(5, 0, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 2500));
  EXPECT_EQ(lines(w).segments.size(), 2u) << "numbers never step back";
}

TEST_F(hls_stream, a_new_configuration_gets_an_init_segment_of_its_own) {
  auto w = make({container::fmp4});
  w.begin_publication(first, 0, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 3200));
  EXPECT_EQ(feed(w, {avc_header(), aac_header(), sound(3200), inter(3200)}), 0u) << "the same again is no change";
  EXPECT_EQ(feed(w, {avc_header("codec/h264_baseline.avcc.hex"), sound(3220), inter(3240)}), 0u);
  EXPECT_EQ(feed(w, {key(3280)}), 1u);
  EXPECT_TRUE(w.state().discontinuity);
  feed(w, live(3300, 2500, 2500));
  w.end(false);
  const auto& text = w.media_playlist();
  EXPECT_EQ(count(text, "#EXT-X-DISCONTINUITY\n"), 1u) << text;
  EXPECT_EQ(count(text, "#EXT-X-MAP:"), 2u);
  EXPECT_EQ(count(text, "#EXTINF:1.280,"), 1u);
  std::vector<std::string> maps;
  ASSERT_TRUE(hls::rewrite(text, [&](std::string_view uri) {
    EXPECT_TRUE(w.find(uri)) << uri;
    if (uri.ends_with("init.mp4")) maps.emplace_back(uri);
    return std::nullopt;
  }));
  ASSERT_EQ(maps.size(), 2u);
  EXPECT_NE(maps[0], maps[1]);
}

TEST_F(hls_stream, a_track_may_announce_itself_late_in_the_first_segment) {
  auto w = make();
  w.begin_publication(first, 0, 2000);
  feed(w, {avc_header(), key(0), inter(40), aac_header(), sound(60)});
  EXPECT_FALSE(w.add(frame_of(inter(80))));
  feed(w, {key(2000)});
  EXPECT_EQ(text(w, first), "1800000000:2 K0 v40 a60 v80 2000");
  // In a later one it is a change.
  EXPECT_EQ(feed(w, {sound(2020), aac_header(0x08), inter(3100)}), 0u);
  EXPECT_EQ(feed(w, {sound(3120)}), 1u);
  EXPECT_TRUE(w.state().discontinuity);
}

TEST_F(hls_stream, nothing_to_carry_is_a_gap) {
  auto w = make({container::fmp4});
  w.begin_publication(first, 0, 2000);
  feed(w, live(0, 2500));  // no configuration ever came
  EXPECT_EQ(count(w.media_playlist(), "#EXT-X-GAP\n"), 1u);
  EXPECT_FALSE(w.segment(first));
}

TEST_F(hls_stream, a_codec_that_only_mp4_carries_decides) {
  EXPECT_EQ(container_for({frame_of(avc_header()), frame_of(aac_header())}), container::mpegts);
  const auto opus = enhanced_audio("Opus", sluice::test::golden("codec/opus_stereo.opushead.hex"));
  EXPECT_EQ(container_for({frame_of(avc_header()), frame_of(opus)}), container::fmp4);
  auto w = make();
  w.begin_publication(first, 0, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 2500));
  w.begin_publication(w.next_number(), 0, 2000);
  feed(w, all{avc_header(), opus} + live(0, 2500));
  w.begin_publication(w.next_number(), 0, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 2500));
  EXPECT_EQ(asked, (std::vector<container>{container::mpegts, container::fmp4})) << "an EXT-X-MAP cannot be taken back";
}

TEST_F(hls_stream, whoever_resumes_makes_the_same_files) {
  all packets = all{metadata(), avc_header(), aac_header()} + live(0, 7100, 1000) + all{aac_header(0x08)} +
                live(7120, 6000, 1000) + live(400000, 6000, 2000);
  auto w = make({container::fmp4, 60000});
  w.begin_publication(first, 5000, 2000);
  std::vector<std::pair<segment_state, header_set>> begins;
  std::vector<size_t> at;
  for (size_t i = 0; i < packets.size(); ++i) {
    if (!w.add(frame_of(packets[i]))) continue;
    begins.emplace_back(w.state(), w.headers());
    at.push_back(i);
  }
  w.end(false);
  ASSERT_GE(begins.size(), 8u);
  for (size_t k = 0; k < begins.size(); ++k) {
    auto other = make({container::fmp4, 60000});
    other.resume(begins[k].first, begins[k].second);
    feed(other, all(packets.begin() + static_cast<std::ptrdiff_t>(at[k]), packets.end()));
    other.end(false);
    EXPECT_EQ(other.next_number(), w.next_number());
    for (uint64_t n = begins[k].first.number; n < w.next_number(); ++n) {
      ASSERT_EQ(text(other, n), text(w, n)) << n << " from " << k;
      EXPECT_EQ(other.segment(n)->etag, w.segment(n)->etag);
    }
    const auto a = lines(w), b = lines(other);
    for (size_t i = 1; i < b.segments.size(); ++i) {
      EXPECT_EQ(b.segments[i].lines, a.segments[a.segments.size() - b.segments.size() + i].lines);
    }
  }
}

TEST_F(hls_stream, a_source_that_goes_on_further_back_changes_nothing) {
  auto w = make();
  w.begin_publication(first, 0, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 4040));
  const auto state = w.state();
  const auto headers = w.headers();
  feed(w, live(4040, 4200));
  const auto before = w.media_playlist();
  w.resume(state, headers);
  feed(w, live(4000, 4000));
  EXPECT_EQ(w.media_playlist(), before);
  feed(w, live(8000, 2100));
  EXPECT_EQ(lines(w).segments.size(), 5u);
}

TEST_F(hls_stream, numbers_of_long_ago_begin_a_new_list) {
  auto w = make();
  w.begin_publication(first, 0, 2000);
  feed(w, all{avc_header(), aac_header()} + live(0, 8100));
  auto state = w.state();
  state.number = first - 1000;
  state.discontinuity = true;
  w.resume(state, w.headers());
  EXPECT_EQ(w.media_playlist(), "");
  feed(w, live(8000, 6100));
  EXPECT_EQ(w.next_number(), first - 1000 + 3);
  EXPECT_EQ(lines(w).segments.size(), 3u);
}

TEST(hls_name, goes_both_ways) {
  EXPECT_EQ(segment_name("a/b", 12, container::mpegts), "a%2Fb-12.ts");
  EXPECT_EQ(init_name("a-b", 0xABC), "a-b-0000000000000abc-init.mp4");
  const auto s = parse_hls_name("a-b-12.m4s");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->stream, "a-b");
  EXPECT_EQ(s->value, 12u);
  EXPECT_EQ(s->format, container::fmp4);
  EXPECT_EQ(parse_hls_name("x-1.ts")->format, container::mpegts);
  const auto i = parse_hls_name("a-b-0000000000000abc-init.mp4");
  ASSERT_TRUE(i && i->init);
  EXPECT_EQ(i->value, 0xABCu);
  for (const auto* bad : {"", "-1.ts", "a.ts", "a-.ts", "a-01.ts", "a-+1.ts", "a-1.mp4", "a-abc-init.mp4", "a-1 .ts",
                          "a-18446744073709551616.ts", "a-0000000000000ABC-init.mp4"}) {
    EXPECT_FALSE(parse_hls_name(bad)) << bad;
  }
}

}  // namespace
}  // namespace sluice::media::test
