#include "base/bytes.hpp"

#include <gtest/gtest.h>

#include <numeric>

#include "golden/golden.hpp"

namespace sluice::base {
namespace {

using test::hex;

TEST(byte_reader, reads_every_width_in_both_orders) {
  const auto bytes = hex("01 0203 040506 0708090a 0b0c0d0e0f101112 1314 15161718 3ff8000000000000 6869");
  byte_reader in(bytes);
  EXPECT_EQ(in.u8(), 0x01);
  EXPECT_EQ(in.u16(), 0x0203);
  EXPECT_EQ(in.u24(), 0x040506u);
  EXPECT_EQ(in.u32(), 0x0708090Au);
  EXPECT_EQ(in.u64(), 0x0B0C0D0E0F101112u);
  EXPECT_EQ(in.u16_le(), 0x1413);
  EXPECT_EQ(in.u32_le(), 0x18171615u);
  EXPECT_EQ(in.f64(), 1.5);
  EXPECT_EQ(in.text(2), "hi");
  EXPECT_EQ(in.remaining(), 0u);
  EXPECT_FALSE(in.failed());
}

TEST(byte_reader, a_read_past_the_end_gives_zero_and_empties_the_reader) {
  const auto bytes = hex("ffffff");
  byte_reader in(bytes);
  EXPECT_EQ(in.u32(), 0u);
  EXPECT_TRUE(in.failed());
  EXPECT_EQ(in.remaining(), 0u);
  EXPECT_EQ(in.u8(), 0u);
  byte_reader huge(bytes);
  EXPECT_TRUE(huge.bytes(SIZE_MAX).empty());
  EXPECT_TRUE(huge.failed());
}

TEST(byte_reader, nothing_at_the_end_is_no_failure) {
  byte_reader in({});
  EXPECT_TRUE(in.bytes(0).empty());
  EXPECT_FALSE(in.failed());
}

TEST(byte_writer, writes_what_the_reader_reads) {
  std::vector<uint8_t> out;
  byte_writer w(out);
  w.u8(0x01);
  w.u16(0x0203);
  w.u24(0xFF040506);  // only the low 24 bits
  w.u32(0x0708090A);
  w.u64(0x0B0C0D0E0F101112);
  w.u16_le(0x1413);
  w.u32_le(0x18171615);
  w.f64(1.5);
  w.text("hi");
  EXPECT_EQ(out, hex("01 0203 040506 0708090a 0b0c0d0e0f101112 1314 15161718 3ff8000000000000 6869"));
  EXPECT_EQ(w.size(), out.size());
}

TEST(send_buffer, appends_and_consumes) {
  send_buffer b;
  EXPECT_TRUE(b.empty());
  b.append(hex("010203"));
  byte_writer(b.sink()).u8(4);
  b.consume(2);
  EXPECT_EQ(b.size(), 2u);
  EXPECT_EQ(std::vector<uint8_t>(b.pending().begin(), b.pending().end()), hex("0304"));
  b.append(hex("05"));
  b.consume(3);
  EXPECT_TRUE(b.empty());
  EXPECT_EQ(b.sink().capacity(), 0u);  // no memory while empty
}

TEST(send_buffer, keeps_the_order_through_its_own_compaction) {
  send_buffer b;
  std::vector<uint8_t> block(1000);
  std::iota(block.begin(), block.end(), uint8_t{0});
  uint8_t expected = 0;
  size_t appended = 0, consumed = 0;
  for (int round = 0; round < 400; ++round) {
    for (uint8_t& v : block) v = static_cast<uint8_t>(appended++ % 251);
    b.append(block);
    for (size_t i = 0; i < 900; ++i, ++consumed) {
      expected = static_cast<uint8_t>(consumed % 251);
      ASSERT_EQ(b.pending()[i], expected);
    }
    b.consume(900);
    ASSERT_EQ(b.size(), appended - consumed);
    // What was consumed is given back: at most as much again as is pending, or 64 KiB.
    ASSERT_LE(b.sink().size(), std::max<size_t>(2 * b.size(), b.size() + 64 * 1024));
  }
}

}  // namespace
}  // namespace sluice::base
