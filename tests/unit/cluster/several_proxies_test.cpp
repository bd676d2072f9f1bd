// Proxies that share a store: what they make of each other's writes, and of origins that only others hear of.

#include "unit/cluster/several_proxies.hpp"

#include <gtest/gtest.h>

#include "cluster/core/fence.hpp"

namespace sluice::cluster {
namespace {

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

/// The store has done late what its proxy had given up; the origin tells of what was decided then.
TEST(several_proxies, an_announcement_below_what_an_origin_holds_is_nothing) {
  several_proxies c(1);
  c.add(o1);
  c.add(holding(o2, {{key_a.str(), {9, 1}, true}}));
  EXPECT_EQ(c.found(0, key_a), o2.id());
  c.announce(0, key_a, {o1.id(), {8, 1}, "proxy-7", 1});
  EXPECT_TRUE(c.at(0).changes.empty());
  EXPECT_EQ(c.found(0, key_a), o2.id());
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

/// What origins have said while this proxy was stopped comes before its verdict on an owner that seems to have no
/// publisher.
TEST(several_proxies, who_was_stopped_hears_of_publishers_before_he_moves_viewers) {
  several_proxies c(1);
  for (const auto& reg : {o1, o2}) c.add(reg);
  const epoch old{1000, 1}, next{2000, 1};
  c.add(holding(o1, {{key_a.str(), old, true}}));
  c.add(holding(o2, {}));
  EXPECT_EQ(c.found(0, key_a), o1.id());
  c.write(key_a, {o2.id(), next, "proxy-7", 1, true});
  c.announce(0, key_a, {o2.id(), next, "proxy-7", 1, true});
  ASSERT_EQ(c.at(0).changes.size(), 1u);
  c.stop_for(0, 3s);  // o2 has its publisher meanwhile, and o1 none any more
  EXPECT_EQ(c.at(0).changes.size(), 1u);
  c.add(holding(o1, {}));
  c.add(holding(o2, {{key_a.str(), next, true}}));
  c.pass(5s);
  EXPECT_EQ(c.at(0).changes.size(), 1u);
  EXPECT_EQ(c.found(0, key_a), o2.id());
}

/// Two proxies were granted the same owner, and one has a publisher for it: the other's claim, when it is given up, is
/// not his.
TEST(several_proxies, a_claim_that_is_given_up_takes_no_owner_from_another_proxy) {
  for (const bool asks : {false, true}) {
    several_proxies c(2);
    c.add(stock1);
    c.claim(1, 77, key_a);
    ASSERT_EQ(c.claimed(1, 77), "granted");
    const assignment a = c.published(0, key_a);
    ASSERT_EQ(a.epoch, c.at(1).claims.at(77)->epoch);
    c.pass(3s);
    if (asks) EXPECT_EQ(c.found(1, key_a), a.origin_id);  // and reads the record
    c.core(1).cancel(77, c.now());
    c.drain();
    c.pass(1s);
    ASSERT_TRUE(c.stored(key_a)) << asks;
    EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
  }
}

/// A claim has replaced the owner in the store, and its proxy, which never heard of that, went by the owner all the
/// same.
TEST(several_proxies, what_a_lost_reply_left_in_the_store_is_put_right) {
  for (const bool leaves : {false, true}) {
    several_proxies c(2);
    for (const auto& reg : {stock1, stock2}) c.add(reg);
    const assignment a = c.published(1, key_a);
    ASSERT_EQ(c.found(0, key_a), a.origin_id);
    c.pass(2s);
    c.core(0).dial_failed(a.origin_id, c.now());
    c.alive.erase(a.origin_id);
    c.core(0).origin_closed(1, a.origin_id, c.now());
    c.drain();
    c.at(0).deaf = true;
    c.claim(0, 77, key_a);
    ASSERT_NE(c.stored(key_a)->epoch, a.epoch);
    c.alive.insert(a.origin_id);
    c.add(a.server_id == "o1" ? stock1 : stock2);
    c.pass(1s);
    c.time_out(0);
    ASSERT_EQ(c.claimed(0, 77), "granted");
    ASSERT_EQ(c.at(0).claims.at(77)->epoch, a.epoch);
    if (leaves) {
      c.core(0).cancel(77, c.now());
      c.drain();
      EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
    } else {
      c.start(0, key_a, a.epoch);
      c.pass(3s);
      EXPECT_EQ(c.stored(key_a)->origin_id, a.origin_id);
    }
  }
}

/// A fail-over that was granted, and overtaken before its publish started, holds nobody up.
TEST(several_proxies, others_do_not_wait_for_a_publish_that_was_overtaken) {
  several_proxies c(1);
  for (const auto& reg : {stock1, stock2}) c.add(reg);
  const assignment a = c.published(0, key_a);
  c.kill_origin(a.origin_id);
  const assignment b = c.granted(0, key_a, {.session = "s0", .exclude = {a.origin_id}, .fail_over = true});
  const owner_record other{b.origin_id, {b.epoch.counter + 5, 1}, "proxy-7", 1, true};
  c.write(key_a, other);
  c.announce(0, key_a, other);
  c.start(0, key_a, b.epoch);
  c.claim(0, 77, key_a, {.session = "another"});
  EXPECT_EQ(c.claimed(0, 77), "granted");
}

/// The look at the store that is to settle it fails: it is not left for the next renewal, a minute later.
TEST(several_proxies, a_claim_that_comes_to_nothing_is_settled_soon_although_a_step_fails) {
  several_proxies c(1);
  c.add(stock1);
  c.add(stock2);
  const assignment a = c.published(0, key_a);
  c.flush_store();  // the claim took our record's place, and was dropped
  c.announce(0, key_a, {a.server_id == "o1" ? "o2-s1-1" : "o1-s1-1", {a.epoch.counter + 5, 1}, "proxy-7", 1});
  c.at(0).cut = true;
  c.pass(3s);
  ASSERT_FALSE(c.stored(key_a));
  c.at(0).cut = false;
  c.pass(4s);
  ASSERT_TRUE(c.stored(key_a));
  EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
}

/// A ghost of the stream, of another proxy, claims the epoch after ours at the very origin where it is published.
TEST(several_proxies, a_claim_at_the_same_origin_does_not_end_the_publish_there) {
  several_proxies c(1);
  c.add(o1);
  const assignment a = c.published(0, key_a);
  c.add(holding(o1, {{key_a.str(), a.epoch, true}}));
  const owner_record other{o1.id(), {a.epoch.counter + 5, 1}, "proxy-7", 1};
  c.announce(0, key_a, other);  // the origin refuses him, and it is dropped
  EXPECT_EQ(c.core(0).snapshot().streams, 1u);
  c.pass(3s);
  EXPECT_EQ(c.core(0).snapshot().streams, 1u);
  EXPECT_EQ(c.stored(key_a)->epoch, a.epoch);
}

/// The owner is announced before this proxy has heard of its origin.
TEST(several_proxies, who_watches_is_told_when_the_origin_of_an_announced_owner_appears) {
  several_proxies c(1);
  c.add(stock1);
  c.write(key_a, {stock1.id(), {5, 1}, "proxy-7", 1});
  EXPECT_EQ(c.found(0, key_a), stock1.id());
  c.announce(0, key_a, {stock2.id(), {6, 1}, "proxy-7", 1});
  EXPECT_TRUE(c.at(0).changes.empty());
  c.add(stock2);
  ASSERT_EQ(c.at(0).changes.size(), 1u);
  EXPECT_EQ(c.at(0).changes[0].to.origin_id, stock2.id());
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

/// Others reach what this proxy does not: all the more is the fault its own.
TEST(several_proxies, what_is_passed_on_does_not_hide_a_mass_silence) {
  cluster_harness c;
  c.add(o1);
  c.add(o2);
  const auto pass = [&](int seconds) {
    for (int i = 0; i < seconds * 10; ++i) {
      c.pass(100ms);
      if (i % 10 == 0) (void)c->registration(o1, c.now(), registered_by::proxy);
      c.drain();
    }
  };
  c.pass(3s);  // beyond what their own heartbeats say
  c.freeze(o1.id());
  pass(3);
  ASSERT_NE(c.health(o1.id()), origin_health::alive);
  ASSERT_EQ(c.lost.size(), 1u);
  c.freeze(o2.id());
  pass(5);
  EXPECT_EQ(c.lost.size(), 1u);
  EXPECT_EQ(c.health(o2.id()), origin_health::suspect);
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

/// An origin that was stopped comes back with an old copy while the owner has no publisher: who was sent there is told
/// as soon as the publisher is back at the owner, not with the next heartbeat.
TEST(several_proxies, a_publisher_who_is_back_at_the_owner_is_heard_of_at_once) {
  several_proxies c(2);
  for (const auto& reg : {o1, o2}) c.add(reg);
  const assignment a = c.published(0, key_a);
  ASSERT_EQ(c.found(1, key_a), a.origin_id);
  const origin_registration owner = a.server_id == "o1" ? o1 : o2, other = a.server_id == "o1" ? o2 : o1;
  c.add(holding(owner, {{key_a.str(), a.epoch, true}}));
  c.end(0, key_a, a.epoch);
  c.beats({holding(owner, {}), other}, 4);
  const epoch old{a.epoch.counter - 1, 1};
  c.add(holding(other, {{key_a.str(), old, true}}));
  ASSERT_FALSE(c.at(1).changes.empty());
  ASSERT_EQ(c.at(1).changes.back().to.origin_id, other.id()) << "there is a publisher, as far as it says";
  owner_record back{a.origin_id, a.epoch, "proxy-0", 1, true};
  c.announce(1, key_a, back);
  EXPECT_EQ(c.at(1).changes.back().to.origin_id, a.origin_id);
}

}  // namespace
}  // namespace sluice::cluster
