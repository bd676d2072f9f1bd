#include "relay/rtc/paths.hpp"

#include <gtest/gtest.h>

namespace sluice::relay {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

rtc_paths::path from(unsigned n, unsigned shard = 0) {
  return {{{base::ip_address::v4({192, 0, 2, static_cast<uint8_t>(n)}), static_cast<uint16_t>(1000 + n)}, {}}, shard};
}

std::array<uint8_t, 12> transaction(uint8_t n) {
  std::array<uint8_t, 12> t{};
  t[11] = n;
  return t;
}

/// A client as its home sees it, on a clock of the test's.
struct rtc_paths_test : testing::Test {
  void check(unsigned n, bool nominates = false, unsigned shard = 0) {
    paths.check(from(n, shard), transaction(static_cast<uint8_t>(n)), nominates, now);
  }
  bool data(unsigned n) { return paths.data(from(n).at, now); }
  uint16_t selected() const { return paths.selected() ? paths.selected()->at.peer.port - 1000 : 0; }
  base::time_point now{seconds(1000)};
  rtc_paths paths;
};

TEST_F(rtc_paths_test, nothing_goes_anywhere_before_the_first_check) {
  EXPECT_EQ(paths.selected(), nullptr);
  EXPECT_EQ(paths.answer_to(transaction(1)), nullptr);
  EXPECT_FALSE(data(1));
  check(1);
  EXPECT_EQ(selected(), 1);
  EXPECT_TRUE(data(1));
  EXPECT_FALSE(data(2)) << "another address is a stranger's";
}

TEST_F(rtc_paths_test, a_second_address_is_a_spare_until_it_is_nominated) {
  check(1);
  now += milliseconds(20);
  check(2);
  EXPECT_EQ(selected(), 1);
  now += milliseconds(20);
  check(2, true);
  EXPECT_EQ(selected(), 2);
  check(1);
  EXPECT_EQ(selected(), 2) << "the old one does not come back by a mere check";
}

TEST_F(rtc_paths_test, each_check_is_answered_where_it_came_from) {
  check(1);
  check(2);
  EXPECT_EQ(paths.answer_to(transaction(1))->at.peer.port, 1001);
  EXPECT_EQ(paths.answer_to(transaction(2))->at.peer.port, 1002);
  EXPECT_EQ(paths.answer_to(transaction(9))->at.peer.port, 1001) << "unknown: the selected one";
  // The ring forgets the oldest.
  for (uint8_t n = 100; n < 120; ++n) paths.check(from(2), transaction(n), false, now);
  EXPECT_EQ(paths.answer_to(transaction(2))->at.peer.port, 1001);
  EXPECT_EQ(paths.answer_to(transaction(119))->at.peer.port, 1002);
}

TEST_F(rtc_paths_test, a_transaction_belongs_to_the_address_that_it_came_from_first) {
  const auto replayed = [&](unsigned n, uint8_t t) { return paths.is_replayed(from(n).at.peer, transaction(t)); };
  EXPECT_FALSE(replayed(1, 1));
  check(1);
  EXPECT_FALSE(replayed(1, 1)) << "sent again";
  EXPECT_TRUE(replayed(2, 1)) << "from an address that is nobody's";
  check(2);
  EXPECT_TRUE(replayed(2, 1)) << "from another of the client's";
  EXPECT_FALSE(replayed(2, 3));
  // Copies from its own address do not make it forget.
  for (int n = 0; n < 1000; ++n) check(2);
  EXPECT_TRUE(replayed(2, 1));
  // So many are remembered.
  for (size_t n = 0; n < rtc_paths::transactions_max - 2; ++n)
    paths.check(from(1), transaction(static_cast<uint8_t>(100 + n)), false, now);
  EXPECT_TRUE(replayed(2, 1));
  EXPECT_TRUE(replayed(1, 2));
  EXPECT_TRUE(replayed(2, 100));
  paths.check(from(1), transaction(99), false, now);
  EXPECT_FALSE(replayed(2, 1));
  EXPECT_TRUE(replayed(1, 2));
}

TEST_F(rtc_paths_test, an_address_that_made_way_and_comes_back_is_another) {
  check(1);
  now += milliseconds(1);
  for (unsigned n = 2; n < 2 + rtc_paths::paths_max; ++n, now += milliseconds(1)) check(n, n == 2);
  ASSERT_FALSE(data(1));
  paths.check(from(1), transaction(99), false, now);
  EXPECT_TRUE(paths.is_replayed(from(1).at.peer, transaction(1)));
  EXPECT_FALSE(paths.is_replayed(from(1).at.peer, transaction(99)));
}

TEST_F(rtc_paths_test, a_client_that_moves_without_a_word_is_followed) {
  check(1, true);
  for (int n = 0; n < 100; ++n, now += milliseconds(20)) EXPECT_TRUE(data(1));
  // NAT gives it another port: its next check comes from there, and nothing from the old one.
  now += milliseconds(279);
  check(2);
  EXPECT_EQ(selected(), 1) << "it may have both";
  now += milliseconds(21);
  EXPECT_TRUE(data(2));
  EXPECT_EQ(selected(), 2);
  EXPECT_TRUE(data(1)) << "what was on its way still counts";
  EXPECT_EQ(selected(), 2);
}

TEST_F(rtc_paths_test, of_two_that_both_speak_none_is_changed) {
  check(1);
  check(2);
  for (int n = 0; n < 100; ++n, now += milliseconds(20)) {
    data(1);
    data(2);
    EXPECT_EQ(selected(), 1);
  }
}

TEST_F(rtc_paths_test, an_address_without_checks_loses_consent) {
  check(1);
  for (int n = 0; n < 30; ++n, now += seconds(1)) EXPECT_TRUE(data(1)) << n;
  now += milliseconds(1);
  EXPECT_FALSE(data(1));
  check(1);
  EXPECT_TRUE(data(1));
}

TEST_F(rtc_paths_test, addresses_are_bounded_and_the_selected_one_stays) {
  check(1, true);
  for (unsigned n = 2; n < 60; ++n) {
    now += milliseconds(1);
    data(1);
    check(n);
  }
  EXPECT_EQ(paths.size(), rtc_paths::paths_max);
  EXPECT_EQ(selected(), 1);
  EXPECT_TRUE(data(59));
  EXPECT_FALSE(data(2));
}

TEST_F(rtc_paths_test, the_shard_is_that_of_the_last_check) {
  check(1, true, 0);
  EXPECT_EQ(paths.selected()->shard, 0u);
  check(1, false, 3);
  EXPECT_EQ(paths.selected()->shard, 3u);
}

}  // namespace
}  // namespace sluice::relay
