#include "proto/mp4/fragment.hpp"

#include <gtest/gtest.h>

#include <map>

#include "golden/golden.hpp"
#include "proto/mp4/sample_entry.hpp"

namespace sluice::mp4::test {
namespace {

using sluice::test::golden;

/// All boxes by their path, contents of the first one of each; fails where sizes do not add up.
std::map<std::string, base::bytes_view> boxes_of(base::bytes_view in, const std::string& path = "") {
  std::map<std::string, base::bytes_view> all;
  base::byte_reader r(in);
  while (r.remaining() > 0) {
    const uint32_t size = r.u32();
    const std::string name = path + std::string(r.text(4));
    const auto content = r.bytes(size - 8);
    EXPECT_FALSE(r.failed()) << name;
    if (r.failed()) return all;
    all[name] = content;
    const auto type = name.substr(name.size() - 4);
    for (const auto* parent : {"moov", "trak", "mdia", "minf", "dinf", "stbl", "mvex", "moof", "traf"}) {
      if (type == parent) all.merge(boxes_of(content, name + "/"));
    }
  }
  return all;
}

track video() {
  const auto record = golden("codec/h264_high_1080p.avcc.hex");
  return {1, true, 90000, 1920, 1080, visual_entry("avc1", "avcC", record, 1920, 1080)};
}
track sound() {
  const std::vector<uint8_t> config{0x12, 0x10};
  return {2, false, 44100, 0, 0, mp4a_entry(object_type_aac, config, 2, 44100)};
}

TEST(mp4, init_segment) {
  const std::vector<track> tracks{video(), sound()};
  const auto init = init_segment(tracks);
  const auto all = boxes_of(init);
  for (const auto* name :
       {"ftyp", "moov/mvhd", "moov/trak/tkhd", "moov/trak/mdia/mdhd", "moov/trak/mdia/hdlr", "moov/trak/mdia/minf/vmhd",
        "moov/trak/mdia/minf/smhd", "moov/trak/mdia/minf/dinf/dref", "moov/trak/mdia/minf/stbl/stsd",
        "moov/trak/mdia/minf/stbl/stts", "moov/trak/mdia/minf/stbl/stsc", "moov/trak/mdia/minf/stbl/stsz",
        "moov/trak/mdia/minf/stbl/stco", "moov/mvex/trex"}) {
    EXPECT_TRUE(all.contains(name)) << name;
  }
  base::byte_reader header(all.at("moov/trak/mdia/mdhd"));
  header.skip(12);
  EXPECT_EQ(header.u32(), 90000u);
}

TEST(mp4, sample_entries) {
  // One entry: box, 78 bytes of VisualSampleEntry, avcC verbatim.
  const auto record = golden("codec/h264_high_1080p.avcc.hex");
  const auto avc = visual_entry("avc1", "avcC", record, 1920, 1080);
  base::byte_reader in(avc);
  EXPECT_EQ(in.u32(), avc.size());
  EXPECT_EQ(in.text(4), "avc1");
  in.skip(24);
  EXPECT_EQ(in.u16(), 1920);
  EXPECT_EQ(in.u16(), 1080);
  in.skip(50);
  EXPECT_EQ(in.u32(), record.size() + 8);
  EXPECT_EQ(in.text(4), "avcC");
  EXPECT_TRUE(std::ranges::equal(in.rest(), record));

  // ISO 14496-14 §5.6; sizes in four bytes as in ISO 14496-1 §8.3.3.
  const std::vector<uint8_t> config{0x12, 0x10};
  const auto aac = mp4a_entry(object_type_aac, config, 2, 44100);
  const auto expected = sluice::test::hex(
      "00000033 65736473 00000000 03 80808022 0000 00 04 80808014 40 15 000000 00000000 00000000 05 80808002 1210 06 "
      "80808001 02");
  EXPECT_TRUE(std::ranges::equal(base::bytes_view(aac).subspan(36), expected));

  const auto head = codec::opus::parse_config(golden("codec/opus_51.opushead.hex"));
  ASSERT_TRUE(head);
  const auto opus = opus_entry(*head);
  EXPECT_EQ(base::as_text(base::bytes_view(opus).subspan(40, 4)), "dOps");
  EXPECT_EQ(opus.size(), 36u + 8 + 11 + 2 + 6);
  const auto flac = flac_entry(base::bytes_view(golden("codec/flac.header.hex")).subspan(8, 34), 2, 16, 96000);
  EXPECT_EQ(flac.size(), 36u + 12 + 4 + 34);
  EXPECT_EQ(flac[32], 0) << "a rate that 16 bits do not hold";
}

TEST(mp4, media_segment) {
  const std::vector<uint8_t> a{1, 2, 3}, b{4}, c{5, 6};
  const std::vector<track_run> runs{
      {1, 1ull << 33, {{3600, 7200, true, a}, {3600, -3600, false, b}}}, {2, 5, {{1024, 0, true, c}}}, {3, 0, {}}};
  const auto segment = media_segment(9, runs);
  const auto all = boxes_of(segment);
  ASSERT_TRUE(all.contains("styp") && all.contains("moof/mfhd") && all.contains("mdat"));
  EXPECT_TRUE(std::ranges::equal(all.at("mdat"), std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(base::byte_reader(all.at("moof/mfhd").subspan(4)).u32(), 9u);

  // The first traf: tfdt of 64 bits; trun version 1 with signed offsets.
  const size_t moof_at = 24;
  const auto moof = all.at("moof");
  base::byte_reader in(moof.subspan(16 + 8));
  in.skip(4 + 4 + 4);
  EXPECT_EQ(in.u32(), 1u);  // tfhd: track
  EXPECT_EQ(in.u32(), 20u);
  in.skip(8);
  EXPECT_EQ(in.u64(), 1ull << 33);
  in.skip(8);
  EXPECT_EQ(in.u32(), 0x01000F01u);
  EXPECT_EQ(in.u32(), 2u);
  const uint32_t offset = in.u32();
  EXPECT_EQ(segment[moof_at + offset], 1) << "the data offset counts from the moof";
  EXPECT_EQ(in.u32(), 3600u);
  EXPECT_EQ(in.u32(), 3u);
  EXPECT_EQ(in.u32(), 0x02000000u);
  EXPECT_EQ(in.u32(), 7200u);
  in.skip(4);
  EXPECT_EQ(in.u32(), 1u);
  EXPECT_EQ(in.u32(), 0x01010000u);
  EXPECT_EQ(static_cast<int32_t>(in.u32()), -3600);
  in.skip(8 + 16 + 20 + 8 + 4 + 4);
  EXPECT_EQ(segment[moof_at + in.u32()], 5);
}

}  // namespace
}  // namespace sluice::mp4::test
