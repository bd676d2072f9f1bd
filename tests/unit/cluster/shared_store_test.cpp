// A store that proxies share is away, and comes back with less than it had.

#include <gtest/gtest.h>

#include "unit/cluster/several_proxies.hpp"

namespace sluice::cluster {
namespace {

// -- the store is away

TEST(shared_store, without_a_store_claims_are_decided_alike_and_at_once) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2, o3}) c.add(reg);
  c.cut_all();
  for (int i = 0; i < 30; ++i) {
    // The load that they see differs: one has all publishers so far.
    const assignment a = c.published(0, numbered(i));
    EXPECT_EQ(c.granted(1, numbered(i)).origin_id, a.origin_id);
    EXPECT_NE(a.epoch, epoch{});
  }
  EXPECT_TRUE(c.at(0).written.empty());
  EXPECT_EQ(c.at(0).reads + c.at(1).reads, 0);
  EXPECT_EQ(c.at(0).events.at("store_unreachable"), 1);
  EXPECT_FALSE(c.at(0).events.contains("store_failed"));
}

TEST(shared_store, a_step_under_way_when_the_store_goes_is_decided_here) {
  cluster_harness c;
  c.add(o1);
  c.hold_store = true;
  c.claim(1, key_a);
  EXPECT_EQ(c.claim_error(1), "unanswered");
  c->store_state(false, false, c.now());
  c.drain();
  ASSERT_EQ(c.claim_error(1), "granted");
  const epoch decided = c.claims.at(1)->epoch;
  c.release_store();  // the late answer is no second one
  c.start(key_a, decided);
  EXPECT_EQ(c->snapshot().streams, 1u);
  EXPECT_EQ(c.granted(key_a).epoch, decided);
}

TEST(shared_store, a_failed_step_decides_its_own_claim_and_is_one_line) {
  several_proxies c(1);
  c.add(o1);
  c.at(0).cut = true;  // and nobody has said so
  for (int i = 0; i < 20; ++i) c.published(0, numbered(i));
  EXPECT_EQ(c.at(0).events.at("store_failed"), 1);
  c.pass(1s);
  c.at(0).cut = false;
  c.pass(5s);  // what it has never confirmed is tried again soon
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(c.stored(numbered(i))) << i;
  c.pass(60s);
  EXPECT_EQ(c.at(0).events.at("store_works"), 1);
}

TEST(shared_store, what_was_decided_alone_is_written_and_agreed_on_when_the_store_is_back) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2}) c.add(reg);
  c.cut_all();
  const assignment a = c.published(0, key_a);
  c.pass(600s);
  c.add(o1);
  c.add(o2);
  EXPECT_FALSE(c.stored(key_a));
  const uint64_t waits = c.find(1, key_a);
  EXPECT_FALSE(c.at(1).finds.contains(waits));
  c.mend_all();
  c.pass(2s);
  ASSERT_TRUE(c.stored(key_a));
  EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
  EXPECT_TRUE(c.stored(key_a)->published);
  ASSERT_TRUE(c.at(1).finds.contains(waits));
  EXPECT_EQ(c.at(1).finds.at(waits)->origin_id, a.origin_id);
}

TEST(shared_store, of_two_who_decided_alone_the_higher_epoch_stays) {
  several_proxies c(2);
  c.add(stock1);
  c.add(stock2);
  c.cut_all();
  const assignment a = c.published(0, key_a);
  c.pass(1s);
  // The encoder comes back through the other proxy, which cannot reach that origin.
  const assignment b = c.published(1, key_a, {.session = "b", .exclude = {a.origin_id}});
  ASSERT_NE(a.origin_id, b.origin_id);
  ASSERT_GT(b.epoch, a.epoch);
  c.mend_all();
  c.pass(2s);
  EXPECT_EQ(c.stored(key_a)->epoch, b.epoch);
  EXPECT_EQ(c.core(0).snapshot().streams, 0u);
  EXPECT_EQ(c.core(1).snapshot().streams, 1u);
  EXPECT_EQ(c.found(0, key_a), b.origin_id);
}

TEST(shared_store, without_a_store_players_go_where_origins_say_it_is_and_else_wait) {
  several_proxies c(2);
  c.add(o1);
  c.add(o2);
  c.cut_all();
  const assignment a = c.published(0, key_a);
  const uint64_t waits = c.find(1, key_a);
  EXPECT_FALSE(c.at(1).finds.contains(waits)) << "a Sluice origin would have told";
  c.add(holding(a.server_id == "o1" ? o1 : o2, {{key_a.str(), a.epoch, true}}));
  ASSERT_TRUE(c.at(1).finds.contains(waits));
  EXPECT_EQ(c.at(1).finds.at(waits)->origin_id, a.origin_id);
  EXPECT_TRUE(c.at(1).finds.at(waits)->owned);
}

