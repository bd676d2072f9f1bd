#include <gtest/gtest.h>

#include <algorithm>

#include "codec/av1.hpp"
#include "codec/avc.hpp"
#include "codec/hevc.hpp"
#include "codec/vpx.hpp"
#include "golden/golden.hpp"

namespace sluice::codec {
namespace {

using test::golden;
using test::hex;

std::vector<uint8_t> first(const std::vector<uint8_t>& bytes, size_t size) {
  return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)};
}

struct avc_case {
  const char* file;
  const char* string;
  uint8_t profile, level;
  uint32_t width, height;
};

constexpr avc_case avc_cases[] = {
    {"codec/h264_high_1080p.avcc.hex", "avc1.640028", 100, 40, 1920, 1080},
    {"codec/h264_interlaced.avcc.hex", "avc1.4d401e", 77, 30, 720, 576},
    {"codec/h264_444.avcc.hex", "avc1.f4000d", 244, 13, 322, 242},
    {"codec/h264_baseline.avcc.hex", "avc1.42c00b", 66, 11, 176, 144},
};

TEST(avc, reads_ffmpegs_records_and_parameter_sets) {
  for (const auto& c : avc_cases) {
    const auto config = avc::parse_config(golden(c.file));
    ASSERT_TRUE(config) << c.file << ": " << config.error().text;
    EXPECT_EQ(config->length_size, 4u) << c.file;
    ASSERT_EQ(config->sps.size(), 1u) << c.file;
    EXPECT_EQ(config->pps.size(), 1u) << c.file;
    EXPECT_EQ(avc::codec_string(*config), c.string);
    const auto sps = avc::parse_sps(config->sps[0]);
    ASSERT_TRUE(sps) << c.file << ": " << sps.error().text;
    EXPECT_EQ(sps->profile, c.profile) << c.file;
    EXPECT_EQ(sps->level, c.level) << c.file;
    EXPECT_EQ(sps->size.width, c.width) << c.file;
    EXPECT_EQ(sps->size.height, c.height) << c.file;
  }
}

TEST(avc, writes_the_records_that_it_reads) {
  for (const auto& c : avc_cases) {
    const auto record = golden(c.file);
    EXPECT_EQ(avc::serialise(*avc::parse_config(record)), record) << c.file;
  }
}

TEST(avc, writes_no_more_than_the_record_can_count) {
  avc::config c;
  c.sps.assign(40, {0x67});
  c.sps[0].resize(70000);
  c.pps.assign(300, {0x68});
  const auto back = avc::parse_config(avc::serialise(c));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->sps.size(), 31u);
  EXPECT_EQ(back->sps[0].size(), 1u);
  EXPECT_EQ(back->pps.size(), 255u);
  EXPECT_TRUE(back->extension.empty());
}

TEST(avc, refuses_cut_records_and_parameter_sets) {
  for (const auto& c : avc_cases) {
    const auto record = golden(c.file);
    const auto whole = avc::parse_config(record);
    for (size_t size = 0; size < record.size() - whole->extension.size(); ++size) {
      const auto config = avc::parse_config(first(record, size));
      ASSERT_FALSE(config) << c.file << " cut at " << size;
      EXPECT_EQ(config.error().reason, "bad_avc_config");
    }
    const auto& unit = whole->sps[0];
    for (size_t size = 0; size < 7; ++size)
      EXPECT_FALSE(avc::parse_sps(first(unit, size))) << c.file << " cut at " << size;
  }
}

TEST(avc, refuses_odd_records) {
  EXPECT_FALSE(avc::parse_config(hex("00 640028 ff e0 00")));  // version 0
  EXPECT_FALSE(avc::parse_config(hex("01 640028 fe e0 00")));  // lengths of 3 bytes
  EXPECT_TRUE(avc::parse_config(hex("01 640028 ff e0 00")));
  EXPECT_FALSE(avc::parse_sps(hex("68 42c00b d9 02c4 ec04")));  // not type 7
}

