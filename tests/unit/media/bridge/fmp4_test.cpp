#include "media/bridge/fmp4.hpp"

#include <gtest/gtest.h>

#include "unit/media/bridge/support.hpp"

namespace sluice::media::test {
namespace {

using sluice::test::golden;

/// What a player reads out of a segment.
struct read_sample {
  uint32_t duration, size, flags;
  int32_t offset;
};
struct read_track {
  uint64_t decode_time = 0;
  std::vector<read_sample> samples;
};
std::vector<read_track> read(const bytes& segment) {
  std::vector<read_track> tracks;
  base::byte_reader in(segment);
  in.skip(24);  // styp
  base::byte_reader moof(in.bytes(in.u32() - 4).subspan(4 + 16));
  while (moof.remaining() > 0) {
    base::byte_reader traf(moof.bytes(moof.u32() - 4).subspan(4 + 16 + 12));
    read_track t;
    t.decode_time = traf.u64();
    traf.skip(12);
    const uint32_t count = traf.u32();
    traf.skip(4);
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t duration = traf.u32(), size = traf.u32(), flags = traf.u32();
      t.samples.push_back({duration, size, flags, static_cast<int32_t>(traf.u32())});
    }
    EXPECT_FALSE(traf.failed());
    tracks.push_back(t);
  }
  return tracks;
}

header_set headers_of(const all& packets) {
  header_set h;
  for (const auto& p : packets) h.push_back(frame_of(p));
  return h;
}

bytes segment_of(fmp4_muxer& m, const all& headers, const all& packets, uint64_t begin_ms, uint64_t end_ms) {
  m.begin(headers_of(headers), {7, begin_ms});
  for (const auto& p : packets) m.add(frame_of(p), p.timestamp);
  return m.end(end_ms);
}

packet reordered(packet p, uint8_t composition_ms) {
  p.body[4] = composition_ms;
  return p;
}

TEST(fmp4, video_keeps_the_publishers_times) {
  fmp4_muxer m;
  const auto tracks = read(
      segment_of(m, {avc_header()}, {reordered(key(1000), 80), inter(1040), inter(1033), inter(1120)}, 1000, 1200));
  ASSERT_EQ(tracks.size(), 1u);
  EXPECT_EQ(tracks[0].decode_time, 90000u);
  const auto& s = tracks[0].samples;
  ASSERT_EQ(s.size(), 4u);
  EXPECT_EQ(s[0].duration, 3600u);
  EXPECT_EQ(s[0].offset, 7200);
  EXPECT_EQ(s[0].size, key(0).body.size() - 5);
  EXPECT_EQ(s[0].flags, 0x02000000u);
  EXPECT_EQ(s[1].flags, 0x01010000u);
  EXPECT_EQ(s[1].duration, 0u) << "DTS does not step back";
  EXPECT_EQ(s[2].offset, -630) << "and PTS stays";
  EXPECT_EQ(s[3].duration, 7200u) << "up to the end of the segment";
}

TEST(fmp4, audio_has_no_gaps_within_the_rounding_of_timestamps) {
  fmp4_muxer m;
  all packets;
  for (uint32_t i = 0; i < 100; ++i) packets.push_back(sound(5000 + i * 1024 * 1000 / 44100));
  const auto tracks = read(segment_of(m, {aac_header()}, packets, 5000, 8000));
  ASSERT_EQ(tracks.size(), 1u);
  EXPECT_EQ(tracks[0].decode_time, 220500u);
  for (const auto& s : tracks[0].samples) EXPECT_EQ(s.duration, 1024u);
}

TEST(fmp4, audio_follows_what_is_more_than_rounding) {
  fmp4_muxer m;
  const auto tracks = read(segment_of(m, {aac_header()}, {sound(0), sound(23), sound(100), sound(90)}, 0, 200));
  const auto& s = tracks[0].samples;
  EXPECT_EQ(s[0].duration, 1024u);
  EXPECT_EQ(s[1].duration, 4410u - 1024u);
  EXPECT_EQ(s[2].duration, 0u);
  EXPECT_EQ(s[3].duration, 1024u);
}

TEST(fmp4, opus_packets_say_how_long_they_are) {
  // RFC 6716 §3.1: configuration, frames.
  EXPECT_EQ(opus_samples(bytes{0xFC, 1}), 960u);            // CELT 20 ms, one frame
  EXPECT_EQ(opus_samples(bytes{31 << 3 | 1, 1}), 1920u);    // two
  EXPECT_EQ(opus_samples(bytes{28 << 3 | 3, 6, 1}), 720u);  // six of 2.5 ms
  EXPECT_EQ(opus_samples(bytes{3 << 3, 1}), 2880u);         // SILK 60 ms
  EXPECT_EQ(opus_samples(bytes{12 << 3, 1}), 480u);         // hybrid
  EXPECT_EQ(opus_samples(bytes{3 << 3 | 3, 3}), 0u);        // 180 ms are too long
  EXPECT_EQ(opus_samples(bytes{}), 0u);
}

struct codec_case {
  const char* what;
  packet header;
  const char* codecs;
  const char* entry;
};

class fmp4_codec : public ::testing::TestWithParam<codec_case> {};

TEST_P(fmp4_codec, has_an_init_segment) {
  const auto& p = GetParam();
  fmp4_muxer m;
  segment_of(
      m,
      {script({"onMetaData", amf0::value(amf0::value::storage(amf0::ecma_array{{{"width", 640}, {"height", 360}}}))}),
       p.header},
      {}, 0, 2000);
  const auto init = m.init();
  EXPECT_NE(base::as_text(init).find(p.entry), std::string_view::npos);
  ASSERT_EQ(m.describe().codecs.size(), 1u);
  EXPECT_EQ(m.describe().codecs[0], p.codecs);
  if (p.header.type == rtmp::video) EXPECT_GT(m.describe().width, 0u);
}

const codec_case codecs[] = {
    {"avc", avc_header(), "avc1.640028", "avcC"},
    {"hevc", enhanced_video("hvc1", golden("codec/h265_main_1080p.hvcc.hex")), "hvc1.1.6.L120.90", "hvcC"},
    {"av1", enhanced_video("av01", golden("codec/av1.av1c.hex")), "av01.0.00M.08", "av1C"},
    {"vp9", enhanced_video("vp09", golden("codec/vp9.vpcc.hex")), "vp09.00.11.08", "vpcC"},
    {"aac", aac_header(), "mp4a.40.2", "esds"},
    {"opus", enhanced_audio("Opus", golden("codec/opus_stereo.opushead.hex")), "opus", "dOps"},
    {"flac", enhanced_audio("fLaC", golden("codec/flac.header.hex")), "flac", "dfLa"},
};
INSTANTIATE_TEST_SUITE_P(all, fmp4_codec, ::testing::ValuesIn(codecs), [](const auto& i) { return i.param.what; });

TEST(fmp4, mp3_is_described_by_its_first_frame) {
  fmp4_muxer m;
  const packet mp3{rtmp::audio, 0, {0x2F, 0xFF, 0xFB, 0x90, 0xC0, 1, 2, 3}};
  const auto tracks = read(segment_of(m, {}, {mp3, at(mp3, 26)}, 0, 52));
  EXPECT_EQ(m.describe().codecs, std::vector<std::string>{"mp4a.40.34"});
  EXPECT_EQ(tracks[0].samples[0].duration, 1152u);
  EXPECT_EQ(base::as_text(m.init()).find("dOps"), std::string_view::npos);
}

TEST(fmp4, what_it_cannot_carry_is_left_out) {
  fmp4_muxer m;
  EXPECT_TRUE(segment_of(m, {}, {key(0), sound(0), {rtmp::video, 0, {}}, {rtmp::audio, 0, {}}}, 0, 2000).empty());
  EXPECT_TRUE(m.init().empty());
  // Broken configurations, other codecs than announced.
  const packet broken{rtmp::video, 0, {0x17, 0, 0, 0, 0, 1}};
  EXPECT_TRUE(segment_of(m, {broken}, {key(0)}, 0, 2000).empty());
  EXPECT_TRUE(
      segment_of(m, {avc_header()}, {{rtmp::video, 0, {0x91, 'h', 'v', 'c', '1', 0, 0, 0, 1}}}, 0, 2000).empty());
  EXPECT_TRUE(m.left_out().empty()) << "it could be carried";
}

TEST(fmp4, says_what_it_leaves_out) {
  fmp4_muxer m;
  const packet alaw{rtmp::audio, 0, {0x72, 1, 2, 3}}, vp8{rtmp::video, 0, {0x91, 'v', 'p', '0', '8', 1}};
  const packet second{rtmp::audio, 0, {0x95, 0x01, 'm', 'p', '4', 'a', 1, 1, 2}};
  EXPECT_FALSE(segment_of(m, {avc_header(), aac_header()}, {key(0), sound(0), alaw, alaw, second}, 0, 2000).empty());
  EXPECT_EQ(m.left_out(), (std::vector<std::string>{"audio G711A", "audio track 1"}));
  EXPECT_TRUE(segment_of(m, {}, {vp8}, 0, 2000).empty());
  EXPECT_EQ(m.left_out(), std::vector<std::string>{"video VP8"});
}

}  // namespace
}  // namespace sluice::media::test
