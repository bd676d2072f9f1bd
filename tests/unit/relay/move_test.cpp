#include <gtest/gtest.h>

#include "unit/relay/support.hpp"

// Streams that a drain takes from one origin to another.
namespace sluice::relay::test {
namespace {

using media::test::inter;
using media::test::key;
using media::test::sound;

struct kind {
  relay_mode mode;
  bool is_sluice;
  bool video;
};

class moving : public proxy_test, public ::testing::WithParamInterface<kind> {
 protected:
  moving() { relays.mode = GetParam().mode; }
  packet message(uint32_t n) const {
    if (!GetParam().video) return sound(5000 + 40 * n, 1 + n);
    return n % 25 == 0 ? key(5000 + 40 * n, 1 + n) : inter(5000 + 40 * n, 1 + n);
  }
  void send(rtmp_client& pub, uint32_t count) {
    for (const uint32_t end = sent_ + count; sent_ < end; ++sent_) {
      pub.publish(message(sent_));
      servers::test::run_turns(loop, 1);
    }
  }
  void send_until_moved(rtmp_client& pub) {
    const auto give_up_at = loop.refresh() + seconds(10);
    while (log.of("stream_moved").empty() && loop.now() < give_up_at) send(pub, 1);
    ASSERT_EQ(log.of("stream_moved").size(), 1u);
  }
  uint32_t sent_ = 0;
};

TEST_P(moving, nobody_notices) {
  origin(GetParam().is_sluice);
  const auto name = stream_with_home(0);
  auto& pub = publisher(0, name);
  auto& here = player(0, name);
  auto& there = player(1, name);
  run_until(loop, [&] { return here.started && there.started; });
  send(pub, 1);
  for (auto* p : {&here, &there}) ASSERT_TRUE(await(*p, 1));
  send(pub, 30);
  auto& second = origin(GetParam().is_sluice);
  ASSERT_TRUE(control().drain("origin1", true));
  send_until_moved(pub);
  send(pub, 40);
  for (auto* p : {&here, &there}) {
    ASSERT_TRUE(await(*p, sent_)) << p->got.size() << " of " << sent_;
    ASSERT_EQ(p->got.size(), sent_);
    for (uint32_t n = 0; n < sent_; ++n) ASSERT_EQ(p->got[n], message(n)) << n;
  }
  EXPECT_EQ(second.published(), 1u);
  EXPECT_FALSE(pub.ended);
  EXPECT_TRUE(log.of("viewers_gap").empty());
}

// The connection to the old owner may outlive the publisher, of whose retention it sends.
TEST_P(moving, the_publisher_leaves_while_the_old_owner_takes_its_time) {
  auto& first = origin(GetParam().is_sluice);
  auto& pub = publisher(0, "a");
  send(pub, 30);
  auto& second = origin(GetParam().is_sluice);
  run_until(loop, [&] { return first.published() == 1; });
  auto thaw = first.freeze();
  ASSERT_TRUE(control().drain("origin1", true));
  send_until_moved(pub);
  pub.leave();
  run_until(loop, [&] { return second.published() == 0 && second.sessions() == 0; });
  servers::test::run_turns(loop, 50);
  thaw->set_value();
  run_until(loop, [&] { return first.sessions() == 0; });
  servers::test::run_turns(loop, 50);
}

// What that connection still reads is memory like any other.
TEST_P(moving, the_budget_knows_what_the_old_owner_has_not_taken) {
  retention_budget budget;
  relays.retention = &budget;
  relays.retention_hub.retain = std::chrono::hours(1);
  auto& first = origin(GetParam().is_sluice);
  auto& pub = publisher(0, "a");
  pub.publish(key(0, 1, 200'000));
  send(pub, 10);
  origin(GetParam().is_sluice);
  run_until(loop, [&] { return first.published() == 1 && budget.used > 200'000; });
  auto thaw = first.freeze();
  ASSERT_TRUE(control().drain("origin1", true));
  send_until_moved(pub);
  pub.leave();
  run_until(loop, [&] { return !log.of("session_end").empty(); });
  servers::test::run_turns(loop, 50);
  EXPECT_GT(budget.used, 200'000u);
  thaw->set_value();
  run_until(loop, [&] { return budget.used == 0; });
}

INSTANTIATE_TEST_SUITE_P(kinds, moving,
                         ::testing::Values(kind{relay_mode::collapse, true, true},
                                           kind{relay_mode::collapse, true, false},
                                           kind{relay_mode::per_viewer, true, true},
                                           kind{relay_mode::per_viewer, false, true},
                                           kind{relay_mode::per_viewer, false, false}),
                         [](const auto& test) {
                           const kind& k = test.param;
                           return std::string(k.mode == relay_mode::collapse ? "collapse" : "per_viewer") +
                                  (k.is_sluice ? "" : "_stock") + (k.video ? "" : "_sound");
                         });

}  // namespace
}  // namespace sluice::relay::test
