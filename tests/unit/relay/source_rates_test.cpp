#include "relay/source_rates.hpp"

#include <gtest/gtest.h>

namespace sluice::relay {
namespace {

using namespace std::chrono_literals;

base::ip_address address(const char* text) { return *base::ip_address::parse(text); }

TEST(source_rates, each_address_has_its_own_second) {
  source_rates rates(3, 42);
  base::time_point now(100s);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(rates.allow(address("192.0.2.1"), now));
  EXPECT_FALSE(rates.allow(address("192.0.2.1"), now));
  EXPECT_TRUE(rates.allow(address("192.0.2.2"), now));
  EXPECT_FALSE(rates.allow(address("192.0.2.1"), now + 999ms));
  EXPECT_TRUE(rates.allow(address("192.0.2.1"), now + 1s));
}

TEST(source_rates, a_network_of_ipv6_counts_as_one_address) {
  source_rates rates(1, 42);
  const base::time_point now(100s);
  EXPECT_TRUE(rates.allow(address("2001:db8::1"), now));
  EXPECT_FALSE(rates.allow(address("2001:db8::2"), now));
  EXPECT_TRUE(rates.allow(address("2001:db8:0:1::1"), now));
}

TEST(source_rates, few_of_many_share_a_count) {
  source_rates rates(1, 42);
  int refused = 0;
  for (uint8_t i = 0; i < 100; ++i)
    refused += !rates.allow(base::ip_address::v4({10, 0, 0, i}), base::time_point(100s));
  EXPECT_LT(refused, 10);
}

TEST(source_counts, has_a_limit_and_forgets) {
  source_counts counts(2);
  const auto a = address("192.0.2.1"), b = address("192.0.2.2");
  EXPECT_TRUE(counts.enter(a));
  EXPECT_TRUE(counts.enter(a));
  EXPECT_FALSE(counts.enter(a));
  EXPECT_TRUE(counts.enter(b));
  counts.leave(a);
  EXPECT_TRUE(counts.enter(a));
}

TEST(source_counts, a_network_of_ipv6_counts_as_one_address) {
  source_counts counts(1);
  EXPECT_TRUE(counts.enter(address("2001:db8::1")));
  EXPECT_FALSE(counts.enter(address("2001:db8::2:0:0:1")));
  EXPECT_TRUE(counts.enter(address("2001:db8:0:1::1")));
  counts.leave(address("2001:db8::ffff"));
  EXPECT_TRUE(counts.enter(address("2001:db8::2")));
}

TEST(source_counts, none_is_refused_without_a_limit) {
  source_counts unlimited(0);
  for (int i = 0; i < 1000; ++i) EXPECT_TRUE(unlimited.enter(address("192.0.2.1")));
}

}  // namespace
}  // namespace sluice::relay