TEST(shared_store, without_a_store_players_try_the_first_candidate_if_that_cannot_tell) {
  several_proxies c(2);
  c.add(stock1);
  c.add(stock2);
  c.cut_all();
  const assignment a = c.published(0, key_a);
  const uint64_t id = c.find(1, key_a);
  ASSERT_TRUE(c.at(1).finds.contains(id));
  EXPECT_EQ(c.at(1).finds.at(id)->origin_id, a.origin_id);
  EXPECT_FALSE(c.at(1).finds.at(id)->owned);
  // When there is a store again, who guessed wrong learns it.
  c.mend_all();
  c.pass(3s);
  ASSERT_FALSE(c.at(1).changes.empty());
  EXPECT_EQ(c.at(1).changes.back().to.epoch, a.epoch);
}

TEST(shared_store, without_a_store_players_try_the_first_candidate_if_that_tells_others) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2}) c.beat(reg, 0, {1});
  c.cut_all();
  for (int i = 0; i < 10; ++i) {
    const assignment a = c.published(0, numbered(i));
    EXPECT_EQ(c.found(1, numbered(i)), a.origin_id) << "placed by the same rule";
  }
  const assignment b = c.published(1, key_a);
  EXPECT_EQ(c.found(0, key_a), "") << "at proxy 0 both would have told";
  c.beat(holding(b.server_id == "o1" ? o1 : o2, {{key_a.str(), b.epoch, true}}), 0, {});
  EXPECT_EQ(c.found(0, key_a), b.origin_id);
}

TEST(shared_store, who_was_sent_after_a_guess_goes_to_the_owner_that_others_were_told_before) {
  several_proxies c(2);
  c.beat(holding(o1, {{key_a.str(), epoch{}, true}}), 0, {1});
  c.beat(o2, 0, {1});
  c.pass(100ms);
  ASSERT_EQ(c.found(1, key_a), "o1-s1-1");
  c.cut_all();
  c.kill_origin("o1-s1-1");
  c.pass(3s);
  ASSERT_EQ(c.found(1, key_a), "o2-s1-1") << "the only one left";
  c.at(1).changes.clear();
  c.beat(holding(o1, {{key_a.str(), epoch{}, true}}), 1, {});
  c.pass(3s);
  ASSERT_FALSE(c.at(1).changes.empty());
  EXPECT_EQ(c.at(1).changes.back().to.origin_id, "o1-s1-1");
}

TEST(shared_store, a_publisher_who_returns_without_a_store_finds_his_origin) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2, o3}) c.add(reg);
  const assignment a = c.published(0, key_a);
  const origin_registration owner = a.server_id == "o1" ? o1 : a.server_id == "o2" ? o2 : o3;
  c.add(holding(owner, {{key_a.str(), a.epoch, true}}));
  c.pass(2s);
  c.cut_all();
  EXPECT_EQ(c.granted(0, key_a, {.session = "again"}).epoch, a.epoch);
  const assignment b = c.granted(1, key_a);
  EXPECT_EQ(b.origin_id, a.origin_id);
  EXPECT_GE(b.epoch, a.epoch);
}

TEST(shared_store, a_fail_over_needs_no_store) {
  several_proxies c(1);
  for (const auto& reg : {o1, o2}) c.add(reg);
  const assignment a = c.published(0, key_a);
  c.pass(2s);
  c.cut_all();
  c.kill_origin(a.origin_id);
  c.end(0, key_a, a.epoch);
  const assignment b = c.granted(0, key_a, {.session = "s0", .fail_over = true});
  EXPECT_NE(b.origin_id, a.origin_id);
  EXPECT_GT(b.epoch, a.epoch);
  c.start(0, key_a, b.epoch);
  c.mend_all();
  c.pass(2s);
  EXPECT_EQ(c.stored(key_a)->epoch, b.epoch);
}

TEST(shared_store, a_claim_decided_here_and_not_used_leaves_nothing) {
  several_proxies c(1);
  c.add(o1);
  c.cut_all();
  c.granted(0, key_a);
  c.pass(30s);
  EXPECT_TRUE(c.core(0).streams().empty());
  c.mend_all();
  c.pass(3s);
  EXPECT_FALSE(c.stored(key_a));
}

/// The store is back before the publish has started, and knows nothing of it.
TEST(shared_store, what_was_decided_here_outlives_the_return_of_the_store) {
  several_proxies c(1);
  for (const auto& reg : {o1, o2, o3}) c.add(reg);
  c.cut_all();
  const assignment a = c.granted(0, key_a);
  c.mend_all();
  EXPECT_EQ(c.found(0, key_a), a.origin_id);
  c.pass(3s);
  EXPECT_EQ(c.granted(0, key_a, {.session = "second"}).epoch, a.epoch);
  c.start(0, key_a, a.epoch);
  EXPECT_EQ(c.core(0).snapshot().streams, 1u);
  c.pass(1s);
  EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
}

/// It forgets a claim before the publish has started, and somebody asks.
TEST(shared_store, a_claim_outlives_the_loss_of_its_record) {
  several_proxies c(1);
  for (const auto& reg : {o1, o2, o3}) c.add(reg);
  const assignment a = c.granted(0, key_a);
  c.flush_store();
  c.pass(2s);
  (void)c.found(0, key_a);
  c.start(0, key_a, a.epoch);
  EXPECT_EQ(c.core(0).snapshot().streams, 1u);
  c.pass(1s);
  ASSERT_TRUE(c.stored(key_a));
  EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
}

