// A stream whose owner is lost: who gets it, when, and who is told.

#include <gtest/gtest.h>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

struct three_origins {
  three_origins() {
    for (uint16_t i = 0; i < 3; ++i) all_.push_back(sluice_at("o" + std::to_string(i), 1000 + i));
    for (const auto& reg : all_) c.add(reg);
    c.beats(all_, 12);
    a_ = c.published(key_a);
  }
  origin_registration reg_of(const std::string& id) const {
    for (const auto& reg : all_) {
      if (reg.id() == id) return reg;
    }
    return {};
  }
  std::string granted_to(uint64_t id) { return c.claim_error(id) == "granted" ? c.claims.at(id)->origin_id : "nobody"; }

  cluster_harness c;
  std::vector<origin_registration> all_;
  assignment a_;
};

class failover : public testing::Test, protected three_origins {};

TEST_F(failover, a_dead_owner_is_replaced_in_one_step) {
  c.kill(a_.origin_id);
  EXPECT_EQ(c->snapshot().degraded, 1u);
  EXPECT_EQ(c->snapshot().streams, 1u);
  const int before = c.store_steps;
  c.fail_over(1, key_a, a_.epoch);
  ASSERT_EQ(c.claim_error(1), "granted");
  EXPECT_EQ(c.store_steps - before, 1);
  const assignment b = *c.claims.at(1);
  EXPECT_NE(b.origin_id, a_.origin_id);
  EXPECT_GT(b.epoch, a_.epoch);
  EXPECT_EQ(c->snapshot().degraded, 1u);  // not published there yet
  c.start(key_a, b.epoch);
  EXPECT_EQ(c->snapshot().degraded, 0u);
  EXPECT_EQ(c->snapshot().streams, 1u);
  EXPECT_EQ(c.changed_because, std::vector<std::string>{"gone"});
  // What the publisher's session sees of it (lost, failed_over) is for the session to note.
  EXPECT_EQ(c.happened(key_a),
            (std::vector<std::string>{"owner placed", "published s", "ended s", "owner gone", "published s"}));
}

TEST_F(failover, players_are_told_once) {
  c.find(1, key_a);
  c.kill(a_.origin_id);
  EXPECT_TRUE(c.changes.empty());
  c.fail_over(2, key_a, a_.epoch);
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].key, key_a);
  EXPECT_EQ(c.changes[0].to.origin_id, c.claims.at(2)->origin_id);
  EXPECT_EQ(c.changes[0].to.epoch, c.claims.at(2)->epoch);
  c.start(key_a, c.claims.at(2)->epoch);
  c.beats(all_, 3);
  EXPECT_EQ(c.changes.size(), 1u);
}

TEST_F(failover, with_a_single_origin_the_next_owner_is_its_next_incarnation) {
  cluster_harness one;
  one.add(sluice_at("o1", 1001, "old"));
  const assignment a = one.published(key_a);
  one.kill(a.origin_id);
  one.fail_over(1, key_a, a.epoch);
  one.pass(20s);
  EXPECT_EQ(one.claim_error(1), "unanswered");
  EXPECT_EQ(one->snapshot().degraded, 1u);
  one.add(sluice_at("o1", 1001, "new"));
  ASSERT_EQ(one.claim_error(1), "granted");
  EXPECT_EQ(one.claims.at(1)->origin_id, "o1-new-1");
}

TEST_F(failover, a_claim_that_nobody_can_take_ends_at_its_deadline_or_with_its_publisher) {
  for (const bool leaves : {true, false}) {
    cluster_harness one;
    one.add(sluice_at("o1", 1001));
    const assignment a = one.published(key_a);
    one.kill(a.origin_id);
    one.fail_over(1, key_a, a.epoch, 30s);
    one.pass(29s);
    EXPECT_EQ(one.claim_error(1), "unanswered");
    if (leaves) {
      one->cancel(1, one.now());
      one.drain();
    } else {
      one.pass(1s);
      EXPECT_EQ(one.claim_error(1), "no_origin");
    }
    EXPECT_EQ(one->snapshot().degraded, 0u);
    EXPECT_EQ(one->snapshot().streams, 0u);
  }
}

