#include <gtest/gtest.h>

#include "codec/aac.hpp"
#include "codec/ac3.hpp"
#include "codec/flac.hpp"
#include "codec/opus.hpp"
#include "golden/golden.hpp"

namespace sluice::codec {
namespace {

using test::golden;
using test::hex;

struct aac_case {
  const char* bytes;
  const char* string;
  uint8_t object_type;
  uint32_t sample_rate_hz;
  uint8_t channels;
  uint32_t sbr_rate_hz;
};

// Written by hand after ISO 14496-3 §1.6.2.1, but for the second, which is ffmpeg's own.
constexpr aac_case aac_cases[] = {
    {"1210", "mp4a.40.2", 2, 44100, 2, 0},
    {"1208 56e500", "mp4a.40.2", 2, 44100, 1, 0},  // sync extension: no SBR
    {"1188", "mp4a.40.2", 2, 48000, 1, 0},
    {"1238", "mp4a.40.2", 2, 44100, 8, 0},                  // configuration 7
    {"1780562210", "mp4a.40.2", 2, 44100, 2, 0},            // sample rate escaped
    {"2b920800", "mp4a.40.5", 2, 22050, 2, 44100},          // SBR, hierarchical
    {"eb8a0800", "mp4a.40.29", 2, 22050, 1, 44100},         // PS, hierarchical
    {"1390 56e5a0", "mp4a.40.5", 2, 22050, 2, 44100},       // SBR, backward compatible
    {"1388 56e5a54880", "mp4a.40.29", 2, 22050, 1, 44100},  // PS, backward compatible
    {"f94640", "mp4a.40.42", 42, 48000, 2, 0},              // object type escaped
    {"120005040500211000", "mp4a.40.2", 2, 44100, 5, 0},    // program config element: front pair, back pair, LFE
};

TEST(aac, reads_configurations) {
  for (const auto& c : aac_cases) {
    const auto config = aac::parse_config(hex(c.bytes));
    ASSERT_TRUE(config) << c.bytes << ": " << config.error().text;
    EXPECT_EQ(aac::codec_string(*config), c.string) << c.bytes;
    EXPECT_EQ(config->object_type, c.object_type) << c.bytes;
    EXPECT_EQ(config->sample_rate_hz, c.sample_rate_hz) << c.bytes;
    EXPECT_EQ(config->channels, c.channels) << c.bytes;
    EXPECT_EQ(config->sbr, c.sbr_rate_hz != 0) << c.bytes;
    EXPECT_EQ(config->sbr_rate_hz, c.sbr_rate_hz) << c.bytes;
  }
}

TEST(aac, writes_what_it_reads) {
  for (const char* bytes : {"1210", "1188", "1238", "1214", "178055f010", "1390 56e5a0", "1388 56e5a54880"}) {
    const auto config = aac::parse_config(hex(bytes));
    ASSERT_TRUE(config) << bytes;
    EXPECT_EQ(aac::serialise(*config), hex(bytes)) << bytes;
  }
}

TEST(aac, makes_adts_headers) {
  const auto stereo = aac::make_adts(hex("1210"));
  ASSERT_TRUE(stereo);
  EXPECT_TRUE(stereo->prefix.empty());
  const auto header = aac::adts_header(*stereo, 3);
  EXPECT_EQ(std::vector<uint8_t>(header.begin(), header.end()), hex("fff15080015ffc"));
  const auto largest = aac::adts_header(*stereo, aac::adts_frame_bytes_max - aac::adts_header_size);
  EXPECT_EQ(std::vector<uint8_t>(largest.begin(), largest.end()), hex("fff15083fffffc"));
}

// The element is aligned to the bytes that it stands in: behind 16 bits in the record, behind 3 in a frame.
TEST(aac, moves_the_program_config_element) {
  const auto record = hex("118004c4000020036c6d6e");  // one front pair, a comment of three bytes
  const auto a = aac::make_adts(record);
  ASSERT_TRUE(a);
  EXPECT_EQ(a->channel_configuration, 0);
  EXPECT_EQ(a->prefix, hex("a0988000040003"
                           "6c6d6e"));
  for (size_t n = 0; n < record.size(); ++n) EXPECT_FALSE(aac::make_adts(base::bytes_view(record).first(n)));
}

TEST(aac, says_what_adts_cannot_carry) {
  for (const char* bytes : {"f8e85000", "1214", "17807d0090", "1258", "12"}) {
    const auto a = aac::make_adts(hex(bytes));
    ASSERT_FALSE(a) << bytes;
    EXPECT_EQ(a.error().reason, "aac_not_for_adts");
  }
}

TEST(aac, refuses_cut_and_reserved_configurations) {
  for (const char* bytes : {"", "12", "17", "178056", "2b92", "1200", "1200050405", "1690", "0010", "2b968800"}) {
    const auto config = aac::parse_config(hex(bytes));
    ASSERT_FALSE(config) << bytes;
    EXPECT_EQ(config.error().reason, "bad_aac_config");
  }
}

TEST(opus, reads_ffmpegs_headers) {
  const auto stereo = opus::parse_config(golden("codec/opus_stereo.opushead.hex"));
  ASSERT_TRUE(stereo);
  EXPECT_EQ(stereo->channels, 2);
  EXPECT_EQ(stereo->pre_skip, 312);
  EXPECT_EQ(stereo->input_rate_hz, 48000u);
  EXPECT_EQ(stereo->streams, 1);
  EXPECT_EQ(stereo->coupled_streams, 1);
  const auto surround = opus::parse_config(golden("codec/opus_51.opushead.hex"));
  ASSERT_TRUE(surround);
  EXPECT_EQ(surround->channels, 6);
  EXPECT_EQ(surround->mapping_family, 1);
  EXPECT_EQ(surround->streams, 4);
  EXPECT_EQ(surround->coupled_streams, 2);
  EXPECT_EQ(std::vector<uint8_t>(surround->mapping.begin(), surround->mapping.begin() + 6),
            (std::vector<uint8_t>{0, 4, 1, 2, 3, 5}));
}

TEST(opus, refuses_cut_and_odd_headers) {
  const auto whole = golden("codec/opus_51.opushead.hex");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(opus::parse_config(base::bytes_view(whole).first(size))) << size;
  }
  struct {
    size_t at;
    uint8_t byte;
  } constexpr changes[] = {{0, 'o'}, {8, 0x10}, {9, 0}, {18, 0}, {19, 0}, {20, 5}, {21, 6}};
  for (const auto& change : changes) {
    auto odd = whole;
    odd[change.at] = change.byte;
    const auto config = opus::parse_config(odd);
    ASSERT_FALSE(config) << change.at;
    EXPECT_EQ(config.error().reason, "bad_opus_config");
  }
}

TEST(flac, reads_ffmpegs_stream_info) {
  const auto whole = golden("codec/flac.header.hex");
  const auto config = flac::parse_config(whole);
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->sample_rate_hz, 44100u);
  EXPECT_EQ(config->channels, 2);
  EXPECT_EQ(config->bits_per_sample, 16);
  EXPECT_EQ(config->samples, 4410u);
  EXPECT_EQ(config->block_samples_max, 4608);
  EXPECT_EQ(config->frame_bytes_max, 1234u);
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(flac::parse_config(base::bytes_view(whole).first(size))) << size;
  }
  auto other_block = whole;
  other_block[4] = 4;
  EXPECT_EQ(flac::parse_config(other_block).error().reason, "bad_flac_config");
}

