// Proxies that share a store: what they do while it is away, when it comes back with less than it had, and what they
// make of each other's writes.

#include "unit/cluster/several_proxies.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "cluster/core/fence.hpp"

namespace sluice::cluster {
namespace {

const origin_registration o1 = sluice_at("o1", 1001), o2 = sluice_at("o2", 1002), o3 = sluice_at("o3", 1003);
const origin_registration stock1 = origin_at("o1", 1001), stock2 = origin_at("o2", 1002);

stream_key numbered(int i) { return {"__defaultVhost__", "live", "n" + std::to_string(i)}; }

origin_registration holding(origin_registration reg, std::vector<held_stream> streams) {
  reg.sluice->load.streams = static_cast<uint32_t>(streams.size());
  reg.sluice->streams = std::move(streams);
  reg.sluice->whole = true;
  return reg;
}

// -- the store is away

TEST(several_proxies, without_a_store_claims_are_decided_alike_and_at_once) {
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

TEST(several_proxies, a_step_under_way_when_the_store_goes_is_decided_here) {
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

TEST(several_proxies, a_failed_step_decides_its_own_claim_and_is_one_line) {
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

TEST(several_proxies, what_was_decided_alone_is_written_and_agreed_on_when_the_store_is_back) {
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

TEST(several_proxies, of_two_who_decided_alone_the_higher_epoch_stays) {
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

TEST(several_proxies, without_a_store_players_go_where_origins_say_it_is_and_else_wait) {
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

TEST(several_proxies, without_a_store_players_try_the_first_candidate_if_that_cannot_tell) {
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

TEST(several_proxies, a_publisher_who_returns_without_a_store_finds_his_origin) {
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

TEST(several_proxies, a_fail_over_needs_no_store) {
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

TEST(several_proxies, a_claim_decided_here_and_not_used_leaves_nothing) {
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

TEST(several_proxies, a_drain_goes_on_without_a_store) {
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

TEST(several_proxies, a_lost_store_is_whole_again_soon_and_not_in_one_instant) {
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
TEST(several_proxies, a_stable_stream_costs_the_store_little) {
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

TEST(several_proxies, renewals_come_as_often_as_configured) {
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

TEST(several_proxies, a_cold_store_asks_the_origins_first) {
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
TEST(several_proxies, what_players_were_told_is_read_once_more) {
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

// -- what others write

TEST(several_proxies, an_announced_owner_answers_and_moves_whom_it_concerns) {
  several_proxies c(3);
  c.add(o1);
  c.add(o2);
  const uint64_t waits = c.find(1, key_a);
  const assignment a = c.published(0, key_a);
  ASSERT_TRUE(c.at(1).finds.contains(waits));
  EXPECT_EQ(c.at(1).finds.at(waits)->epoch, a.epoch);
  EXPECT_TRUE(c.core(2).streams().empty()) << "nobody asks for it there";
  // Its publisher goes on elsewhere: who was told the old owner hears of the new one at once.
  c.end(0, key_a, a.epoch);
  const assignment b = c.granted(0, key_a, {.session = "s0", .exclude = {a.origin_id}, .fail_over = true});
  ASSERT_NE(a.origin_id, b.origin_id);
  ASSERT_EQ(c.at(1).changes.size(), 1u);
  EXPECT_EQ(c.at(1).changes[0].to.epoch, b.epoch);
  EXPECT_EQ(c.at(1).reads, 1);
}

/// Who watches for hours at an origin that does not list its streams hears of the next owner, too.
TEST(several_proxies, who_still_watches_is_told) {
  for (const bool told : {true, false}) {
    several_proxies c(2);
    c.add(stock1);
    c.add(stock2);
    const assignment a = c.published(0, key_a);
    EXPECT_EQ(c.found(1, key_a), a.origin_id);
    const int before = c.at(1).reads;
    for (int i = 0; i < 10; ++i) {
      c.pass(30s);
      c.add(stock1);
      c.add(stock2);
      if (told) c.core(1).watched(key_a, c.now());
    }
    EXPECT_EQ(c.at(1).reads, before);
    const owner_record next{"o9-s1-1", {a.epoch.counter + 1, 1}, "proxy-7", 1, true};
    c.add(origin_at("o9", 1009));
    c.announce(1, key_a, next);
    EXPECT_EQ(c.at(1).changes.size(), told ? 1u : 0u);
  }
}

TEST(several_proxies, announcements_may_be_late_and_doubled) {
  several_proxies c(2);
  c.add(o1);
  c.add(o2);
  const owner_record older{"o1-s1-1", {5, 1}, "proxy-7", 1}, newer{"o2-s1-1", {6, 1}, "proxy-7", 1};
  c.write(key_a, older);
  EXPECT_EQ(c.found(0, key_a), "o1-s1-1");
  for (const auto& owner : {newer, newer, older, newer, older}) c.announce(0, key_a, owner);
  ASSERT_EQ(c.at(0).changes.size(), 1u);
  EXPECT_EQ(c.at(0).changes[0].to.origin_id, "o2-s1-1");
  EXPECT_EQ(c.found(0, key_a), "o2-s1-1");
}

/// The store was asked before the owner was announced, and answers with the one before.
TEST(several_proxies, an_answer_older_than_an_announcement_is_not_believed) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  c.add(origin_at("o2", 1002));
  c.write(key_a, {"o1-s1-1", {5, 1}, "proxy-7", 1});
  c.hold_store = true;
  c.find(1, key_a);
  c->announced(key_a, {"o2-s1-1", {6, 1}, "proxy-7", 1}, c.now());
  c.drain();
  ASSERT_EQ(c.find_error(1), "granted");  // no need to wait for the store
  EXPECT_EQ(c.finds.at(1)->origin_id, "o2-s1-1");
  c.release_store();
  c.hold_store = false;
  c.find(2, key_a);
  EXPECT_EQ(c.finds.at(2)->origin_id, "o2-s1-1");
  EXPECT_TRUE(c.changes.empty());
}

TEST(several_proxies, a_lost_announcement_is_made_up_for_when_the_feed_fails) {
  several_proxies c(2);
  c.add(stock1);
  c.add(stock2);
  c.hold_announcements = true;
  const assignment a = c.published(0, key_a);
  EXPECT_EQ(c.found(1, key_a), a.origin_id);
  c.pass(2s);
  c.end(0, key_a, a.epoch);
  const assignment b = c.published(0, key_a, {.session = "s0", .exclude = {a.origin_id}, .fail_over = true});
  EXPECT_TRUE(c.at(1).changes.empty());
  EXPECT_EQ(c.found(1, key_a), b.origin_id);
  EXPECT_EQ(c.at(1).changes.size(), 1u) << "and those who have not noticed yet";
}

TEST(several_proxies, a_publisher_loses_his_stream_to_one_who_publishes_elsewhere) {
  several_proxies c(1);
  c.add(stock1);
  c.add(stock2);
  const assignment a = c.published(0, key_a);
  owner_record other{a.server_id == "o1" ? "o2-s1-1" : "o1-s1-1", {a.epoch.counter + 5, 1}, "proxy-7", 1, true};
  c.write(key_a, other);
  c.announce(0, key_a, other);
  EXPECT_EQ(c.core(0).snapshot().streams, 0u);
  EXPECT_EQ(c.at(0).events.at("stream_lost"), 1);
  ASSERT_EQ(c.at(0).changes.size(), 1u);
  EXPECT_EQ(c.at(0).changes[0].to.epoch, other.epoch);
}

TEST(several_proxies, a_publisher_does_not_lose_his_stream_to_a_claim_that_comes_to_nothing) {
  several_proxies c(1);
  c.add(stock1);
  c.add(stock2);
  const assignment a = c.published(0, key_a);
  const owner_record other{a.server_id == "o1" ? "o2-s1-1" : "o1-s1-1", {a.epoch.counter + 5, 1}, "proxy-7", 1};
  c.announce(0, key_a, other);  // and was dropped from the store meanwhile
  c.pass(3s);
  EXPECT_EQ(c.core(0).snapshot().streams, 1u);
  EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
  // One that stands is the owner when its publisher had time to come.
  c.write(key_a, other);
  c.announce(0, key_a, other);
  EXPECT_EQ(c.core(0).snapshot().streams, 1u);
  c.pass(3s);
  EXPECT_EQ(c.core(0).snapshot().streams, 0u);
}

// -- origins that this proxy hears of by others

TEST(several_proxies, whoever_gets_the_heartbeat_fences_what_another_proxy_has_elsewhere) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2}) c.add(reg);
  // An old copy at o1; the stream is published through proxy 0 at o2. o1 then reaches only proxy 1.
  c.beat(holding(o1, {{key_a.str(), {5, 1}, true}}), 1, {});
  c.beat(holding(o2, {{key_a.str(), {9, 1}, true}}), 0, {1});
  const auto reply = c.beat(o1, 1, {0});
  ASSERT_EQ(reply.fenced.size(), 1u);
  EXPECT_EQ(reply.fenced[0], (std::pair(key_a.str(), epoch{9, 1})));
  EXPECT_FALSE(reply.want_whole);
}

TEST(several_proxies, a_gap_in_what_is_passed_on_is_noticed) {
  several_proxies c(2);
  origin_registration reg = holding(o1, {{key_a.str(), {5, 1}, true}});
  reg.sluice->beat = 1;
  c.beat(reg, 0, {1});
  reg = o1;
  reg.sluice->beat = 2;
  reg.sluice->since = 1;
  EXPECT_FALSE(c.beat(reg, 0, {}).want_whole);  // lost on the way to proxy 1
  reg.sluice->beat = 3;
  reg.sluice->since = 2;
  EXPECT_TRUE(c.beat(reg, 1, {0}).want_whole);
}

TEST(several_proxies, an_origin_whose_heartbeats_are_passed_on_with_loss_is_not_suspected) {
  for (const bool is_sluice : {true, false}) {
    several_proxies c(2);
    const origin_registration reg = is_sluice ? o1 : stock1;
    c.beat(reg, 0, {1});
    for (int i = 0; i < 120; ++i) {
      c.pass(1s);
      c.beat(reg, 0, i % 3 == 0 ? std::vector<size_t>{} : std::vector<size_t>{1});
      ASSERT_EQ(c.core(1).snapshot().origins.at(0).health, origin_health::alive) << i;
    }
    EXPECT_FALSE(c.at(1).events.contains("origin_suspect"));
  }
}

TEST(several_proxies, origins_that_answer_do_not_expire_while_the_store_is_away) {
  several_proxies c(2);
  c.beat(stock1, 0, {1});
  c.beat(o2, 0, {1});
  c.cut_all();
  for (int i = 0; i < 60; ++i) {
    c.pass(10s);
    c.beat(stock1, 0, {});
    c.beat(o2, 0, {});
  }
  EXPECT_TRUE(c.knows(1, stock1.id()));
  EXPECT_NE(c.granted(1, key_a).origin_id, "");
  c.mend_all();
  c.pass(200s);  // time to hear of it by the others
  EXPECT_TRUE(c.knows(1, stock1.id()));
  EXPECT_TRUE(c.knows(1, o2.id()));
  c.pass(200s);
  EXPECT_FALSE(c.knows(1, stock1.id()));
  EXPECT_FALSE(c.knows(1, o2.id()));
}

// -- owners that another program chose

TEST(several_proxies, an_adopted_owner_is_kept_while_it_lives) {
  several_proxies c(2);
  c.add(stock1);
  c.add(stock2);
  for (const auto& reg : {stock1, stock2}) {
    const stream_key key{"v", "live", reg.server};
    c.adopted[key] = reg.id();
    const uint64_t id = c.find(1, key);
    ASSERT_TRUE(c.at(1).finds.contains(id));
    EXPECT_EQ(c.at(1).finds.at(id)->origin_id, reg.id());
    EXPECT_TRUE(c.at(1).finds.at(id)->owned);
    EXPECT_EQ(c.at(1).finds.at(id)->epoch, epoch{});
    const assignment a = c.published(0, key);
    EXPECT_EQ(a.origin_id, reg.id());
    EXPECT_GT(a.epoch, epoch{});
    EXPECT_EQ(c.stored(key)->origin_id, reg.id());
    for (const auto& o : c.core(0).snapshot().origins) EXPECT_LE(o.streams, 1u);
    EXPECT_EQ(c.at(1).changes.back().to.epoch, a.epoch);
  }
  for (const auto& o : c.core(0).snapshot().origins) EXPECT_EQ(o.streams, 1u) << o.id;
}

TEST(several_proxies, an_adopted_owner_that_is_dead_is_replaced) {
  several_proxies c(1);
  c.add(stock1);
  c.add(stock2);
  c.kill_origin(stock1.id());
  c.adopted[key_a] = stock1.id();
  const assignment a = c.granted(0, key_a);
  EXPECT_EQ(a.origin_id, stock2.id());
  EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
}

TEST(several_proxies, players_follow_what_another_program_chooses_next) {
  several_proxies c(1);
  c.add(stock1);
  c.add(stock2);
  c.adopted[key_a] = stock1.id();
  EXPECT_EQ(c.found(0, key_a), stock1.id());
  c.adopted[key_a] = stock2.id();
  c.pass(2s);
  EXPECT_EQ(c.found(0, key_a), stock2.id());
  EXPECT_EQ(c.at(0).changes.size(), 1u);
}

/// What another program has chosen has no epoch; a publisher needs one.
TEST(several_proxies, an_adopted_owner_gets_an_epoch_without_a_store) {
  several_proxies c(1);
  c.add(stock1);
  c.add(stock2);
  c.adopted[key_a] = stock2.id();
  EXPECT_EQ(c.found(0, key_a), stock2.id());
  c.cut_all();
  const assignment a = c.granted(0, key_a);
  EXPECT_EQ(a.origin_id, stock2.id());
  EXPECT_GT(a.epoch, epoch{});
}

TEST(several_proxies, the_store_knows_who_is_published) {
  several_proxies c(2);
  c.add(o1);
  const assignment a = c.granted(0, key_a);
  EXPECT_FALSE(c.stored(key_a)->published);
  c.start(0, key_a, a.epoch);
  c.pass(1s);
  EXPECT_TRUE(c.stored(key_a)->published);
  const size_t before = c.at(0).written.size();
  c.end(0, key_a, a.epoch);
  EXPECT_EQ(c.at(0).written.size() - before, 1u);
  EXPECT_FALSE(c.stored(key_a)->published);
}

// -- publishers whose proxy is gone

/// The record is kept, and its epoch is one that the origin takes from the next publisher.
TEST(several_proxies, an_encoder_comes_back_through_another_proxy) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2, o3}) c.add(reg);
  fence origin(true, c.now().now);
  const assignment a = c.published(0, key_a);
  ASSERT_TRUE(origin.publish(key_a, a.epoch));
  c.pass(2s);
  c.at(0).up = false;
  const assignment b = c.published(1, key_a);
  EXPECT_EQ(b.origin_id, a.origin_id);
  EXPECT_EQ(b.epoch, a.epoch);
  EXPECT_TRUE(origin.publish(key_a, b.epoch));
  c.pass(1s);
  EXPECT_EQ(c.stored(key_a)->proxy_id, "proxy-1");
  // The first proxy was only slow: what it says of its end does not end the other's publish.
  c.end(0, key_a, a.epoch);
  EXPECT_TRUE(c.stored(key_a)->published);
  EXPECT_EQ(c.stored(key_a)->proxy_id, "proxy-1");
}

TEST(several_proxies, an_encoder_comes_back_to_an_origin_that_has_seen_more) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2, o3}) c.add(reg);
  fence origin(true, c.now().now);
  const assignment a = c.published(0, key_a);
  c.pass(2s);
  c.at(0).up = false;
  const epoch seen{a.epoch.counter + 100, 3};  // of a write that the store has lost
  origin.told(key_a, seen);
  const assignment b = c.granted(1, key_a, {.session = "b"});
  EXPECT_EQ(origin.publish(key_a, b.epoch).error().reason, "stale_epoch");
  const assignment again = c.granted(1, key_a, {.session = "b", .refused = seen});
  EXPECT_EQ(again.origin_id, a.origin_id);
  EXPECT_TRUE(origin.publish(key_a, again.epoch));
}

/// … and while the store has just lost everything.
TEST(several_proxies, an_encoder_comes_back_when_the_store_has_forgotten) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2, o3}) c.add(reg);
  fence origin(true, c.now().now);
  const assignment a = c.published(0, key_a);
  ASSERT_TRUE(origin.publish(key_a, a.epoch));
  const origin_registration owner = a.server_id == "o1" ? o1 : a.server_id == "o2" ? o2 : o3;
  c.add(holding(owner, {{key_a.str(), a.epoch, true}}));
  c.pass(2s);
  c.at(0).up = false;
  c.flush_store();
  c.store_state(1, true, true);
  const assignment b = c.granted(1, key_a);
  EXPECT_EQ(b.origin_id, a.origin_id);
  EXPECT_TRUE(origin.publish(key_a, b.epoch));
}

}  // namespace
}  // namespace sluice::cluster