TEST_F(failover, a_grant_that_is_not_used_ends_the_degradation) {
  c.kill(a_.origin_id);
  c.fail_over(1, key_a, a_.epoch);
  ASSERT_EQ(c.claim_error(1), "granted");
  c->cancel(1, c.now());
  c.drain();
  EXPECT_EQ(c->snapshot().degraded, 0u);
  EXPECT_EQ(c.stored(), 0u);
}

TEST_F(failover, two_origins_that_are_gone_in_a_row_are_no_reason_to_wait) {
  assignment at = a_;
  for (uint64_t i = 1; i < 3; ++i) {
    c.kill(at.origin_id);
    c.fail_over(i, key_a, at.epoch);
    ASSERT_EQ(c.claim_error(i), "granted");
    at = *c.claims.at(i);
    c.start(key_a, at.epoch);
    c.beats({reg_of(at.origin_id)}, 1);
  }
}

/// The stream has moved a moment ago, and its owner is silent: it waits.
TEST_F(failover, a_stream_leaves_a_silent_owner_once_in_ten_seconds) {
  enum class then : uint8_t { waits, gone, answers };
  for (const then what : {then::waits, then::gone, then::answers}) {
    three_origins f;
    cluster_harness& h = f.c;
    h.kill(f.a_.origin_id);
    h.fail_over(1, key_a, f.a_.epoch);
    const assignment b = *h.claims.at(1);
    h.start(key_a, b.epoch);
    h.freeze(b.origin_id);
    h.pass(5s);
    ASSERT_EQ(h.health(b.origin_id), origin_health::dead);
    h.fail_over(2, key_a, b.epoch);
    EXPECT_EQ(h.claim_error(2), "unanswered");
    EXPECT_EQ(h->snapshot().degraded, 1u);
    if (what == then::gone) {
      h.frozen.clear();
      h.alive.erase(b.origin_id);
      h.pass(2500ms);
      ASSERT_EQ(h.claim_error(2), "granted");
      EXPECT_NE(h.claims.at(2)->origin_id, b.origin_id);
    } else if (what == then::answers) {
      h.frozen.clear();
      h.pass(2500ms);
      ASSERT_EQ(h.claim_error(2), "granted");
      EXPECT_EQ(h.claims.at(2)->epoch, b.epoch);
    } else {
      h.pass(4900ms);
      EXPECT_EQ(h.claim_error(2), "unanswered");
      h.pass(300ms);
      ASSERT_EQ(h.claim_error(2), "granted");
      EXPECT_NE(h.claims.at(2)->origin_id, b.origin_id);
    }
  }
}

/// The new owner could not be dialled: it was never published there, so nothing moves by trying the next.
TEST_F(failover, a_new_owner_that_fails_its_dial_is_replaced_at_once) {
  c.kill(a_.origin_id);
  c.fail_over(1, key_a, a_.epoch);
  const assignment b = *c.claims.at(1);
  c.hold_probes = true;
  c->dial_failed(b.origin_id, c.now());
  c->claim(2, key_a, {"s", {b.origin_id}, c.now().now + 30s, true}, c.now());
  c.drain();
  ASSERT_EQ(c.claim_error(2), "granted");
  EXPECT_NE(c.claims.at(2)->origin_id, b.origin_id);
  EXPECT_NE(c.claims.at(2)->origin_id, a_.origin_id);
  EXPECT_EQ(c.changed_because, (std::vector<std::string>{"gone", "unreachable"}));
}

TEST_F(failover, a_failing_store_does_not_end_a_live_stream) {
  c.kill(a_.origin_id);
  c.hold_store = true;
  c.fail_over(1, key_a, a_.epoch);
  c.fail_store();
  EXPECT_EQ(c.claim_error(1), "granted");
}