// Bit strings, hand made: 66 (Baseline), flags 0, level 30, id 0, log2_max_frame_num 0, then what the case says.
TEST(avc, sequence_parameter_sets_out_of_range) {
  EXPECT_FALSE(avc::parse_sps(hex("67 42001e 0000000000")));                // endless zeros: no Exp-Golomb code
  EXPECT_FALSE(avc::parse_sps(hex("67 64001e ffffffffffffffffffffffff")));  // chroma format 0, cut scaling lists
  // Picture order count type 1 with 2^31 offsets announced: ends with the bytes.
  EXPECT_FALSE(avc::parse_sps(hex("67 42001e d3 c0000000 01ffffff ffffffff")));
}

TEST(avc, keyframe_is_an_idr_slice_anywhere_in_the_sample) {
  EXPECT_TRUE(avc::is_keyframe(hex("00000002 0910 00000001 65"), 4));
  EXPECT_TRUE(avc::is_keyframe(hex("0001 25"), 2));
  EXPECT_FALSE(avc::is_keyframe(hex("00000002 0910 00000002 4100"), 4));
  EXPECT_FALSE(avc::is_keyframe(hex("00000002 0910 ffffffff 65"), 4));  // a length past the end
  EXPECT_TRUE(avc::is_keyframe(hex("00000000 00000001 65"), 4));        // an empty unit
  EXPECT_FALSE(avc::is_keyframe({}, 4));
}

TEST(hevc, reads_ffmpegs_records_and_parameter_sets) {
  struct {
    const char *file, *string;
    uint8_t depth;
    uint32_t width, height;
  } constexpr cases[] = {
      {"codec/h265_main_1080p.hvcc.hex", "hvc1.1.6.L120.90", 8, 1920, 1080},
      {"codec/h265_main10.hvcc.hex", "hvc1.2.4.L63.90", 10, 638, 358},
  };
  for (const auto& c : cases) {
    const auto config = hevc::parse_config(golden(c.file));
    ASSERT_TRUE(config) << c.file << ": " << config.error().text;
    EXPECT_EQ(hevc::codec_string(*config), c.string);
    EXPECT_EQ(config->bit_depth_luma, c.depth);
    EXPECT_EQ(config->bit_depth_chroma, c.depth);
    EXPECT_EQ(config->chroma_format, 1);
    EXPECT_EQ(config->length_size, 4u);
    const auto array = std::ranges::find(config->arrays, 33, &hevc::unit_array::type);
    ASSERT_NE(array, config->arrays.end());
    ASSERT_EQ(array->units.size(), 1u);
    const auto sps = hevc::parse_sps(array->units[0]);
    ASSERT_TRUE(sps) << c.file << ": " << sps.error().text;
    EXPECT_EQ(sps->size.width, c.width) << c.file;
    EXPECT_EQ(sps->size.height, c.height) << c.file;
    EXPECT_EQ(sps->profile.idc, config->profile.idc);
    EXPECT_EQ(sps->profile.level, config->profile.level);
    EXPECT_EQ(sps->profile.constraints, config->profile.constraints);
  }
}

TEST(hevc, refuses_cut_records_and_parameter_sets) {
  const auto record = golden("codec/h265_main10.hvcc.hex");
  const auto whole = hevc::parse_config(record);
  for (size_t size = 0; size < record.size(); ++size) {
    const auto config = hevc::parse_config(first(record, size));
    ASSERT_FALSE(config) << size;
    EXPECT_EQ(config.error().reason, "bad_hevc_config");
  }
  const auto& unit = std::ranges::find(whole->arrays, 33, &hevc::unit_array::type)->units[0];
  for (size_t size = 0; size < 20; ++size) EXPECT_FALSE(hevc::parse_sps(first(unit, size))) << size;
}

TEST(hevc, refuses_more_units_than_the_limit) {
  auto record = golden("codec/h265_main10.hvcc.hex");
  record.resize(22);
  for (const unsigned count : {64u, 65u}) {
    auto bytes = record;
    bytes.insert(bytes.end(), {1, 0x20, 0, static_cast<uint8_t>(count)});
    bytes.resize(bytes.size() + count * size_t{2});  // empty units
    EXPECT_EQ(hevc::parse_config(bytes).has_value(), count == 64) << count;
  }
}

TEST(hevc, codec_string_names_space_tier_and_constraints) {
  hevc::config c;
  c.profile = {.space = 1,
               .high_tier = true,
               .idc = 4,
               .compatibility = 0x08000000,
               .constraints = 0xb00000000800,
               .level = 153};
  EXPECT_EQ(hevc::codec_string(c), "hvc1.A4.10.H153.B0.0.0.0.8");
  c.profile.constraints = 0;
  EXPECT_EQ(hevc::codec_string(c), "hvc1.A4.10.H153");
}

