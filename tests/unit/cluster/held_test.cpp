// What Sluice origins say that they hold: where players and publishers go, and who must drop his copy.

#include <gtest/gtest.h>

#include "cluster/core/holders.hpp"
#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

const auto o1 = sluice_at("o1", 1001);
const auto o2 = sluice_at("o2", 1002);
const std::string name_a = key_a.str();

using fences = std::vector<std::pair<std::string, epoch>>;

TEST(held, a_player_of_a_stream_without_a_record_goes_to_its_holder) {
  cluster_harness c;
  c.beat(o1, {});
  c.find(1, key_a);
  EXPECT_EQ(c.find_error(1), "unanswered");
  c.beat(o1, {{name_a, {}, true}}, false);  // somebody publishes there directly
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_EQ(c.finds.at(1)->origin_id, o1.id());
  EXPECT_TRUE(c.finds.at(1)->owned);
  EXPECT_EQ(c.store_writes, 0);
  EXPECT_TRUE(c->streams().front().held);
  c.beat(o1, {{name_a, {}, false}}, false);  // no more
  c.find(2, key_a);
  EXPECT_EQ(c.find_error(2), "unanswered");
}

TEST(held, a_player_of_a_dead_owner_goes_to_a_living_holder) {
  cluster_harness c;
  c.beat(o1, {});
  c.beat(o2, {});
  const assignment a = c.granted(key_a);
  const auto& other = a.origin_id == o1.id() ? o2 : o1;
  c->cancel(1'000'001, c.now());
  c.drain();
  c.kill(a.origin_id);
  c.beat(other, {{name_a, {5, 5}, true}}, false);
  c.find(1, key_a);
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_EQ(c.finds.at(1)->origin_id, other.id());
}

/// Its publisher has left; another one publishes elsewhere, directly.
TEST(held, a_copy_with_a_publisher_beats_an_owner_without) {
  cluster_harness c;
  c.beat(o1, {});
  c.beat(o2, {});
  const assignment a = c.published(key_a);
  const auto& owner = a.origin_id == o1.id() ? o1 : o2;
  const auto& other = a.origin_id == o1.id() ? o2 : o1;
  c.beat(owner, {{name_a, a.epoch, true}}, false);
  c.find(1, key_a);
  EXPECT_EQ(c.finds.at(1)->origin_id, owner.id());
  c->publish_ended(key_a, a.epoch, c.now());
  c.drain();
  c.beat(owner, {{name_a, {}, false}}, false);
  for (int i = 0; i < 3; ++i) {
    c.pass(1s);
    c.beat(owner, {}, false);
    c.beat(other, {}, false);
  }
  EXPECT_TRUE(c.changes.empty());
  EXPECT_EQ(c.beat(other, {{name_a, {}, true}}, false).fenced, fences{});  // nobody is there but he
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, other.id());
  c.find(2, key_a);
  ASSERT_EQ(c.find_error(2), "granted");
  EXPECT_EQ(c.finds.at(2)->origin_id, other.id());
}

TEST(held, a_stale_copy_does_not_draw_players_and_is_fenced) {
  cluster_harness c;
  c.beat(o1, {});
  c.beat(o2, {});
  const assignment a = c.published(key_a);
  const auto& owner = a.origin_id == o1.id() ? o1 : o2;
  const auto& other = a.origin_id == o1.id() ? o2 : o1;
  c.find(1, key_a);
  c.beat(other, {{name_a, {5, 5}, true}}, false);
  EXPECT_TRUE(c.changes.empty());
  // Told until it obeys.
  for (int i = 0; i < 3; ++i) EXPECT_EQ(c.beat(other, {}, false).fenced, (fences{{name_a, a.epoch}}));
  EXPECT_EQ(c.beat(owner, {{name_a, a.epoch, true}}, false).fenced, fences{});
  EXPECT_EQ(c.beat(other, {{name_a, {}, false}}, false).fenced, fences{});
}

/// Its publisher has left, its players wait.
TEST(held, a_stale_copy_without_a_publisher_is_fenced_too) {
  cluster_harness c;
  c.beat(o1, {});
  c.beat(o2, {});
  const assignment a = c.published(key_a);
  const auto& owner = a.origin_id == o1.id() ? o1 : o2;
  const auto& other = a.origin_id == o1.id() ? o2 : o1;
  EXPECT_EQ(c.beat(other, {{name_a, {5, 5}, false}}, false).fenced, (fences{{name_a, a.epoch}}));
  EXPECT_EQ(c.beat(other, {{name_a, {}, false}}, false).fenced, fences{});
  EXPECT_EQ(c.beat(owner, {{name_a, {5, 5}, false}}, false).fenced, fences{});
}