/// The store forgets everything while the claim waits: that is no reason to move twice in ten seconds.
TEST_F(failover, the_brake_outlives_the_store) {
  c.kill(a_.origin_id);
  c.fail_over(1, key_a, a_.epoch);
  const assignment b = *c.claims.at(1);
  c.start(key_a, b.epoch);
  c.freeze(b.origin_id);
  c.pass(5s);
  ASSERT_EQ(c.health(b.origin_id), origin_health::dead);
  c.lose_store();
  c.fail_over(2, key_a, b.epoch);
  EXPECT_EQ(c.claim_error(2), "unanswered");
  c.pass(5100ms);
  EXPECT_EQ(c.claim_error(2), "granted");
}

TEST_F(failover, an_epoch_that_the_owner_refused_is_raised) {
  c->publish_ended(key_a, a_.epoch, c.now());
  c.drain();
  c->claim(1, key_a, {.session = "t", .refused = a_.epoch}, c.now());
  c.drain();
  ASSERT_EQ(c.claim_error(1), "granted");
  EXPECT_EQ(c.claims.at(1)->origin_id, a_.origin_id);
  EXPECT_GT(c.claims.at(1)->epoch, a_.epoch);
  // Somebody else has raised it meanwhile.
  c->claim(2, key_a, {.session = "u", .refused = a_.epoch}, c.now());
  c.drain();
  EXPECT_EQ(c.claims.at(2)->epoch, c.claims.at(1)->epoch);
}

/// A renewal meets the record of another proxy whose origin is dead: the stream is published here.
TEST_F(failover, a_record_of_a_dead_owner_is_replaced_by_who_publishes) {
  c.kill(a_.origin_id == all_[0].id() ? all_[1].id() : all_[0].id());
  const std::string dead = c.lost[0].origin_id;
  c.write(key_a, {dead, {a_.epoch.counter + 1, 1}, "proxy-2", 0});
  c.find(1, key_a);
  c.beats({reg_of(a_.origin_id)}, 20);
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, a_.origin_id);
  EXPECT_GT(c.changes[0].to.epoch.counter, a_.epoch.counter + 1);
}

/// … and so is one whose origin lives, and has no publisher.
TEST_F(failover, a_record_without_a_publisher_is_replaced_by_who_publishes) {
  const auto& other = a_.origin_id == all_[0].id() ? all_[1] : all_[0];
  c.beat(reg_of(a_.origin_id), {{key_a.str(), a_.epoch, true}});
  c.beat(other, {});
  c.write(key_a, {other.id(), {a_.epoch.counter + 1, 1}, "proxy-2", 0});
  c.beats({other, reg_of(a_.origin_id)}, 20);
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.origin_id, a_.origin_id);
  EXPECT_GT(c.changes[0].to.epoch.counter, a_.epoch.counter + 1);
}

TEST_F(failover, in_a_mass_silence_owners_are_kept) {
  const assignment b = c.published(key_b);
  for (const auto& reg : all_) c.freeze(reg.id());
  c.pass(30s);
  EXPECT_TRUE(c.lost.empty());
  EXPECT_EQ(c->snapshot().degraded, 0u);
  EXPECT_EQ(c.granted(key_b).epoch, b.epoch);
}