TEST(shared_store, a_drain_goes_on_without_a_store) {
  cluster_harness c;
  c.add(o1);
  const assignment a = c.published(key_a);
  c.add(o2);
  c.pass(2s);
  c->store_state(false, false, c.now());
  ASSERT_TRUE(c->drain("o1", true, c.now()));
  c.drain();
  ASSERT_EQ(c.moves.size(), 1u);
  c->commit_move(5, key_a, a.epoch, c.moves[0].to, c.now());
  c.drain();
  ASSERT_EQ(c.claim_error(5), "granted");
  EXPECT_EQ(c.granted(key_a).epoch, c.moves[0].to.epoch);
  c->store_state(true, false, c.now());
  const int before = c.store_writes;
  c.pass(1s);
  EXPECT_EQ(c.store_writes - before, 1);
}

// -- the store is back, with less than it had

TEST(shared_store, a_lost_store_is_whole_again_soon_and_not_in_one_instant) {
  coordinator_config config;
  config.stream_ttl = 240s;
  several_proxies c(1, config);
  c.add(o1);
  c.add(o2);
  constexpr int streams = 2000;
  for (int i = 0; i < streams; ++i) c.published(0, numbered(i));
  c.pass(10s);
  c.flush_store();
  c.at(0).written.clear();
  c.store_state(0, true, true);
  const base::time_point began = c.now().now;
  c.pass(2s);
  for (int i = 0; i < streams; ++i) ASSERT_TRUE(c.stored(numbered(i))) << i;
  ASSERT_EQ(c.at(0).written.size(), static_cast<size_t>(streams));
  std::map<int64_t, int> slices;
  for (const auto when : c.at(0).written) ++slices[(when - began) / 100ms];
  for (const auto& [slice, writes] : slices) EXPECT_LE(writes, 500) << slice;
  EXPECT_LE(slices.rbegin()->first, 10);
  EXPECT_GE(slices.size(), 9u);
}

/// Nothing asks about a stream without a fault but its renewals: at most one command in a minute.
TEST(shared_store, a_stable_stream_costs_the_store_little) {
  coordinator_config config;
  config.stream_ttl = 240s;
  several_proxies c(3, config);
  for (const auto& reg : {stock1, stock2}) c.add(reg);
  c.published(0, key_a);
  for (size_t i : {1u, 2u}) EXPECT_NE(c.found(i, key_a), "");
  c.pass(10s);
  const auto commands = [&] {
    size_t all = 0;
    for (size_t i = 0; i < 3; ++i) all += c.at(i).written.size() + static_cast<size_t>(c.at(i).reads);
    return all;
  };
  const size_t before = commands();
  for (int minute = 0; minute < 20; ++minute) {
    c.pass(60s);
    for (const auto& reg : {stock1, stock2}) c.add(reg);
  }
  EXPECT_LE(commands() - before, 20u);
  EXPECT_GE(commands() - before, 15u);
}

TEST(shared_store, renewals_come_as_often_as_configured) {
  coordinator_config config;
  config.stream_ttl = 240s;
  config.renew_interval = 20s;
  several_proxies c(1, config);
  c.add(stock1);
  c.published(0, key_a);
  c.pass(10s);
  const size_t before = c.at(0).written.size();
  c.pass(200s);
  EXPECT_GE(c.at(0).written.size() - before, 10u);
  EXPECT_LE(c.at(0).written.size() - before, 14u);
}

TEST(shared_store, a_cold_store_asks_the_origins_first) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2, o3}) c.add(reg);
  const assignment a = c.published(0, key_a);
  c.pass(1s);
  c.flush_store();
  c.store_state(1, true, true);
  // The owner has streams, and this proxy has not heard which.
  origin_registration owner = a.server_id == "o1" ? o1 : a.server_id == "o2" ? o2 : o3;
  owner.sluice->load.streams = 1;
  c.beat(owner, 1, {});
  c.claim(1, 7, key_a);
  EXPECT_EQ(c.claimed(1, 7), "unanswered");
  c.beat(holding(owner, {{key_a.str(), a.epoch, true}}), 1, {});
  ASSERT_EQ(c.claimed(1, 7), "granted");
  EXPECT_EQ(c.at(1).claims.at(7)->origin_id, a.origin_id);
}

/// What others wrote meanwhile was not announced here.
TEST(shared_store, what_players_were_told_is_read_once_more) {
  several_proxies c(2);
  c.add(stock1);
  c.add(stock2);
  const assignment a = c.published(0, key_a);
  EXPECT_EQ(c.found(1, key_a), a.origin_id);
  c.hold_announcements = true;
  c.store_state(1, false);
  const owner_record next{a.server_id == "o1" ? "o2-s1-1" : "o1-s1-1", {a.epoch.counter + 1, 1}, "proxy-7", 1, true};
  c.write(key_a, next);
  c.store_state(1, true);
  c.pass(3s);
  ASSERT_EQ(c.at(1).changes.size(), 1u);
  EXPECT_EQ(c.at(1).changes[0].to.epoch, next.epoch);
}

}  // namespace
}  // namespace sluice::cluster
