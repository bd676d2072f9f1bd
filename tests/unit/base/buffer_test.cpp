#include "base/buffer.hpp"

#include <gtest/gtest.h>

#include <new>
#include <utility>
#include <vector>

namespace sluice::base {
namespace {

TEST(block_ref, counts_its_references) {
  auto a = block_ref::allocate(100);
  ASSERT_TRUE(a);
  EXPECT_EQ(a.capacity(), 100u);
  EXPECT_TRUE(a.unique());
  a.data()[99] = 7;
  {
    const auto b = a;
    EXPECT_FALSE(a.unique());
    EXPECT_EQ(b.data(), a.data());
  }
  EXPECT_TRUE(a.unique());
  const auto moved = std::move(a);
  EXPECT_TRUE(moved.unique());
  EXPECT_EQ(moved.data()[99], 7);
}

TEST(block_ref, assignment_releases_the_old_block) {
  auto a = block_ref::allocate(1), b = block_ref::allocate(2);
  const auto keep = a;
  a = b;
  EXPECT_TRUE(keep.unique());
  EXPECT_EQ(a.capacity(), 2u);
  EXPECT_FALSE(b.unique());
  auto& self = a;
  a = self;
  EXPECT_EQ(a.data(), b.data());
}

TEST(block_ref, empty_reference) {
  const block_ref none;
  EXPECT_FALSE(none);
  EXPECT_EQ(none.capacity(), 0u);
  EXPECT_FALSE(none.unique());
}

TEST(block_ref, refuses_more_than_32_bits) {
  EXPECT_THROW(block_ref::allocate(size_t{UINT32_MAX} + 1), std::bad_alloc);
}

TEST(slice, copies_with_headroom) {
  const std::vector<uint8_t> bytes{1, 2, 3};
  const auto s = slice::copy_of(bytes, 24);
  EXPECT_EQ(s.headroom(), 24u);
  EXPECT_EQ(s.headroom_end(), s.data());
  EXPECT_EQ(s.block().capacity(), 27u);
  EXPECT_EQ(std::vector<uint8_t>(s.view().begin(), s.view().end()), bytes);
}

TEST(slice, sub_stays_inside) {
  const std::vector<uint8_t> bytes{1, 2, 3, 4};
  const auto s = slice::copy_of(bytes, 2).sub(1, 2);
  EXPECT_EQ(s.size(), 2u);
  EXPECT_EQ(s.data()[0], 2);
  EXPECT_EQ(s.headroom(), 3u);
  EXPECT_EQ(s.sub(1).size(), 1u);
  EXPECT_EQ(s.sub(1, SIZE_MAX).data()[0], 3);
  EXPECT_TRUE(s.sub(2).empty());
  EXPECT_TRUE(s.sub(SIZE_MAX, SIZE_MAX).empty());
}

TEST(slice, empty_slice_has_no_block) {
  const slice none;
  EXPECT_TRUE(none.empty());
  EXPECT_EQ(none.data(), nullptr);
  EXPECT_TRUE(none.view().empty());
  EXPECT_TRUE(none.sub(1).empty());
  EXPECT_TRUE(slice::copy_of({}).empty());
}

TEST(slice, keeps_its_block_alive) {
  slice part;
  {
    const std::vector<uint8_t> bytes{1, 2, 3, 4};
    const auto whole = slice::copy_of(bytes);
    part = whole.sub(2);
    EXPECT_FALSE(part.block().unique());
  }
  EXPECT_TRUE(part.block().unique());
  EXPECT_EQ(part.data()[1], 4);
}

}  // namespace
}  // namespace sluice::base
