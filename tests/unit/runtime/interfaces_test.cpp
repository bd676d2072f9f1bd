#include "runtime/interfaces.hpp"

#include <gtest/gtest.h>

namespace sluice::runtime {
namespace {

base::ip_address address(const char* text) { return *base::ip_address::parse(text); }

TEST(interfaces_test, an_ipv4_address_beside_another_one) {
  EXPECT_EQ(v4_beside(address("127.0.0.1")), address("127.0.0.1"));
  EXPECT_EQ(v4_beside(address("2001:db8::dead")), std::nullopt) << "no interface has it";
  // Where IPv6 is off, no interface has this one.
  const auto beside = v4_beside(address("::1"));
  if (beside) EXPECT_EQ(*beside, address("127.0.0.1"));
}

}  // namespace
}  // namespace sluice::runtime