/// The publisher is at another proxy: this one only hears of both copies.
TEST(held, of_two_copies_the_lower_epoch_is_fenced) {
  cluster_harness c;
  c.beat(o1, {{name_a, {5, 1}, true}});
  c.find(1, key_a);
  ASSERT_EQ(c.find_error(1), "granted");
  c.beat(o2, {{name_a, {6, 1}, true}});
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, o2.id());
  EXPECT_EQ(c.changes[0].to.epoch, (epoch{6, 1}));
  EXPECT_EQ(c.beat(o1, {}, false).fenced, (fences{{name_a, {6, 1}}}));
  c.beat(o1, {});
  EXPECT_EQ(c.beat(o1, {}, false).fenced, fences{});
}

TEST(held, the_same_origin_with_a_higher_epoch_is_not_fenced) {
  cluster_harness c;
  c.beat(o1, {{name_a, {5, 1}, true}});
  const assignment a = c.published(key_a);
  EXPECT_EQ(a.origin_id, o1.id());  // the ghost of this publisher may be there
  EXPECT_GT(a.epoch, (epoch{5, 1}));
  EXPECT_EQ(c.beat(o1, {{name_a, {5, 1}, true}}).fenced, fences{});
}

TEST(held, an_overtaken_publish_of_this_proxy_is_told) {
  cluster_harness c;
  c.beat(o1, {});
  c.beat(o2, {});
  const assignment a = c.published(key_a);
  const auto& other = a.origin_id == o1.id() ? o2 : o1;
  c.beat(other, {{name_a, {a.epoch.counter + 1, 1}, true}}, false);
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, other.id());
  EXPECT_EQ(c->snapshot().streams, 0u);
}

TEST(held, epochs_are_above_every_one_that_was_heard_of) {
  cluster_harness c;
  const uint64_t high = c.now().wall_ms + 1'000'000;
  c.beat(o1, {{key_b.str(), {high, 1}, true}, {name_a, {high + 5, 1}, false}});
  EXPECT_GT(c.granted(key_a).epoch.counter, high + 5);
}

TEST(held, what_the_whole_list_omits_is_gone_and_so_is_what_the_dead_held) {
  cluster_harness c;
  c.beat(o1, {{name_a, {5, 1}, true}, {key_b.str(), {5, 2}, true}});
  c.beat(o2, {});
  EXPECT_FALSE(c.beat(o1, {}, false).want_whole);
  c.beat(o1, {{key_b.str(), {5, 2}, true}});
  c.find(1, key_a);
  EXPECT_EQ(c.find_error(1), "unanswered");
  c.kill(o1.id());
  c.find(2, key_b);
  EXPECT_EQ(c.find_error(2), "unanswered");
  c.alive.insert(o1.id());
  EXPECT_TRUE(c.beat(o1, {}, false).want_whole);
}

TEST(held, a_revived_origin_is_fenced_with_its_first_list) {
  cluster_harness c;
  c.beat(o1, {});
  c.beat(o2, {});
  const assignment a = c.published(key_a);
  const auto& owner = a.origin_id == o1.id() ? o1 : o2;
  c.freeze(owner.id());
  c.pass(3s);
  ASSERT_EQ(c.health(owner.id()), origin_health::dead);
  c.fail_over(1, key_a, a.epoch);
  const assignment b = *c.claims.at(1);
  c.start(key_a, b.epoch);
  EXPECT_EQ(c.beat(owner, {{name_a, a.epoch, true}}).fenced, (fences{{name_a, b.epoch}}));
  c.frozen.clear();
  EXPECT_EQ(c.beat(owner, {}, false).fenced, (fences{{name_a, b.epoch}}));
  EXPECT_EQ(c.health(owner.id()), origin_health::alive);
  c.find(2, key_a);
  EXPECT_EQ(c.finds.at(2)->origin_id, b.origin_id);
}

TEST(held, whole_lists_are_wanted_of_sluice_origins_only) {
  cluster_harness c;
  EXPECT_TRUE(c.add(o1)->want_whole);
  EXPECT_FALSE(c.beat(o1, {}).want_whole);
  EXPECT_FALSE(c.add(origin_at("nginx", 1003))->want_whole);
}