/// Half are silent: what a session could not reach is no reason to move either.
TEST_F(failover, in_a_mass_silence_nobody_leaves_an_owner_that_failed_him) {
  for (const bool answers : {true, false}) {
    three_origins t;
    cluster_harness& h = t.c;
    const auto& other = t.all_[0].id() == t.a_.origin_id ? t.all_[1] : t.all_[0];
    h.freeze(t.a_.origin_id);
    h.freeze(other.id());
    h.pass(5s);
    ASSERT_TRUE(h->snapshot().mass_silence);
    h->dial_failed(t.a_.origin_id, h.now());
    h.drain();
    h.fail_over(1, key_a, t.a_.epoch, 30s, {t.a_.origin_id});
    h.claim(2, key_a, "another", {t.a_.origin_id});
    h.pass(2s);
    EXPECT_EQ(h.claim_error(1), "unanswered");
    EXPECT_EQ(h.claim_error(2), "unanswered");
    h.frozen.erase(answers ? t.a_.origin_id : other.id());
    h.pass(1500ms);
    if (answers) {
      ASSERT_EQ(h.claim_error(1), "granted");
      EXPECT_EQ(h.claims.at(1)->epoch, t.a_.epoch);
      continue;
    }
    // The silence is over, and this one has the time of any to answer.
    EXPECT_FALSE(h->snapshot().mass_silence);
    EXPECT_EQ(h.claim_error(1), "unanswered");
    h.pass(1500ms);
    EXPECT_EQ(h.health(t.a_.origin_id), origin_health::dead);
    ASSERT_EQ(h.claim_error(1), "granted");
    EXPECT_NE(h.claims.at(1)->origin_id, t.a_.origin_id);
  }
}

/// What was only claimed has nothing to lose by going on.
TEST_F(failover, in_a_mass_silence_a_new_stream_finds_an_origin_that_answers) {
  const assignment b = c.granted(key_b);
  const auto& other = all_[0].id() == b.origin_id ? all_[1] : all_[0];
  c.freeze(b.origin_id);
  c.freeze(other.id());
  c.pass(5s);
  ASSERT_TRUE(c->snapshot().mass_silence);
  const std::string third = c.granted(key_b, "s", {b.origin_id}).origin_id;
  EXPECT_NE(third, b.origin_id);
  EXPECT_NE(third, other.id());
}

TEST_F(failover, an_origin_that_comes_while_the_store_is_asked_is_not_missed) {
  cluster_harness one;
  one.add(sluice_at("o1", 1001, "old"));
  const assignment a = one.published(key_a);
  one.kill(a.origin_id);
  one.hold_store = true;
  one.fail_over(1, key_a, a.epoch);
  one.add(sluice_at("o1", 1001, "new"));
  one.release_store();
  one.release_store();
  ASSERT_EQ(one.claim_error(1), "granted");
  EXPECT_EQ(one.claims.at(1)->origin_id, "o1-new-1");
}

/// … nor is the answer of one that the claimant could not reach.
TEST_F(failover, an_excluded_origin_that_answers_while_the_store_is_asked_is_tried) {
  cluster_harness one;
  one.add(sluice_at("o1", 1001));
  const assignment a = one.published(key_a);
  one.hold_probes = true;
  one->dial_failed(a.origin_id, one.now());
  one.hold_store = true;
  one.fail_over(1, key_a, a.epoch, 30s, {a.origin_id});
  one.answer_probe(true);
  one.release_store();
  one.release_store();
  EXPECT_EQ(one.claim_error(1), "granted");
}

/// Another proxy has written an owner that is gone: the brake is for where the stream was.
TEST_F(failover, the_brake_does_not_depend_on_what_the_store_says) {
  c.kill(a_.origin_id);
  c.fail_over(1, key_a, a_.epoch);
  const assignment b = *c.claims.at(1);
  c.start(key_a, b.epoch);
  c.freeze(b.origin_id);
  c.pass(5s);
  ASSERT_EQ(c.health(b.origin_id), origin_health::dead);
  c.write(key_a, {"nobody-1-1", {b.epoch.counter + 1, 1}, "proxy-2", 0});
  c.fail_over(2, key_a, b.epoch);
  EXPECT_EQ(c.claim_error(2), "unanswered");
  c.pass(5100ms);
  EXPECT_EQ(c.claim_error(2), "granted");
}

