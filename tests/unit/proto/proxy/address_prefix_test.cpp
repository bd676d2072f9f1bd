#include "proto/proxy/address_prefix.hpp"

#include <gtest/gtest.h>

#include "golden/golden.hpp"

namespace sluice::address_prefix {
namespace {

using test::hex;

struct prefix_case {
  const char* address;
  const char* bytes;
};

constexpr prefix_case cases[] = {
    {"192.0.2.1", "f3 0004 c0000201"},
    {"2001:db8::7", "f3 0010 20010db8000000000000000000000007"},
};

TEST(address_prefix, builds_what_srs_reads) {
  for (const auto& c : cases) EXPECT_EQ(build(*base::ip_address::parse(c.address)), hex(c.bytes)) << c.address;
}

TEST(address_prefix, reads_it_and_leaves_what_follows) {
  for (const auto& c : cases) {
    auto bytes = hex(c.bytes);
    const size_t size = bytes.size();
    bytes.push_back(3);
    const auto p = parse(bytes);
    ASSERT_TRUE(p && *p) << c.address;
    EXPECT_EQ((*p)->address.to_string(), c.address);
    EXPECT_EQ((*p)->consumed, size);
    EXPECT_LE(size, bytes_max);
  }
}

TEST(address_prefix, waits_for_the_rest_of_every_prefix) {
  for (const auto& c : cases) {
    const auto whole = hex(c.bytes);
    for (size_t size = 0; size < whole.size(); ++size) {
      const std::vector<uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
      const auto p = parse(cut);
      ASSERT_TRUE(p) << size;
      EXPECT_FALSE(*p) << size;
    }
  }
}

TEST(address_prefix, a_16_byte_mapped_address_is_ipv4) {
  const auto p = parse(hex("f3 0010 00000000000000000000ffffc0000201"));
  ASSERT_TRUE(p && *p);
  EXPECT_EQ((*p)->address.to_string(), "192.0.2.1");
}

TEST(address_prefix, refuses_other_lengths_and_markers) {
  for (const char* bytes : {"03", "f3 0000", "f3 0005", "f3 ffff", "f2 0004 01020304"}) {
    const auto p = parse(hex(bytes));
    ASSERT_FALSE(p) << bytes;
    EXPECT_EQ(p.error().reason, "bad_address_prefix");
  }
}

}  // namespace
}  // namespace sluice::address_prefix