/// This proxy has just started, and its store with it: a publisher who comes back finds where his stream is.
TEST(held, a_cold_store_asks_the_origins_first) {
  for (const bool tells : {true, false}) {
    cluster_harness c;
    auto busy = o1;
    busy.sluice->load.streams = 1;
    c.add(busy);
    c.beat(o2, {});
    const stream_key key{"v", "live", "x"};
    c.claim(1, key);
    c.claim(2, key, "other");
    EXPECT_EQ(c.claim_error(1), "unanswered");
    c.pass(1s);
    if (tells) {
      c.beat(o1, {{key.str(), {5, 5}, true}});
      ASSERT_EQ(c.claim_error(1), "granted");
      EXPECT_EQ(c.claims.at(1)->origin_id, o1.id());
      EXPECT_EQ(c.claims.at(2)->epoch, c.claims.at(1)->epoch);
    } else {
      c.pass(600ms);  // half of claim_wait
      EXPECT_EQ(c.claim_error(1), "granted");
    }
    // Later nobody waits.
    c.pass(3s);
    c.add(busy);
    c.granted(key_b);
  }
}

/// This proxy, or the origin, has just started: the record of a shared store is right, and its origin not registered.
TEST(held, a_record_of_an_origin_never_heard_of_is_not_replaced_at_once) {
  for (const bool comes : {true, false}) {
    cluster_harness c;
    c.add(o1);
    c.pass(10s);
    c.write(key_a, {o2.id(), {5, 5}, "proxy-2", 0});
    c.claim(1, key_a);
    c.find(2, key_a);
    c.pass(1400ms);
    EXPECT_EQ(c.claim_error(1), "unanswered");
    EXPECT_EQ(c.find_error(2), "unanswered");
    if (comes) c.add(o2);
    c.pass(100ms);  // half of claim_wait
    ASSERT_EQ(c.claim_error(1), "granted");
    EXPECT_EQ(c.claims.at(1)->origin_id, comes ? o2.id() : o1.id());
    EXPECT_EQ(c.claims.at(1)->epoch == (epoch{5, 5}), comes);
    EXPECT_EQ(c.finds.at(2)->epoch, c.claims.at(1)->epoch);
  }
}

TEST(held, a_record_of_an_incarnation_before_is_replaced_at_once) {
  cluster_harness c;
  c.add(sluice_at("o2", 1002, "new"));
  c.write(key_a, {o2.id(), {5, 5}, "proxy-2", 0});
  EXPECT_EQ(c.granted(key_a).origin_id, "o2-new-1");
}

/// Two publish directly, so neither is the other's better. Who is watched leaves.
TEST(held, who_watches_a_publisher_that_leaves_is_sent_to_the_other) {
  for (const bool dies : {true, false}) {
    cluster_harness c;
    c.beat(o1, {{name_a, {}, true}});
    c.beat(o2, {{name_a, {}, true}});
    c.find(1, key_a);
    const auto& left = c.finds.at(1)->origin_id == o1.id() ? o1 : o2;
    const auto& other = c.finds.at(1)->origin_id == o1.id() ? o2 : o1;
    if (dies) {
      c.kill(left.id());
    } else {
      c.beat(left, {{name_a, {}, false}}, false);
    }
    ASSERT_EQ(c.changes.size(), 1u);
    EXPECT_EQ(c.changes[0].to.origin_id, other.id());
  }
}

/// Its time is over just when nobody publishes it; those who watch it wait for the next publisher all the same.
TEST(held, what_is_watched_is_remembered_between_two_publishers) {
  for (const bool dies : {true, false}) {
    cluster_harness c;
    c.beat(o1, {{name_a, {}, true}});
    c.beat(o2, {});
    c.find(1, key_a);
    c.pass(59s);
    if (dies) {
      c.kill(o1.id());
    } else {
      c.beat(o1, {}, true);
    }
    c.pass(20s);
    EXPECT_TRUE(c.changes.empty());
    c.beat(o2, {{name_a, {}, true}}, false);
    ASSERT_EQ(c.changes.size(), 1u);
    EXPECT_EQ(c.changes[0].to.origin_id, o2.id());
  }
}

/// One player was sent to a holder while the owner was out of sight; the next one is sent to the owner.
TEST(held, who_was_sent_elsewhere_before_is_told_of_what_others_are_told) {
  cluster_harness c;
  c.beat(o1, {});
  c.beat(o2, {{name_a, {5, 5}, true}});
  c.freeze(o1.id());
  c.pass(3s);
  c.write(key_a, {o1.id(), {9, 9}, "proxy-2", 0});
  c.find(1, key_a);
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_EQ(c.finds.at(1)->origin_id, o2.id());
  c.frozen.clear();
  c.pass(3s);
  EXPECT_EQ(c.health(o1.id()), origin_health::alive);
  c.find(2, key_a);
  EXPECT_EQ(c.finds.at(2)->origin_id, o1.id());
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, o1.id());
}

