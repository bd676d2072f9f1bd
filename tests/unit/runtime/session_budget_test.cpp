#include "runtime/session_budget.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace sluice::runtime {
namespace {

TEST(session_budget, has_so_many_places) {
  session_budget two(2);
  auto a = session_place::take(&two), b = session_place::take(&two);
  EXPECT_TRUE(a.held() && b.held() && two.full());
  EXPECT_FALSE(session_place::take(&two).held());
  EXPECT_EQ(two.taken(), 2u);
  a.give_back();
  a.give_back();
  EXPECT_EQ(two.taken(), 1u);
  auto c = session_place::take(&two);
  EXPECT_TRUE(c.held());
  b = std::move(c);
  EXPECT_EQ(two.taken(), 1u) << "what it had is given back";
  EXPECT_FALSE(c.held());
}

TEST(session_budget, an_admitted_session_counts_beyond_the_limit) {
  session_budget one(1);
  {
    const auto a = session_place::take(&one), b = session_place::take_beyond(&one);
    EXPECT_EQ(one.taken(), 2u);
    EXPECT_FALSE(session_place::take(&one).held());
  }
  EXPECT_EQ(one.taken(), 0u);
  EXPECT_TRUE(session_place::take(&one).held());
}

TEST(session_budget, may_have_no_limit) {
  session_budget endless(0);
  std::vector<session_place> all;
  for (int i = 0; i < 1000; ++i) all.push_back(session_place::take(&endless));
  for (const auto& p : all) EXPECT_TRUE(p.held());
  EXPECT_TRUE(session_place::take(nullptr).held());
  EXPECT_TRUE(session_place::take_beyond(nullptr).held());
  EXPECT_FALSE(session_place().held());
}

TEST(session_budget, is_shared_by_threads) {
  session_budget three(3);
  std::atomic<size_t> inside{0}, most{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 20'000; ++n) {
        const auto place = session_place::take(&three);
        if (!place.held()) continue;
        const size_t now = ++inside;
        for (size_t known = most; now > known && !most.compare_exchange_weak(known, now);) {
        }
        --inside;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_LE(most, 3u);
  EXPECT_EQ(three.taken(), 0u);
}

}  // namespace
}  // namespace sluice::runtime