TEST(hevc, keyframe_is_an_irap_picture) {
  EXPECT_TRUE(hevc::is_keyframe(golden("codec/h265_irap.sample.hex"), 4));
  EXPECT_FALSE(hevc::is_keyframe(golden("codec/h265_trail.sample.hex"), 4));
  for (unsigned type = 0; type < 64; ++type) {
    const std::vector<uint8_t> sample{0, 0, 0, 2, static_cast<uint8_t>(type << 1), 1};
    EXPECT_EQ(hevc::is_keyframe(sample, 4), type >= 16 && type <= 23) << type;
  }
}

TEST(av1, reads_ffmpegs_records) {
  const auto eight = av1::parse_config(golden("codec/av1.av1c.hex"));
  ASSERT_TRUE(eight);
  EXPECT_EQ(av1::codec_string(*eight), "av01.0.00M.08");
  EXPECT_TRUE(eight->chroma_subsampling_x && eight->chroma_subsampling_y && !eight->monochrome);
  EXPECT_EQ(av1::codec_string(*av1::parse_config(golden("codec/av1_10bit.av1c.hex"))), "av01.0.00M.10");
  EXPECT_EQ(av1::codec_string(*av1::parse_config(hex("81 49 e0 00"))), "av01.2.09H.12");
}

TEST(av1, refuses_odd_records) {
  for (const char* bytes : {"", "81", "81 00 0c", "01 00 0c 00", "82 00 0c 00"}) {
    const auto config = av1::parse_config(hex(bytes));
    ASSERT_FALSE(config) << bytes;
    EXPECT_EQ(config.error().reason, "bad_av1_config");
  }
}

TEST(av1, keyframe_is_a_shown_key_frame) {
  EXPECT_TRUE(av1::is_keyframe(golden("codec/av1_key.sample.hex")));
  EXPECT_FALSE(av1::is_keyframe(golden("codec/av1_inter.sample.hex")));
  EXPECT_TRUE(av1::is_keyframe(hex("12 00 32 01 10")));             // temporal delimiter, key frame
  EXPECT_TRUE(av1::is_keyframe(hex("36 00 01 10")));                // with an extension byte
  EXPECT_TRUE(av1::is_keyframe(hex("30 10")));                      // without a size
  EXPECT_FALSE(av1::is_keyframe(hex("32 01 00")));                  // a key frame that is not shown
  EXPECT_FALSE(av1::is_keyframe(hex("32 01 90")));                  // show_existing_frame
  EXPECT_TRUE(av1::is_keyframe(hex("0a 01 18")));                   // reduced still picture
  EXPECT_FALSE(av1::is_keyframe(hex("32 02 10")));                  // cut
  EXPECT_FALSE(av1::is_keyframe(hex("32 ffffffffffffffffff 10")));  // no leb128
  EXPECT_FALSE(av1::is_keyframe(hex("b2 01 10")));                  // forbidden bit
  EXPECT_FALSE(av1::is_keyframe({}));
}

TEST(vpx, reads_records_with_and_without_the_box_header) {
  const auto box = golden("codec/vp9.vpcc.hex");
  const std::vector<uint8_t> bare(box.begin() + 4, box.end());
  for (const auto& record : {box, bare}) {
    const auto config = vpx::parse_config(record);
    ASSERT_TRUE(config);
    EXPECT_EQ(vpx::codec_string(*config), "vp09.00.11.08");
    EXPECT_EQ(config->chroma_subsampling, 1);
    EXPECT_FALSE(config->full_range);
    for (size_t size = 0; size < record.size(); ++size) {
      if (size == bare.size() && record.size() != size)
        continue;  // taken for a bare record, with level and so on shifted
      EXPECT_FALSE(vpx::parse_config(first(record, size))) << size;
    }
  }
  EXPECT_FALSE(vpx::parse_config(hex("02000000 00 0b 82 02 02 02 0000")));
  EXPECT_FALSE(vpx::parse_config(hex("04 0b 82 02 02 02 0000")));
  EXPECT_FALSE(vpx::parse_config(hex("00 0b 92 02 02 02 0000")));
}

}  // namespace
}  // namespace sluice::codec
