// Claims that come to nothing, and streams that only take room.

#include <gtest/gtest.h>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

stream_key numbered(uint64_t i) { return {"__defaultVhost__", "live", std::to_string(i)}; }

size_t load_of(cluster_harness& c, const std::string& id) {
  for (const auto& o : c->snapshot().origins) {
    if (o.id == id) return o.streams;
  }
  return 0;
}

void cancel(cluster_harness& c, uint64_t id) {
  c->cancel(id, c.now());
  c.drain();
}

/// The store writes a claim and does not say so, and the claimant has left. It is held from then on.
void leave_in_silence(cluster_harness& c) {
  c.add(sluice_at("o1", 1001));
  c.hold_store = true;
  c.claim(1, key_a);
  cancel(c, 1);
  c.fail_store(true);
}

TEST(unstarted, a_claim_cancelled_before_or_after_its_answer_leaves_nothing) {
  for (const bool before : {true, false}) {
    cluster_harness c;
    c.add(sluice_at("o1", 1001));
    c.hold_store = before;
    c.claim(1, key_a);
    cancel(c, 1);
    c.hold_store = false;
    c.release_store();
    c.drain();
    EXPECT_EQ(c.stored(), 0u) << before;
    EXPECT_EQ(load_of(c, "o1-s1-1"), 0u) << before;
    EXPECT_EQ(c.claim_error(1), before ? "unanswered" : "granted");
  }
}

TEST(unstarted, what_the_store_has_done_without_a_word_for_one_who_has_left_is_taken_back) {
  cluster_harness c;
  leave_in_silence(c);
  EXPECT_EQ(c.stored(), 1u);
  c.fail_store();  // it goes on failing
  c.pass(5s);
  EXPECT_EQ(c.stored(), 1u);
  c.release_store();
  EXPECT_EQ(c.stored(), 0u);
  c.pass(60s);
  c.release_store();
  EXPECT_EQ(c->snapshot().streams, 0u);
}

TEST(unstarted, what_the_store_has_done_while_it_was_given_up_is_taken_back) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  c.hold_store = true;
  c.claim(1, key_a);
  cancel(c, 1);
  c->store_state(false, false, c.now());
  c.release_store();
  EXPECT_EQ(c.stored(), 1u);
  c.pass(1s);
  c->store_state(true, false, c.now());
  c.drain();
  c.pass(1s);
  c.release_store();
  EXPECT_EQ(c.stored(), 0u);
}

TEST(unstarted, what_cannot_be_taken_back_expires) {
  cluster_harness c;
  leave_in_silence(c);
  const int before = c.store_steps;
  for (int i = 0; i < 60; ++i) {
    c.fail_store();
    c.pass(1s);
  }
  EXPECT_GT(c.store_steps, before + 5);
  EXPECT_LT(c.store_steps, before + 15);
}

TEST(unstarted, what_the_store_has_done_for_one_who_has_left_is_the_next_ones_to_undo) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  c.hold_store = true;
  c.claim(1, key_a);
  c.claim(2, key_a, "second");
  cancel(c, 1);
  c.fail_store(true);
  c.release_store();
  ASSERT_EQ(c.claim_error(2), "granted");
  cancel(c, 2);
  c.release_store();
  EXPECT_EQ(c.stored(), 0u);
}

TEST(unstarted, only_the_record_of_the_refused_claim_is_spared) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  c.claim(1, key_a);
  c->claim_refused(1, c.now());
  c.drain();
  c.lose_store();
  c.pass(3s);
  c.claim(2, key_a, "second");
  ASSERT_EQ(c.claim_error(2), "granted");
  ASSERT_GT(c.claims.at(2)->epoch, c.claims.at(1)->epoch);
  cancel(c, 2);
  EXPECT_EQ(c.stored(), 0u);
}

TEST(unstarted, a_grant_that_is_not_used_is_undone_after_its_time) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  c.granted(key_a);
  EXPECT_EQ(load_of(c, "o1-s1-1"), 1u);
  c.pass(9900ms);
  EXPECT_EQ(c.stored(), 1u);
  c.pass(200ms);
  EXPECT_EQ(c.stored(), 0u);
  EXPECT_EQ(load_of(c, "o1-s1-1"), 0u);
}