TEST(ac3, reads_ffmpegs_frames) {
  struct {
    const char *file, *string;
    uint32_t rate;
    uint8_t channels;
    bool lfe;
    uint32_t bytes;
  } constexpr cases[] = {
      {"codec/ac3_stereo_192k_44100.frame.hex", "ac-3", 44100, 2, false, 834},
      {"codec/ac3_51_448k_48000.frame.hex", "ac-3", 48000, 6, true, 1792},
      {"codec/eac3_stereo_96k_48000.frame.hex", "ec-3", 48000, 2, false, 384},
  };
  for (const auto& c : cases) {
    const auto bytes = golden(c.file);
    const auto frame = ac3::parse_frame(bytes);
    ASSERT_TRUE(frame) << c.file;
    EXPECT_EQ(ac3::codec_string(*frame), c.string);
    EXPECT_EQ(frame->sample_rate_hz, c.rate) << c.file;
    EXPECT_EQ(frame->channels, c.channels) << c.file;
    EXPECT_EQ(frame->lfe, c.lfe) << c.file;
    EXPECT_EQ(frame->frame_bytes, c.bytes) << c.file;
    EXPECT_TRUE(ac3::parse_frame(base::bytes_view(bytes).first(8)));
    for (size_t size = 0; size < 6; ++size) EXPECT_FALSE(ac3::parse_frame(base::bytes_view(bytes).first(size)));
  }
}

TEST(ac3, refuses_what_is_no_frame) {
  for (const char* bytes : {"0b76 c2ea 54 40 43e1", "0b77 c2ea d4 40 43e1", "0b77 c2ea 66 40 43e1",
                            "0b77 c2ea 54 88 43e1", "0b77 00bf f4 87 c000"}) {
    const auto frame = ac3::parse_frame(hex(bytes));
    ASSERT_FALSE(frame) << bytes;
    EXPECT_EQ(frame.error().reason, "bad_ac3_frame");
  }
}

}  // namespace
}  // namespace sluice::codec
