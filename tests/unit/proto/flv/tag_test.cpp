#include "proto/flv/tag.hpp"

#include <gtest/gtest.h>

#include <ostream>

#include "golden/golden.hpp"

namespace sluice::flv {
namespace {

using test::hex;

// What a tag says, as text, so that one table serves every field and a failure reads well.
std::string describe(const video_tag& t) {
  std::string s(name(t.codec));
  if (t.enhanced) s += " enhanced";
  if (t.keyframe) s += " key";
  if (t.coded) s += " coded";
  if (t.sequence_header) s += " header";
  if (t.end_of_sequence) s += " end";
  if (t.metadata) s += " metadata";
  if (t.multitrack) s += " track=" + std::to_string(t.track_id);
  if (t.composition_time_ms) s += " cts=" + std::to_string(t.composition_time_ms);
  if (t.timestamp_offset_ns) s += " ns=" + std::to_string(t.timestamp_offset_ns);
  return s + " @" + std::to_string(t.header_size) + "+" + std::to_string(t.payload_size);
}

std::string describe(const audio_tag& t) {
  std::string s(name(t.codec));
  if (t.enhanced) s += " enhanced";
  if (t.coded) s += " coded";
  if (t.sequence_header) s += " header";
  if (t.end_of_sequence) s += " end";
  if (t.multichannel_config) s += " multichannel";
  if (t.multitrack) s += " track=" + std::to_string(t.track_id);
  if (t.timestamp_offset_ns) s += " ns=" + std::to_string(t.timestamp_offset_ns);
  return s + " @" + std::to_string(t.header_size) + "+" + std::to_string(t.payload_size);
}

struct tag_case {
  const char* bytes;
  const char* expected;
};

// Bodies are written by hand after the specifications; avc1 = 61766331, hvc1 = 68766331, av01 = 61763031, vp09 =
// 76703039, vp08 = 76703038, vvc1 = 76766331.
constexpr tag_case video_cases[] = {
    // Legacy, FLV 10.1 §E.4.3.
    {"17 00 000000 0142", "H264 header @5+2"},
    {"17 01 000050 ffff", "H264 key coded cts=80 @5+2"},
    {"27 01 ffffec ff", "H264 coded cts=-20 @5+1"},
    {"47 01 000000 ff", "H264 key coded @5+1"},
    {"17 02 000000", "H264 end @5+0"},
    {"57 00", "H264 @2+0"},
    {"1c 00 000000 01", "HEVC header @5+1"},
    {"2c 01 000010 ff", "HEVC coded cts=16 @5+1"},
    {"1d 00 000000 81", "AV1 header @5+1"},
    {"12 ffff", "H263 key coded @1+2"},
    {"22 ffff", "H263 coded @1+2"},
    {"13 ff", "ScreenVideo key coded @1+1"},
    {"14 ff", "VP6 key coded @1+1"},
    {"12", "H263 @1+0"},
    {"1f ff", "unknown key coded @1+1"},
    // Enhanced RTMP v1: FourCC.
    {"90 68766331 0101", "HEVC enhanced header @5+2"},
    {"91 68766331 000028 ff", "HEVC enhanced key coded cts=40 @8+1"},
    {"a1 68766331 ffffff ff", "HEVC enhanced coded cts=-1 @8+1"},
    {"93 68766331 ff", "HEVC enhanced key coded @5+1"},
    {"a3 68766331 ff", "HEVC enhanced coded @5+1"},
    {"92 68766331", "HEVC enhanced end @5+0"},
    {"94 68766331 02", "HEVC enhanced metadata @5+1"},
    {"d4 61763031 02", "AV1 enhanced metadata @5+1"},  // the frame type is ignored for metadata
    {"90 61763031 81", "AV1 enhanced header @5+1"},
    {"95 61763031 80", "AV1 enhanced header @5+1"},
    {"91 61763031 0a0b", "AV1 enhanced key coded @5+2"},
    {"a1 76703039 82", "VP9 enhanced coded @5+1"},
    {"91 76703038 10", "VP8 enhanced key coded @5+1"},
    // Enhanced RTMP v2.
    {"91 61766331 000003 ff", "H264 enhanced key coded cts=3 @8+1"},
    {"91 76766331 000003 ff", "VVC enhanced key coded cts=3 @8+1"},
    {"91 78787878 ff", "unknown enhanced key coded @5+1"},
    {"98 61766331 ff", "H264 enhanced @5+1"},  // reserved packet type
    {"d1 01", "unknown enhanced @2+0"},        // command frame: seek end
    // ModEx: 3 bytes, nanosecond offset 500,000, then CodedFramesX of avc1.
    {"97 02 07a120 03 61766331 ff", "H264 enhanced key coded ns=500000 @10+1"},
    // An unknown extension of 2 bytes, then the offset, then SequenceStart.
    {"97 01 aabb 17 02 000001 00 68766331 01", "HEVC enhanced header ns=1 @14+1"},
    // A 16-bit size: ff, 0002 = 3 bytes.
    {"97 ff 0002 00000a 03 61766331", "H264 enhanced key coded ns=10 @12+0"},
    // Multitrack: one track; many tracks of one codec; many codecs.
    {"96 01 61766331 05 000007 ff", "H264 enhanced key coded track=5 cts=7 @10+1"},
    {"96 10 68766331 01 000002 aabb 02 000001 cc", "HEVC enhanced header track=1 @10+2"},
    {"a6 23 61763031 00 000001 aa 68766331 01 000001 bb", "AV1 enhanced coded track=0 @10+1"},
    {"96 11 61766331 00 000004 000001 ff 01 000004 000001 ee", "H264 enhanced key coded track=0 cts=1 @13+1"},
    {"97 02 000005 06 00 61766331 01 01", "H264 enhanced header track=1 ns=5 @12+1"},
};

// Opus = 4f707573, ac-3 = 61632d33, ec-3 = 65632d33, fLaC = 664c6143, .mp3 = 2e6d7033, mp4a = 6d703461.
constexpr tag_case audio_cases[] = {
    {"", "unknown end @0+0"},  // silence
    {"af 00 1210", "AAC header @2+2"},
    {"af 01 2100", "AAC coded @2+2"},
    {"af 05", "AAC @2+0"},
    {"2f fffb", "MP3 coded @1+2"},
    {"2f", "MP3 @1+0"},
    {"ef fffb", "MP3 coded @1+2"},
    {"b2 00", "Speex coded @1+1"},
    {"06 00", "PCM coded @1+1"},
    {"36 00", "PCM coded @1+1"},
    {"16 00", "ADPCM coded @1+1"},
    {"46 00", "Nellymoser coded @1+1"},
    {"52 00", "Nellymoser coded @1+1"},
    {"62 00", "Nellymoser coded @1+1"},
    {"72 00", "G711A coded @1+1"},
    {"82 00", "G711U coded @1+1"},
    {"ff 00", "unknown coded @1+1"},
    {"90 4f707573 4f", "Opus enhanced header @5+1"},
    {"91 4f707573 fc", "Opus enhanced coded @5+1"},
    {"92 4f707573", "Opus enhanced end @5+0"},
    {"94 4f707573 01 06 0000003f", "Opus enhanced multichannel @5+6"},
    {"91 61632d33 0b77", "AC-3 enhanced coded @5+2"},
    {"91 65632d33 0b77", "E-AC-3 enhanced coded @5+2"},
    {"90 664c6143 664c", "FLAC enhanced header @5+2"},
    {"91 2e6d7033 fffb", "MP3 enhanced coded @5+2"},
    {"90 6d703461 1210", "AAC enhanced header @5+2"},
    {"91 78787878 00", "unknown enhanced coded @5+1"},
    {"93 4f707573 00", "Opus enhanced @5+1"},  // reserved packet type
    {"97 02 07a120 01 4f707573 fc", "Opus enhanced coded ns=500000 @10+1"},
    {"95 00 4f707573 03 4f", "Opus enhanced header track=3 @7+1"},
    {"95 11 6d703461 00 000002 aabb 01 000001 cc", "AAC enhanced coded track=0 @10+2"},
    {"95 21 4f707573 02 000001 aa 6d703461 03 000001 bb", "Opus enhanced coded track=2 @10+1"},
};

TEST(video_tag, says_what_a_message_is) {
  for (const auto& c : video_cases) {
    const auto tag = parse_video_tag(hex(c.bytes));
    ASSERT_TRUE(tag) << c.bytes << ": " << tag.error().reason;
    EXPECT_EQ(describe(*tag), c.expected) << c.bytes;
  }
}

TEST(audio_tag, says_what_a_message_is) {
  for (const auto& c : audio_cases) {
    const auto tag = parse_audio_tag(hex(c.bytes));
    ASSERT_TRUE(tag) << c.bytes << ": " << tag.error().reason;
    EXPECT_EQ(describe(*tag), c.expected) << c.bytes;
  }
}

TEST(video_tag, refuses_every_cut_header) {
  for (const auto& c : video_cases) {
    const auto bytes = hex(c.bytes);
    const size_t header_size = parse_video_tag(bytes)->header_size;
    for (size_t size = 0; size < header_size; ++size) {
      const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      const auto tag = parse_video_tag(cut);
      ASSERT_FALSE(tag) << c.bytes << " cut at " << size << ": " << describe(*tag);
      EXPECT_EQ(tag.error().reason, "flv_truncated");
    }
  }
}

TEST(audio_tag, refuses_every_cut_header) {
  for (const auto& c : audio_cases) {
    const auto bytes = hex(c.bytes);
    const size_t header_size = parse_audio_tag(bytes)->header_size;
    for (size_t size = 1; size < header_size; ++size) {
      const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      const auto tag = parse_audio_tag(cut);
      ASSERT_FALSE(tag) << c.bytes << " cut at " << size << ": " << describe(*tag);
      EXPECT_EQ(tag.error().reason, "flv_truncated");
    }
  }
}

TEST(video_tag, refuses_broken_multitrack) {
  constexpr tag_case cases[] = {
      {"96 06 61766331 05 ff", "flv_bad_multitrack"},           // multitrack in multitrack
      {"96 31 61766331 05 000000 ff", "flv_bad_multitrack"},    // reserved type
      {"96 10 61766331 05 000003 ffff", "flv_truncated"},       // a track longer than the message
      {"96 11 61766331 05 000002 ffffff ff", "flv_truncated"},  // a track shorter than its composition time
  };
  for (const auto& c : cases) {
    const auto tag = parse_video_tag(hex(c.bytes));
    ASSERT_FALSE(tag) << c.bytes;
    EXPECT_EQ(tag.error().reason, c.expected) << c.bytes;
  }
}

TEST(audio_tag, refuses_broken_multitrack) {
  EXPECT_EQ(parse_audio_tag(hex("95 05 4f707573 03 4f")).error().reason, "flv_bad_multitrack");
  EXPECT_EQ(parse_audio_tag(hex("95 41 4f707573 03 000000")).error().reason, "flv_bad_multitrack");
  EXPECT_EQ(parse_audio_tag(hex("95 11 4f707573 03 000002 4f")).error().reason, "flv_truncated");
}

TEST(video_tag, endless_mod_ex_ends_with_the_bytes) {
  std::vector<uint8_t> bytes{0x97};
  for (int i = 0; i < 100000; ++i) bytes.insert(bytes.end(), {0, 0, 0x17});
  EXPECT_EQ(parse_video_tag(bytes).error().reason, "flv_truncated");
}

}  // namespace
}  // namespace sluice::flv
