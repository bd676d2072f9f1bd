#include <gtest/gtest.h>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

TEST(registry, a_silent_origin_that_answers_probes_lives_until_its_ttl) {
  cluster_harness c;
  const auto o1 = sluice_at("o1", 1001);
  c.add(o1);
  c.pass(299s);
  EXPECT_EQ(c.health(o1.id()), origin_health::alive);
  c.pass(2s);
  EXPECT_FALSE(c.knows(o1.id()));
}

TEST(registry, one_time_registration_is_judged_by_probes) {
  cluster_harness c;
  const auto nginx = origin_at("nginx", 1001);
  c.add(nginx);
  c.pass(20s);
  EXPECT_EQ(c.health(nginx.id()), origin_health::alive);
  c.alive.clear();
  c.pass(3s);
  EXPECT_EQ(c.health(nginx.id()), origin_health::dead);
  c.alive.insert(nginx.id());
  c.pass(3s);
  EXPECT_EQ(c.health(nginx.id()), origin_health::alive);
  c.pass(300s);
  EXPECT_FALSE(c.knows(nginx.id()));
}

TEST(registry, an_expired_origin_is_kept_while_it_has_streams_but_gets_no_new_ones) {
  cluster_harness c;
  const auto nginx = origin_at("nginx", 1001);
  c.add(nginx);
  const assignment a = c.granted(key_a);
  c->publish_started(key_a, a.epoch, c.now());
  c.pass(310s);
  ASSERT_TRUE(c.knows(nginx.id()));
  c.find(1, key_a);
  EXPECT_EQ(c.find_error(1), "granted");
  c.claim(2, key_b);
  c.pass(4s);
  EXPECT_EQ(c.claim_error(2), "no_origin");
  c->publish_ended(key_a, a.epoch, c.now());
  c.pass(3s);
  EXPECT_FALSE(c.knows(nginx.id()));
}

TEST(registry, one_lost_routine_probe_is_not_a_death) {
  cluster_harness c;
  const auto nginx = origin_at("nginx", 1001);
  c.hold_probes = true;
  c.add(nginx);
  c.pass(2s);
  c.answer_probe(false);
  EXPECT_EQ(c.health(nginx.id()), origin_health::suspect);
  c.answer_probe(true);
  EXPECT_EQ(c.health(nginx.id()), origin_health::alive);
  c.pass(2s);
  c.answer_probe(false);
  c.answer_probe(false);
  EXPECT_EQ(c.health(nginx.id()), origin_health::dead);
}

TEST(registry, a_probe_that_is_never_answered_counts_as_failed) {
  cluster_harness c;
  c.hold_probes = true;
  const auto o1 = sluice_at("o1", 1001);
  c.add(o1);
  c.pass(10s);
  EXPECT_EQ(c.health(o1.id()), origin_health::dead);
}

TEST(registry, a_restarted_server_at_the_same_address_voids_the_old_incarnation) {
  cluster_harness c;
  const auto old = sluice_at("o1", 1001, "old");
  const auto fresh = sluice_at("o1", 1001, "new");
  c.add(old);
  c.add(fresh);
  EXPECT_FALSE(c.knows(old.id()));
  EXPECT_TRUE(c.knows(fresh.id()));
  const auto again = c.add(old);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().reason, "voided_incarnation");
  EXPECT_EQ(http_status_of(again.error()), 409);
  EXPECT_TRUE(c.add(fresh));
}

TEST(registry, another_address_voids_the_old_one_only_if_that_no_longer_answers) {
  const auto old = sluice_at("o1", 1001, "old");
  const auto fresh = sluice_at("o1", 1002, "new");
  {
    cluster_harness c;
    c.add(old);
    c.alive.clear();
    c.add(fresh);
    EXPECT_FALSE(c.knows(old.id()));
    EXPECT_FALSE(c.add(old));
  }
  {
    cluster_harness c;
    c.add(old);
    c.add(fresh);
    EXPECT_TRUE(c.knows(old.id()));
    EXPECT_TRUE(c.knows(fresh.id()));
    EXPECT_TRUE(c.events.contains("server_id_twice"));
    EXPECT_TRUE(c.add(old));
  }
}