TEST(unstarted, what_a_refused_claim_has_written_stays_for_a_while_and_holds_up_nobody) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  const assignment a = c.published(key_a, "first");
  c.fail_over(7, key_a, a.epoch, 30s, {"o1-s1-1"}, "first");
  c.add(sluice_at("o2", 1002));
  ASSERT_EQ(c.claim_error(7), "granted");
  EXPECT_EQ(c->snapshot().degraded, 1u);
  c->claim_refused(7, c.now());
  c.drain();
  EXPECT_EQ(c->snapshot().degraded, 0u);
  EXPECT_EQ(c.stored(), 1u);
  EXPECT_EQ(c.granted(key_a, "second").epoch, c.claims.at(7)->epoch);
  cancel(c, 7);
  EXPECT_EQ(c.stored(), 1u);
  c.pass(11s);
  EXPECT_EQ(c.stored(), 0u);
}

TEST(unstarted, a_publish_that_starts_late_puts_its_mapping_back) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  const assignment a = c.granted(key_a);
  c.pass(11s);
  ASSERT_EQ(c.stored(), 0u);
  c->publish_started(key_a, a.epoch, c.now());
  c.drain();
  EXPECT_EQ(c.stored(), 1u);
  EXPECT_EQ(c->snapshot().streams, 1u);
  EXPECT_EQ(load_of(c, a.origin_id), 1u);
  c.find(1, key_a);
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_EQ(c.finds.at(1)->epoch, a.epoch);
}

TEST(unstarted, a_late_start_does_not_displace_the_next_owner) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  const assignment a = c.granted(key_a, "slow");
  c.pass(11s);
  const assignment b = c.granted(key_a, "quick");
  ASSERT_GT(b.epoch, a.epoch);
  c->publish_started(key_a, a.epoch, c.now());
  c.drain();
  EXPECT_EQ(c->snapshot().streams, 0u);
  c->publish_started(key_a, b.epoch, c.now());
  EXPECT_EQ(c->snapshot().streams, 1u);
}

TEST(unstarted, who_was_overtaken_while_he_started_is_told_though_the_owner_is_not_known) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  const assignment a = c.granted(key_a);
  const epoch above{a.epoch.counter + 5, 1};
  c->announced(key_a, {"o7-s1-1", above, "proxy-7", 1}, c.now());
  c.start(key_a, a.epoch);
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, "o7-s1-1");
  EXPECT_EQ(c.changes[0].to.epoch, above);
  EXPECT_TRUE(c.changes[0].to.rtmp.empty());
}

TEST(unstarted, who_was_overtaken_while_he_started_is_told_though_the_owner_is_dead) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  c.add(sluice_at("o2", 1002));
  const assignment a = c.granted(key_a);
  const std::string other = a.origin_id == "o1-s1-1" ? "o2-s1-1" : "o1-s1-1";
  c.kill(other);
  const epoch above{a.epoch.counter + 5, 1};
  c->announced(key_a, {other, above, "proxy-7", 1}, c.now());
  c.drain();
  EXPECT_TRUE(c.changes.empty());
  c.start(key_a, a.epoch);
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.epoch, above);
  // What his relay does then.
  c.fail_over(1, key_a, a.epoch);
  ASSERT_EQ(c.claim_error(1), "granted");
  EXPECT_EQ(c.claims.at(1)->origin_id, a.origin_id);
  EXPECT_GT(c.claims.at(1)->epoch, above);
}

TEST(unstarted, what_somebody_publishes_or_published_is_never_undone) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  const assignment a = c.granted(key_a, "first");
  c.claim(1, key_a, "second");
  c->publish_started(key_a, a.epoch, c.now());
  cancel(c, 1);
  c.pass(20s);
  EXPECT_EQ(c.stored(), 1u);
  EXPECT_EQ(load_of(c, a.origin_id), 1u);
  c->publish_ended(key_a, a.epoch, c.now());
  c.drain();
  EXPECT_EQ(load_of(c, a.origin_id), 0u);
  // A publisher who comes back and goes again does not take away the origin that he is to find.
  c.claim(2, key_a);
  cancel(c, 2);
  c.granted(key_a);
  c.pass(15s);
  EXPECT_EQ(c.stored(), 1u);
  EXPECT_EQ(load_of(c, a.origin_id), 0u);
  EXPECT_EQ(c.granted(key_a).epoch, a.epoch);
}

