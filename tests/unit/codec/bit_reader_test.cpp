#include "codec/bit_reader.hpp"

#include <gtest/gtest.h>

#include "codec/nal.hpp"
#include "golden/golden.hpp"

namespace sluice::codec {
namespace {

using test::hex;

TEST(bit_reader, fields_across_bytes) {
  const auto bytes = hex("a5 f0 12345678 80");
  bit_reader in(bytes);
  EXPECT_EQ(in.bits(3), 5u);
  EXPECT_EQ(in.bits(7), 0x17u);
  EXPECT_EQ(in.bits(0), 0u);
  in.align_to_byte();
  EXPECT_EQ(in.position(), 16u);
  EXPECT_EQ(in.bits(32), 0x12345678u);
  EXPECT_TRUE(in.flag());
  EXPECT_EQ(in.remaining(), 7u);
  EXPECT_FALSE(in.failed());
  EXPECT_EQ(in.bits(8), 0u);
  EXPECT_TRUE(in.failed());
  EXPECT_EQ(in.remaining(), 0u);
}

TEST(bit_reader, skip_past_the_end_fails) {
  const auto bytes = hex("ff");
  bit_reader in(bytes);
  in.skip(8);
  EXPECT_FALSE(in.failed());
  in.skip(SIZE_MAX);
  EXPECT_TRUE(in.failed());
}

// H.264 table 9-2 and §9.1.1.
TEST(bit_reader, exp_golomb) {
  const auto bytes = hex("a6 42 98 e2 04 8a");  // 1 010 011 00100 00101 00110 00111 0001000 0001001 0001010
  bit_reader in(bytes);
  for (uint32_t expected = 0; expected < 10; ++expected) EXPECT_EQ(in.ue(), expected);
  bit_reader again(bytes);
  for (const int expected : {0, 1, -1, 2, -2, 3, -3, 4, -4, 5}) EXPECT_EQ(again.se(), expected);
}

TEST(bit_reader, largest_and_too_long_exp_golomb) {
  const auto largest = hex("00000001 ffffffff 80");  // 31 zeros, 1, 31 ones
  bit_reader in(largest);
  EXPECT_EQ(in.ue(), 0xFFFFFFFEu);
  EXPECT_FALSE(in.failed());
  bit_reader as_signed(largest);
  EXPECT_EQ(as_signed.se(), -0x7FFFFFFF);
  for (const char* bad : {"00000000 80000000 00", "00", "0001", ""}) {
    const auto bytes = hex(bad);
    bit_reader cut(bytes);
    EXPECT_EQ(cut.ue(), 0u) << bad;
    EXPECT_TRUE(cut.failed()) << bad;
  }
}

TEST(bit_writer, writes_what_the_reader_reads) {
  std::vector<uint8_t> bytes;
  bit_writer out(bytes);
  out.bits(5, 3);
  out.bits(0xFFFFFF17, 7);  // only the low bits
  out.bits(0x12345678, 32);
  bit_reader in(bytes);
  EXPECT_EQ(in.bits(3), 5u);
  EXPECT_EQ(in.bits(7), 0x17u);
  EXPECT_EQ(in.bits(32), 0x12345678u);
  EXPECT_EQ(bytes.size(), 6u);
}

TEST(nal, unescape_removes_only_emulation_prevention) {
  EXPECT_EQ(unescape_nal(hex("000003 01 000003 00 0003 000003")), hex("0000 01 0000 0000 0000"));
  EXPECT_EQ(unescape_nal(hex("000000 03 0003")), hex("000000 0003"));
}

TEST(nal, iterator_stops_at_a_broken_length) {
  const auto sample = hex("0002 aabb 0000 0001 cc 0009 dd");
  nal_iterator units(sample, 2);
  EXPECT_EQ(units.next()->size(), 2u);
  EXPECT_EQ(units.next()->front(), 0xcc);
  EXPECT_FALSE(units.next());
  EXPECT_TRUE(units.failed());
  EXPECT_FALSE(units.next());
}

TEST(nal, crop_refuses_empty_and_huge_pictures) {
  EXPECT_EQ(crop(1920, 1088, 0, 8)->height, 1080u);
  EXPECT_FALSE(crop(16, 16, 16, 0));
  EXPECT_FALSE(crop(16, 16, 0, 17));
  EXPECT_FALSE(crop(65536, 16, 0, 0));
  EXPECT_TRUE(crop(65536, 16, 1, 0));
}

}  // namespace
}  // namespace sluice::codec