TEST(registry, api_probe_falls_back_to_rtmp_until_the_api_has_answered) {
  cluster_harness c;
  c.hold_probes = true;
  auto o1 = origin_at("o1", 1001);
  o1.api = {{o1.address, 1985}};
  c.add(o1);
  c->origin_closed(1, o1.id(), c.now());
  c.drain();
  ASSERT_EQ(c.probes.size(), 1u);
  EXPECT_EQ(c.probes.front().kind, probe_kind::api_versions);
  EXPECT_EQ(c.probes.front().targets, o1.api);
  EXPECT_EQ(c.probes.front().timeout, 300ms);
  c.answer_probe(false);
  ASSERT_EQ(c.probes.size(), 1u);
  EXPECT_EQ(c.probes.front().kind, probe_kind::rtmp_handshake);
  EXPECT_EQ(c.probes.front().targets, o1.rtmp);
  c.answer_probe(true);
  EXPECT_EQ(c.verdicts.at(1), origin_verdict::alive);
}

/// An API that has answered once and is silent later (full, switched off) is no death: RTMP decides.
TEST(registry, a_silent_api_never_decides_alone) {
  for (const bool rtmp_lives : {true, false}) {
    cluster_harness c;
    c.hold_probes = true;
    auto o1 = origin_at("o1", 1001);
    o1.api = {{o1.address, 1985}};
    c.add(o1);
    auto ask = [&](uint64_t id) {
      c->origin_closed(id, o1.id(), c.now());
      c.drain();
    };
    ask(1);
    c.answer_probe(true, o1.id());
    ask(2);
    c.answer_probe(false);
    EXPECT_FALSE(c.verdicts.contains(2));
    ASSERT_EQ(c.probes.size(), 1u);
    EXPECT_EQ(c.probes.front().kind, probe_kind::rtmp_handshake);
    c.answer_probe(rtmp_lives);
    EXPECT_EQ(c.verdicts.at(2), rtmp_lives ? origin_verdict::alive : origin_verdict::dead);
    EXPECT_EQ(c.health(o1.id()), rtmp_lives ? origin_health::alive : origin_health::dead);
    c.probes.clear();
    c.pass(2s);  // its API is asked again: it has answered once
    ASSERT_EQ(c.probes.size(), 1u);
    EXPECT_EQ(c.probes.front().kind, probe_kind::api_versions);
  }
}

TEST(registry, verdicts_after_a_close) {
  cluster_harness c;
  c.hold_probes = true;
  auto o1 = sluice_at("o1", 1001);
  o1.api = {{o1.address, 1985}};
  c.add(o1);
  auto ask = [&](uint64_t id) {
    c->origin_closed(id, o1.id(), c.now());
    c.drain();
  };
  ask(1);
  ask(2);  // came after the probe left: an answer to that one proves nothing about now
  c.answer_probe(true, o1.id());
  EXPECT_EQ(c.verdicts.at(1), origin_verdict::alive);
  EXPECT_FALSE(c.verdicts.contains(2));
  c.answer_probe(false);  // the API, then RTMP
  c.answer_probe(false);
  EXPECT_EQ(c.verdicts.at(2), origin_verdict::dead);
  ask(3);
  EXPECT_EQ(c.verdicts.at(3), origin_verdict::dead);  // known already

  c.probes.clear();
  c.add(o1);
  ask(4);
  c.answer_probe(true, sluice_at("o1", 1001, "new").id());
  EXPECT_EQ(c.verdicts.at(4), origin_verdict::new_incarnation);
  EXPECT_EQ(c.health(o1.id()), origin_health::dead);

  c.add(sluice_at("o1", 1001, "new"));
  ask(5);
  EXPECT_EQ(c.verdicts.at(5), origin_verdict::new_incarnation);
}

