#include <gtest/gtest.h>

#include "unit/relay/support.hpp"

// Streams through a proxy of two shards: every packet, collapsed and per viewer, on the shard of the pull and on the
// other.
namespace sluice::relay::test {
namespace {

using media::test::inter;
using media::test::key;

class relaying : public proxy_test, public ::testing::WithParamInterface<relay_mode> {
 protected:
  relaying() { relays.mode = GetParam(); }
  bool collapsed() const { return GetParam() != relay_mode::per_viewer; }
};

TEST_P(relaying, every_packet_reaches_the_players_of_both_shards) {
  auto& o = origin();
  for (const unsigned home : {0u, 1u}) {
    const auto name = stream_with_home(home);
    auto& early = player(0, name);
    auto& pub = publisher(0, name);
    auto& there = player(1, name);
    auto& here = player(0, name);
    const std::vector<rtmp_client*> players{&early, &there, &here};
    run_until(loop, [&] { return early.started && there.started && here.started; });
    EXPECT_EQ(o.sessions(), 1u + (collapsed() ? 1 : 3)) << "how often the origin is asked";
    const auto sent = made_up_stream(20, 2000);
    publish(pub, sent, players);
    for (auto* p : players) {
      ASSERT_TRUE(await(*p, sent.size()));
      EXPECT_EQ(p->got, sent);
      p->close();
    }
    pub.leave();
    run_until(loop, [&] { return o.sessions() == 0; });
  }
  run_until(loop, [&] { return feeds(0) + feeds(1) == 0; });
}

TEST_P(relaying, late_players_start_at_a_keyframe_with_headers) {
  origin();
  for (const unsigned home : {0u, 1u}) {
    const auto name = stream_with_home(home);
    auto& pub = publisher(1, name);
    const auto sent = made_up_stream(6);
    auto& first = player(0, name);
    run_until(loop, [&] { return first.started; });
    publish(pub, sent, {&first});
    ASSERT_TRUE(await(first, sent.size()));
    for (const unsigned shard : {0u, 1u}) {
      auto& late = player(shard, name);
      const size_t from = 3 + 5 * 20;
      ASSERT_TRUE(await(late, 3 + sent.size() - from)) << "home " << home << ", shard " << shard;
      packets expected;
      // Metadata at 0, as all servers have it.
      for (size_t i = 0; i < 3; ++i) expected.push_back(media::test::at(sent[i], i == 0 ? 0 : sent[from].timestamp));
      expected.insert(expected.end(), sent.begin() + from, sent.end());
      EXPECT_EQ(late.got, expected);
    }
  }
}

TEST_P(relaying, a_publisher_returns_through_the_other_shard) {
  auto& o = origin();
  const auto name = stream_with_home(0);
  auto& pub = publisher(0, name);
  auto& here = player(0, name);
  auto& there = player(1, name);
  run_until(loop, [&] { return here.started && there.started; });
  pub.publish(key(70'000, 1));
  ASSERT_TRUE(await(here, 1) && await(there, 1));
  pub.publish(inter(70'040, 2));
  ASSERT_TRUE(await(here, 2) && await(there, 2));
  pub.leave();
  run_until(loop, [&] { return o.published() == 0; });
  auto& again = publisher(1, name);
  again.publish(key(0, 3));
  again.publish(inter(40, 4));
  for (auto* p : {&here, &there}) {
    ASSERT_TRUE(await(*p, 4));
    EXPECT_EQ(p->got[2].body, key(0, 3).body);
    EXPECT_GT(p->got[2].timestamp, 70'040u);
    EXPECT_EQ(p->got[3].timestamp - p->got[2].timestamp, 40u);
    EXPECT_TRUE(p->codes.empty());
  }
  EXPECT_EQ(o.published(), 1u);
}

TEST_P(relaying, what_a_publisher_sends_last_arrives) {
  origin();
  auto& pub = publisher(0, "a");
  auto& p = player(1, "a");
  run_until(loop, [&] { return p.started; });
  const auto sent = made_up_stream(2, 30'000);
  pub.publish(packets(sent.begin(), sent.begin() + 4));
  ASSERT_TRUE(await(p, 4));
  pub.publish(packets(sent.begin() + 4, sent.end()));
  run_until(loop, [&] { return pub.unsent() == 0; });
  pub.leave();
  ASSERT_TRUE(await(p, sent.size()));
  EXPECT_EQ(p.got.back(), sent.back());
}

TEST_P(relaying, players_come_and_go_while_it_runs) {
  auto& o = origin();
  const auto name = stream_with_home(1);
  auto& pub = publisher(0, name);
  auto& steady = player(1, name);
  run_until(loop, [&] { return steady.started; });
  const auto sent = made_up_stream(40);
  pub.publish(packets(sent.begin(), sent.begin() + 4));
  ASSERT_TRUE(await(steady, 4));
  std::vector<rtmp_client*> others;
  for (size_t i = 4; i < sent.size(); ++i) {
    pub.publish(sent[i]);
    servers::test::run_turns(loop, 1);
    if (i % 20 == 0) others.push_back(&player(i / 20 % 2, name));
    if (i % 50 == 0 && !others.empty()) others[i % others.size()]->close();
  }
  ASSERT_TRUE(await(steady, sent.size()));
  EXPECT_EQ(steady.got, sent);
  for (auto* p : others) {
    p->close();
    if (p->got.size() <= 3) continue;
    const auto from = std::find(sent.begin(), sent.end(), p->got[3]);
    ASSERT_NE(from, sent.end());
    EXPECT_EQ(from->body[0], 0x17);
    EXPECT_TRUE(std::equal(p->got.begin() + 3, p->got.end(), from)) << "without a hole";
  }
  steady.close();
  pub.leave();
  run_until(loop, [&] { return o.sessions() == 0; });
}

INSTANTIATE_TEST_SUITE_P(modes, relaying,
                         ::testing::Values(relay_mode::collapse, relay_mode::per_viewer, relay_mode::automatic),
                         [](const auto& test) {
                           return test.param == relay_mode::collapse     ? "collapse"
                                  : test.param == relay_mode::per_viewer ? "per_viewer"
                                                                         : "automatic";
                         });

TEST_F(proxy_test, automatic_asks_a_stock_origin_for_each_viewer) {
  auto& o = origin(false);
  publisher(0, "a");
  auto& p = player(0, "a");
  auto& q = player(0, "a");
  run_until(loop, [&] { return p.started && q.started; });
  EXPECT_EQ(o.sessions(), 3u);
}

TEST_F(proxy_test, two_origins_share_the_streams) {
  auto& a = origin();
  auto& b = origin();
  const auto sent = made_up_stream(3);
  for (unsigned i = 0; i < 8; ++i) {
    const auto name = "stream" + std::to_string(i);
    auto& pub = publisher(i % 2, name);
    auto& p = player(i / 2 % 2, name);
    run_until(loop, [&] { return p.started; });
    publish(pub, sent, {&p});
    ASSERT_TRUE(await(p, sent.size()));
    EXPECT_EQ(p.got, sent);
  }
  EXPECT_EQ(a.published() + b.published(), 8u);
  EXPECT_GE(a.published(), 2u);
  EXPECT_GE(b.published(), 2u);
}

TEST_F(proxy_test, a_publisher_is_held_back_while_his_origin_does_not_read) {
  relays.backlog_max = 256 * 1024;
  // Only the publisher's way is tight: the player may take his time.
  relays.shared_hub.bytes_max = 64u << 20;
  auto& o = add_origin({});
  o.stream_limits.hub.bytes_max = 64u << 20;
  o.start();
  introduce(o, true);
  auto& pub = publisher(0, "a");
  auto& p = player(1, "a");
  run_until(loop, [&] { return p.started; });
  const auto sent = made_up_stream(30, 100'000);  // 33 MB
  pub.publish(packets(sent.begin(), sent.begin() + 4));
  ASSERT_TRUE(await(p, 4));
  auto thaw = o.freeze();
  for (size_t i = 4; i < sent.size(); ++i) pub.publish(sent[i]);
  // What the sockets and the backlog take has gone when nothing moves any more.
  size_t before = 0;
  int still = 0;
  run_until(loop, [&] {
    still = pub.unsent() == before ? still + 1 : 0;
    before = pub.unsent();
    return still == 100;
  });
  EXPECT_GT(pub.unsent(), 1'000'000u) << "the proxy has read everything";
  thaw->set_value();
  ASSERT_TRUE(await(p, sent.size()));
  EXPECT_EQ(p.got, sent) << "nothing is lost by it";
}

TEST_P(relaying, a_viewer_that_was_slow_goes_on_at_a_keyframe) {
  auto& o = add_origin({});
  o.stream_limits.hub.bytes_max = 2u << 20;
  o.start();
  introduce(o, true);
  relays.shared_hub.bytes_max = 2u << 20;
  const auto name = stream_with_home(0);
  auto& pub = publisher(0, name);
  auto& quick = player(1, name);
  auto& slow = player(1, name);
  run_until(loop, [&] { return quick.started && slow.started; });
  const auto sent = made_up_stream(40, 50'000);  // 22 MB
  pub.publish(packets(sent.begin(), sent.begin() + 4));
  ASSERT_TRUE(await(quick, 4) && await(slow, 4));
  slow.stop_reading();
  size_t published = 4;
  ASSERT_TRUE(run_until(loop, [&] {
    if (published < sent.size() && quick.got.size() + 8 > published) pub.publish(sent[published++]);
    return quick.got.size() == sent.size();
  }));
  EXPECT_EQ(quick.got, sent);
  slow.go_on_reading();
  ASSERT_TRUE(run_until(loop, [&] { return slow.got.back() == sent.back(); }));
  EXPECT_LT(slow.got.size(), sent.size());
  // Runs of the stream, each from a keyframe on.
  auto at = sent.begin();
  for (const auto& m : slow.got) {
    if (at != sent.end() && m == *at) {
      ++at;
      continue;
    }
    const auto resumed = std::find(at, sent.end(), m);
    ASSERT_NE(resumed, sent.end());
    EXPECT_EQ(m.body[0], 0x17);
    at = resumed + 1;
  }
}

TEST_F(proxy_test, the_origin_learns_session_and_address) {
  auto& o = origin();
  publisher(0, "a");
  const auto here = log.of("session_start");
  const auto there = o.log.of("session_start");
  ASSERT_EQ(here.size(), 1u);
  ASSERT_EQ(there.size(), 1u);
  EXPECT_EQ(there[0].field("session"), here[0].field("session"));
  EXPECT_EQ(there[0].field("peer"), "127.0.0.1");
  EXPECT_EQ(here[0].field("origin"), "origin1-s-1");
}

}  // namespace
}  // namespace sluice::relay::test