TEST(held, relays_without_an_owner_are_told_when_there_is_one) {
  coordinator_config config;
  config.play_unowned = play_unowned::relay;
  cluster_harness c(config);
  c.beat(o1, {});
  c.beat(o2, {});
  c.find(1, key_a);
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_FALSE(c.finds.at(1)->owned);
  const assignment a = c.published(key_a);
  ASSERT_FALSE(c.changes.empty());
  EXPECT_EQ(c.changes.back().to.epoch, a.epoch);
}

/// Another proxy's publisher came to a new owner and left at once, the one before goes on where he was.
TEST(held, an_owner_who_stays_without_a_publisher_is_noticed_in_time) {
  cluster_harness c;
  c.beat(o1, {{name_a, {5, 1}, true}});
  c.beat(o2, {});
  c.find(1, key_a);
  c.pass(900ms);
  c.beat(o2, {{name_a, {6, 1}, true}}, false);
  ASSERT_EQ(c.changes.size(), 1u);
  c.beat(o2, {{name_a, {}, false}}, false);
  c.beat(o1, {});
  c.beat(o1, {{name_a, {5, 1}, true}}, false);  // it was not told yet
  c.changes.clear();
  c.pass(3s);
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, o1.id());
}

/// A stream that is watched is remembered for as long as an origin holds it.
TEST(held, a_change_is_told_long_after_the_find) {
  cluster_harness c;
  c.beat(o1, {{name_a, {5, 1}, true}});
  c.beat(o2, {});
  c.find(1, key_a);
  for (int i = 0; i < 300; ++i) {
    c.pass(1s);
    c.beat(o1, {}, false);
    c.beat(o2, {}, false);
  }
  c.beat(o2, {{name_a, {6, 1}, true}}, false);
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, o2.id());
  c.beat(o1, {});
  c.beat(o2, {});
  c.pass(200s);
  c.beat(o2, {{name_a, {7, 1}, true}}, false);
  EXPECT_EQ(c.changes.size(), 1u);  // forgotten
}

TEST(holders, are_bounded) {
  holders h(10);
  std::vector<held_stream> many;
  for (int i = 0; i < 20; ++i) many.push_back({"v/live/" + std::to_string(i), {1, 1}, true});
  h.update("o1", {many, true});
  EXPECT_EQ(h.size(), 10u);
  EXPECT_TRUE(h.has_whole("o1"));
  h.update("o2", {many, true});
  EXPECT_EQ(h.size(), 10u);
  h.drop("o1");
  EXPECT_EQ(h.size(), 0u);
  EXPECT_FALSE(h.has_whole("o1"));
  h.update("o2", {many, false});
  EXPECT_EQ(h.size(), 10u);
  h.update("o2", {{}, true});
  EXPECT_EQ(h.size(), 0u);
}

/// Heartbeats that came by several ways: the newest counts, and a gap is noticed.
TEST(holders, put_numbered_lists_in_order) {
  const held_stream a{"v/live/a", {1, 1}, true}, b{"v/live/b", {2, 1}, true};
  const stream_key key_of_a{"v", "live", "a"}, key_of_b{"v", "live", "b"};
  holders h(10);
  h.update("o1", {{a}, true, 3, 0});
  EXPECT_TRUE(h.update("o1", {{}, true, 2, 0}).ended.empty());  // late: a has come since
  EXPECT_TRUE(h.holds("o1", key_of_a));
  EXPECT_TRUE(h.update("o1", {{a}, true, 3, 0}).held.empty());  // twice
  h.update("o1", {{b}, false, 4, 3});
  h.update("o1", {{{"v/live/a", {}, false}, b}, false, 5, 3});  // another way, where 4 is not known
  EXPECT_FALSE(h.holds("o1", key_of_a));
  EXPECT_TRUE(h.holds("o1", key_of_b));
  EXPECT_TRUE(h.has_whole("o1"));
  h.update("o1", {{a}, false, 9, 7});  // 6 … 7 have not come
  EXPECT_TRUE(h.holds("o1", key_of_a));
  EXPECT_FALSE(h.has_whole("o1"));
  h.update("o1", {{a}, true, 10, 0});
  EXPECT_TRUE(h.has_whole("o1"));
  EXPECT_FALSE(h.holds("o1", key_of_b));
}

}  // namespace
}  // namespace sluice::cluster
