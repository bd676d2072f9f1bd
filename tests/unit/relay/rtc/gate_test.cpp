#include "relay/rtc/gate.hpp"

#include <gtest/gtest.h>

#include "relay/source_rates.hpp"

namespace sluice::relay {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

base::ip_address v4(unsigned n) {
  return base::ip_address::v4(
      {10, static_cast<uint8_t>(n >> 16), static_cast<uint8_t>(n >> 8), static_cast<uint8_t>(n)});
}

TEST(rtc_gate, a_bucket_gives_its_burst_and_then_its_rate) {
  token_bucket b;
  base::time_point now{seconds(5)};
  int given = 0;
  for (int n = 0; n < 100; ++n) given += b.take(10, 5, now);
  EXPECT_EQ(given, 5);
  now += milliseconds(100);
  EXPECT_TRUE(b.take(10, 5, now));
  EXPECT_FALSE(b.take(10, 5, now));
  now += seconds(100);
  given = 0;
  for (int n = 0; n < 100; ++n) given += b.take(10, 5, now);
  EXPECT_EQ(given, 5) << "it does not save more than its burst";
}

TEST(rtc_gate, one_source_does_not_take_anothers_share) {
  source_rate r(7, 10, 5);
  const base::time_point now{seconds(5)};
  for (int n = 0; n < 1000; ++n) r.take(v4(1), now);
  EXPECT_FALSE(r.take(v4(1), now));
  EXPECT_TRUE(r.take(v4(2), now));
  // All of a host's IPv6 addresses are one source.
  const auto a = *base::ip_address::parse("2001:db8:1:2::1"), b = *base::ip_address::parse("2001:db8:1:2:ffff::9");
  for (int n = 0; n < 5; ++n) EXPECT_TRUE(r.take(n % 2 ? a : b, now));
  EXPECT_FALSE(r.take(a, now));
  EXPECT_TRUE(r.take(*base::ip_address::parse("2001:db8:1:3::1"), now));
}

TEST(rtc_gate, what_is_one_source) {
  const auto of = [](const char* a) { return counted_source(*base::ip_address::parse(a)).to_string(); };
  EXPECT_EQ(of("192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(of("2001:db8:1:2:ffff::9"), "2001:db8:1:2::");
  EXPECT_EQ(of("::1"), "::");
}

TEST(rtc_gate, a_flood_from_everywhere_leaves_room_for_others) {
  source_rate r(7, 200, 400);
  base::time_point now{seconds(5)};
  // 100,000 datagrams a second for a second, each from an address of its own.
  for (unsigned n = 0; n < 100'000; ++n) r.take(v4(n), now += std::chrono::microseconds(10));
  unsigned served = 0;
  for (unsigned n = 0; n < 1000; ++n) served += r.take(v4(1'000'000 + n), now);
  EXPECT_EQ(served, 1000u);
}

TEST(rtc_gate, misses_are_remembered_for_a_while) {
  recent_misses m(7, seconds(2));
  base::time_point now{seconds(5)};
  m.add("a:b", now);
  EXPECT_TRUE(m.has("a:b", now));
  EXPECT_FALSE(m.has("b:a", now));
  now += seconds(2);
  EXPECT_FALSE(m.has("a:b", now));
  m.add("a:b", now);
  m.remove("a:b");
  EXPECT_FALSE(m.has("a:b", now));
  for (int n = 0; n < 100'000; ++n) m.add(std::to_string(n), now);
  EXPECT_TRUE(m.has("99999", now));
}

}  // namespace
}  // namespace sluice::relay
