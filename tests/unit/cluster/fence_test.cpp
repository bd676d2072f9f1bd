#include "cluster/core/fence.hpp"

#include <gtest/gtest.h>

namespace sluice::cluster {
namespace {

using namespace std::chrono_literals;
const stream_key key{"v", "live", "a"};
constexpr base::time_point start(1h);

TEST(fence, accepts_no_epoch_below_the_highest_seen) {
  fence f(true, start);
  EXPECT_EQ(f.publish(key, {5, 1}).value(), (epoch{5, 1}));
  EXPECT_EQ(f.publish(key, {5, 1}).value(), (epoch{5, 1}));  // its publisher comes back
  EXPECT_EQ(f.publish(key, {5, 0}).error().reason, "stale_epoch");
  EXPECT_EQ(f.publish(key, {6, 0}).value(), (epoch{6, 0}));
  EXPECT_EQ(f.publish(key, {5, 9}).error().reason, "stale_epoch");
  EXPECT_FALSE(f.told(key, {7, 0}));  // nothing is held
  EXPECT_EQ(f.publish(key, {6, 0}).error().reason, "stale_epoch");
  EXPECT_EQ(f.current(key), (epoch{7, 0}));
}

TEST(fence, a_publish_without_an_epoch_takes_the_current_one) {
  fence f(true, start);
  EXPECT_EQ(f.publish(key, {}).value(), epoch{});
  f.told(key, {5, 1});
  EXPECT_EQ(f.publish(key, {}).value(), (epoch{5, 1}));
}

TEST(fence, a_copy_is_dropped_when_a_higher_epoch_is_told) {
  fence f(true, start);
  ASSERT_TRUE(f.publish(key, {5, 1}));
  f.held(key, true);
  EXPECT_FALSE(f.told(key, {5, 1}));
  EXPECT_FALSE(f.told(key, {4, 1}));
  EXPECT_TRUE(f.told(key, {6, 1}));
  EXPECT_TRUE(f.told(key, {6, 1}));  // until it is
  f.held(key, false);
  EXPECT_FALSE(f.told(key, {6, 1}));
  EXPECT_EQ(f.publish(key, {5, 1}).error().reason, "stale_epoch");
  ASSERT_TRUE(f.publish(key, {6, 1}));
  f.held(key, true);
  EXPECT_FALSE(f.told(key, {6, 1}));
}

TEST(fence, a_copy_without_an_epoch_is_below_all) {
  fence f(true, start);
  ASSERT_TRUE(f.publish(key, {}));
  f.held(key, true);
  EXPECT_FALSE(f.told(key, {}));
  EXPECT_TRUE(f.told(key, {1, 1}));
}

TEST(fence, is_bounded) {
  fence f(true, start, 2, 3);
  auto numbered = [](int i) { return stream_key{"v", "live", std::to_string(i)}; };
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(f.publish(numbered(i), {5, 1}));
    f.held(numbered(i), true);
  }
  EXPECT_EQ(f.publish(numbered(2), {5, 1}).error().reason, "too_many_streams");
  EXPECT_TRUE(f.publish(numbered(0), {6, 1}));
  for (int i = 10; i < 20; ++i) f.told(numbered(i), {5, 1});
  EXPECT_EQ(f.current(numbered(10)), epoch{});  // forgotten
  EXPECT_EQ(f.current(numbered(19)), (epoch{5, 1}));
  EXPECT_EQ(f.current(numbered(1)), (epoch{5, 1}));  // held
  f.held(numbered(0), false);
  EXPECT_EQ(f.current(numbered(0)), (epoch{6, 1}));
  EXPECT_TRUE(f.publish(numbered(3), {5, 1}));
}

TEST(fence, a_stop_suspends_until_a_proxy_has_confirmed) {
  fence f(true, start);
  f.woke(start + 3s);
  EXPECT_FALSE(f.suspended());
  f.woke(start + 6001ms);
  EXPECT_TRUE(f.suspended());
  f.woke(start + 6500ms);
  EXPECT_TRUE(f.suspended());
  f.confirmed(start + 6s);  // of a heartbeat from before
  EXPECT_TRUE(f.suspended());
  f.confirmed(start + 6200ms);
  EXPECT_FALSE(f.suspended());
}

TEST(fence, without_proxies_a_stop_is_nobodys_business) {
  fence f(false, start);
  f.woke(start + 60s);
  EXPECT_FALSE(f.suspended());
}

}  // namespace
}  // namespace sluice::cluster