TEST(unstarted, a_cancelled_claim_leaves_what_it_wrote_to_the_next_in_turn) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  c.hold_store = true;
  c.claim(1, key_a, "first");
  c.claim(2, key_a, "second");
  c->cancel(1, c.now());
  c.release_store();
  c.release_store();
  ASSERT_EQ(c.claim_error(2), "granted");
  EXPECT_EQ(c.stored(), 1u);
  c.hold_store = false;
  cancel(c, 2);
  EXPECT_EQ(c.stored(), 0u);
}

/// Proxy 2 publishes with the record that a claim of proxy 1 wrote, and that claim is then given up.
TEST(unstarted, the_record_that_another_proxy_publishes_with_stays) {
  const moment at{base::time_point(1h), 1'700'000'000'000};
  memory_store store([&] { return at.now; });
  std::vector<std::unique_ptr<coordinator>> proxies;
  epoch granted;
  auto drain = [&](coordinator& proxy) {
    while (auto next = proxy.poll_action()) {
      if (auto* s = std::get_if<action::store>(&*next))
        store.submit(s->request, [&](store_reply reply) { proxy.store_replied(std::move(reply), at); });
      if (auto* r = std::get_if<action::reply_claim>(&*next)) granted = r->answer.value().epoch;
    }
  };
  for (uint64_t i : {1, 2}) {
    coordinator_config config;
    config.seed = i;
    config.proxy_id = "proxy-" + std::to_string(i);
    proxies.push_back(std::make_unique<coordinator>(config, at));
    ASSERT_TRUE(proxies.back()->registration(sluice_at("o1", 1001), at));
    proxies.back()->claim(i, key_a, {.session = "s"}, at);
    drain(*proxies.back());
  }
  proxies[1]->publish_started(key_a, granted, at);
  drain(*proxies[1]);
  proxies[0]->cancel(1, at);
  drain(*proxies[0]);
  EXPECT_EQ(store.size(), 1u);
}

/// One client that claims without end, and leaves all: nobody else is refused, whether it cancels or not.
TEST(unstarted, a_flood_of_claims_refuses_nobody) {
  for (const bool cancels : {true, false}) {
    coordinator_config config;
    config.streams_max = 100;
    cluster_harness c(config);
    auto o1 = sluice_at("o1", 1001);
    o1.sluice->capacity = 200;
    c.add(o1);
    const assignment honest = c.granted(key_a);
    c->publish_started(key_a, honest.epoch, c.now());
    for (uint64_t i = 1; i <= 1000; ++i) {
      c.claim(i, numbered(i), "flood");
      ASSERT_EQ(c.claim_error(i), "granted") << i;
      if (cancels) cancel(c, i);
    }
    EXPECT_LE(c.stored(), cancels ? 1u : 100u);
    EXPECT_LE(load_of(c, honest.origin_id), cancels ? 1u : 100u);
    const assignment late = c.granted(key_b);
    c->publish_started(key_b, late.epoch, c.now());
    for (uint64_t id = 2001; id < 2003; ++id) c.find(id, id == 2001 ? key_a : key_b);
    EXPECT_EQ(c.find_error(2001), "granted");
    EXPECT_EQ(c.find_error(2002), "granted");
    EXPECT_EQ(c->snapshot().streams, 2u);
  }
}

TEST(unstarted, remembered_misses_make_way) {
  coordinator_config config;
  config.streams_max = 10;
  cluster_harness c(config);
  c.add(sluice_at("o1", 1001));
  for (uint64_t i = 0; i < 100; ++i) {
    c.find(i, numbered(i));
    cancel(c, i);
  }
  c.granted(key_a);
  c.find(1000, numbered(1000));
  EXPECT_EQ(c.find_error(1000), "unanswered");
}

TEST(unstarted, finds_leave_room_for_claims) {
  coordinator_config config;
  config.streams_max = 64;
  config.requests_max = 96;
  cluster_harness c(config);
  c.add(sluice_at("o1", 1001));
  for (uint64_t i = 0; i < 200; ++i) c.find(i, numbered(i));
  EXPECT_EQ(c.find_error(199), "too_many_streams");
  for (uint64_t i = 200; i < 300; ++i) c.find(i, numbered(0));
  EXPECT_EQ(c.find_error(299), "too_many_waiters");
  c.granted(key_a);
}

}  // namespace
}  // namespace sluice::cluster