/// Its RTMP port is wedged, its heartbeats and its API go on: only an answer by RTMP makes it alive.
TEST(registry, a_heartbeat_does_not_raise_the_dead) {
  cluster_harness c;
  c.hold_probes = true;
  auto o1 = sluice_at("o1", 1001);
  o1.api = {{o1.address, 1985}};
  c.add(o1);
  c->dial_failed(o1.id(), c.now());
  c.drain();
  c.add(o1);  // a heartbeat while the probe is out
  EXPECT_EQ(c.health(o1.id()), origin_health::suspect);
  c.answer_probe(true, o1.id());  // the API
  ASSERT_EQ(c.probes.size(), 1u);
  EXPECT_EQ(c.probes.front().kind, probe_kind::rtmp_handshake);
  c.answer_probe(false);
  EXPECT_EQ(c.health(o1.id()), origin_health::dead);
  for (int beat = 0; beat < 5; ++beat) {
    c.events.clear();
    c.pass(1s);
    c.add(o1);
    EXPECT_EQ(c.health(o1.id()), origin_health::suspect);
    c.claim(static_cast<uint64_t>(beat), {"v", "live", std::to_string(beat)});
    EXPECT_NE(c.claim_error(static_cast<uint64_t>(beat)), "granted");
    c.answer_probe(true, o1.id());
    c.answer_probe(false);
    EXPECT_EQ(c.health(o1.id()), origin_health::dead);
    EXPECT_TRUE(c.probes.empty());
    EXPECT_FALSE(c.events.contains("origin_back"));
    EXPECT_FALSE(c.events.contains("origin_dead"));  // told once
  }
  c.claim(100, key_a);
  c.add(o1);
  c.answer_probe(true, o1.id());
  EXPECT_EQ(c.claim_error(100), "unanswered");
  c.answer_probe(true);
  EXPECT_EQ(c.health(o1.id()), origin_health::alive);
  EXPECT_EQ(c.claim_error(100), "granted");
  EXPECT_TRUE(c.events.contains("origin_back"));
}

TEST(registry, a_probe_sent_before_a_dial_failed_proves_nothing) {
  cluster_harness c;
  c.hold_probes = true;
  const auto o1 = sluice_at("o1", 1001);
  c.add(o1);
  c->origin_closed(1, o1.id(), c.now());
  c.drain();
  c.pass(100ms);
  c->dial_failed(o1.id(), c.now());
  c.drain();
  c.answer_probe(true);
  EXPECT_EQ(c.verdicts.at(1), origin_verdict::alive);
  EXPECT_EQ(c.health(o1.id()), origin_health::suspect);
  c.answer_probe(true);
  EXPECT_EQ(c.health(o1.id()), origin_health::alive);
}

TEST(registry, a_new_incarnation_answers_those_who_ask) {
  cluster_harness c;
  c.hold_probes = true;
  const auto old = sluice_at("o1", 1001, "old");
  c.add(old);
  c->origin_closed(1, old.id(), c.now());
  c.add(sluice_at("o1", 1001, "new"));
  EXPECT_EQ(c.verdicts.at(1), origin_verdict::new_incarnation);
}

TEST(registry, is_bounded) {
  coordinator_config config;
  config.origins_max = 3;
  cluster_harness c(config);
  for (uint16_t i = 0; i < 3; ++i) EXPECT_TRUE(c.add(sluice_at("o" + std::to_string(i), 1000 + i)));
  const auto refused = c.add(sluice_at("o9", 1009));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "too_many_origins");
  EXPECT_EQ(http_status_of(refused.error()), 503);
}

TEST(registry, snapshots_are_announced_at_most_ten_times_a_second) {
  cluster_harness c;
  const int before = c.snapshots;
  for (int i = 0; i < 1000; ++i) {
    c.add(sluice_at("o1", 1001));
    c.pass(1ms);
  }
  EXPECT_GE(c.snapshots - before, 9);
  EXPECT_LE(c.snapshots - before, 11);
}

}  // namespace
}  // namespace sluice::cluster