/// The store was set back to the owner before: nobody goes back to an epoch that is over.
TEST_F(failover, a_store_that_lost_a_write_is_not_believed) {
  c.lose_store();
  c.write(key_a, {a_.origin_id, {5, 5}, "proxy-1", 0});
  c.kill(a_.origin_id);
  c.fail_over(1, key_a, a_.epoch);
  ASSERT_EQ(c.claim_error(1), "granted");
  EXPECT_NE(c.claims.at(1)->origin_id, a_.origin_id);
  EXPECT_GT(c.claims.at(1)->epoch, a_.epoch);
  c.start(key_a, c.claims.at(1)->epoch);
  // Also while the claim can only look.
  const assignment b = *c.claims.at(1);
  c.freeze(b.origin_id);
  c.pass(5s);
  c.lose_store();
  const std::string third = all_[0].id() != a_.origin_id && all_[0].id() != b.origin_id   ? all_[0].id()
                            : all_[1].id() != a_.origin_id && all_[1].id() != b.origin_id ? all_[1].id()
                                                                                          : all_[2].id();
  c.write(key_a, {third, {5, 5}, "proxy-1", 0});
  c.fail_over(2, key_a, b.epoch);
  EXPECT_EQ(c.claim_error(2), "unanswered");  // the brake
  c.pass(5100ms);
  ASSERT_EQ(c.claim_error(2), "granted");
  EXPECT_GT(c.claims.at(2)->epoch, b.epoch);
}

TEST_F(failover, an_overtaken_publish_learns_of_its_owner) {
  c.kill(a_.origin_id);
  c.fail_over(1, key_a, a_.epoch);
  c.changes.clear();
  c.start(key_a, a_.epoch);  // somebody who still believes in the old one
  ASSERT_EQ(c.changes.size(), 1u);
  EXPECT_EQ(c.changes[0].to.epoch, c.claims.at(1)->epoch);
}

TEST_F(failover, ten_thousand_streams_move) {
  std::vector<std::pair<stream_key, epoch>> there;
  for (int i = 0; i < 10'000; ++i) {
    const stream_key key{"__defaultVhost__", "live", std::to_string(i)};
    const assignment to = c.published(key, std::to_string(i));
    if (to.origin_id == a_.origin_id) there.emplace_back(key, to.epoch);
  }
  EXPECT_GT(there.size(), 2000u);
  c.kill(a_.origin_id);
  EXPECT_EQ(c->snapshot().degraded, there.size() + 1);
  uint64_t id = 100'000;
  for (const auto& [key, e] : there) {
    c.fail_over(++id, key, e, 30s, {}, key.stream);
    ASSERT_EQ(c.claim_error(id), "granted");
    c.start(key, c.claims.at(id)->epoch);
  }
  EXPECT_EQ(c->snapshot().degraded, 1u);
  std::map<std::string, size_t> load;
  for (const auto& o : c->snapshot().origins) load[o.id] = o.streams;
  for (const auto& [origin, streams] : load) EXPECT_LE(streams, 6500u) << origin;
}

TEST(history, is_bounded) {
  cluster_harness c;
  for (int i = 0; i < 100; ++i) c->note(key_a, {0, "gap", "", {}, std::to_string(i)});
  const auto of_a = c->explain(key_a);
  ASSERT_EQ(of_a.size(), 32u);
  EXPECT_EQ(of_a.front().reason, "68");
  EXPECT_EQ(of_a.back().reason, "99");
  for (int i = 0; i < 9'999; ++i) c->note({"v", "live", std::to_string(i)}, {0, "gap", "", {}, ""});
  EXPECT_EQ(c->explain(key_a).size(), 32u);
  c->note({"v", "live", "one more"}, {0, "gap", "", {}, ""});
  EXPECT_TRUE(c->explain(key_a).empty());
  EXPECT_EQ(c->explain({"v", "live", "0"}).size(), 1u);
}

}  // namespace
}  // namespace sluice::cluster
