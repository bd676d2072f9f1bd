// Whether an origin lives: pings, silence, verdicts, mass silence, the circuit breaker.

#include <gtest/gtest.h>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

const auto o1 = sluice_at("o1", 1001);
const auto o2 = sluice_at("o2", 1002);
const auto nginx = origin_at("nginx", 1003);

/// The probe that is out, if it is the only one.
action::probe only_probe(cluster_harness& c) {
  EXPECT_EQ(c.probes.size(), 1u);
  return c.probes.empty() ? action::probe{} : c.probes.front();
}

TEST(liveness, a_sluice_origin_is_pinged_twice_a_second_and_one_without_streams_seldom) {
  struct row {
    origin_registration reg;
    bool published;
    probe_kind kind;
    size_t min, max;  // in 10 s
  };
  auto api = nginx;
  api.api = {{api.address, 1985}};
  const row rows[] = {{o1, false, probe_kind::rtmp_ping, 19, 21},
                      {nginx, false, probe_kind::rtmp_handshake, 4, 6},
                      {nginx, true, probe_kind::rtmp_handshake, 19, 21},
                      {api, true, probe_kind::api_versions, 19, 21}};
  for (const row& r : rows) {
    cluster_harness c;
    c.add(r.reg);
    if (r.published) c->publish_started(key_a, c.granted(key_a).epoch, c.now());
    c.asked.clear();
    c.pass(10s);
    EXPECT_GE(c.asked.size(), r.min);
    EXPECT_LE(c.asked.size(), r.max);
    for (probe_kind kind : c.asked) EXPECT_EQ(kind, r.kind);
    EXPECT_EQ(c.health(r.reg.id()), origin_health::alive);
  }
}

TEST(liveness, silence_makes_suspect_after_one_second_and_dead_after_two) {
  cluster_harness c;
  c.add(o1);
  c.add(o2);
  c.pass(10s);
  c.freeze(o1.id());
  c->heard(o1.id(), c.now().now);  // its last byte
  c.pass(999ms);
  EXPECT_EQ(c.health(o1.id()), origin_health::alive);
  c.pass(1ms);
  EXPECT_EQ(c.health(o1.id()), origin_health::suspect);
  c.add(o1);  // a heartbeat is no sign of life
  c.pass(999ms);
  EXPECT_TRUE(c.lost.empty());
  c.pass(1ms);
  EXPECT_EQ(c.health(o1.id()), origin_health::dead);
  ASSERT_EQ(c.lost.size(), 1u);
  EXPECT_EQ(c.lost[0].origin_id, o1.id());
  EXPECT_EQ(c.lost[0].reason, loss_reason::silent);
  c.pass(20s);
  c.add(o1);
  c.pass(1s);
  EXPECT_EQ(c.health(o1.id()), origin_health::dead);
  EXPECT_EQ(c.lost.size(), 1u);  // told once
  EXPECT_EQ(c.health(o2.id()), origin_health::alive);
  c.frozen.clear();
  c.add(o1);
  EXPECT_EQ(c.health(o1.id()), origin_health::alive);
  EXPECT_TRUE(c.events.contains("origin_back"));
}

TEST(liveness, bytes_of_any_session_keep_an_origin_alive) {
  cluster_harness c;
  c.add(o1);
  c.add(o2);
  c.freeze(o1.id());
  for (int i = 0; i < 40; ++i) {
    c->heard(o1.id(), c.now().now);
    c.pass(900ms);
    EXPECT_EQ(c.health(o1.id()), origin_health::alive);
  }
  c.pass(200ms);
  EXPECT_EQ(c.health(o1.id()), origin_health::suspect);
  c->heard(o1.id(), c.now().now);
  c.pass(500ms);
  EXPECT_EQ(c.health(o1.id()), origin_health::alive);
}

/// One that is asked every two seconds is not silent after one; once it does not answer it is asked often.
TEST(liveness, silence_counts_only_as_far_as_somebody_asked) {
  cluster_harness c;
  c.add(nginx);
  c.add(o1);
  c.pass(10s);
  c.freeze(nginx.id());
  c.pass(1900ms);
  EXPECT_NE(c.health(nginx.id()), origin_health::dead);
  c.pass(2100ms);
  EXPECT_EQ(c.health(nginx.id()), origin_health::dead);
}

TEST(liveness, a_refused_ping_is_asked_once_more) {
  for (const bool listens : {true, false}) {
    cluster_harness c;
    c.hold_probes = true;
    c.add(o1);
    c.pass(500ms);
    EXPECT_EQ(only_probe(c).kind, probe_kind::rtmp_ping);
    c.answer_probe(probe_answer::gone);
    EXPECT_TRUE(c.lost.empty());
    EXPECT_EQ(only_probe(c).kind, probe_kind::rtmp_handshake);
    c.answer_probe(listens ? probe_answer::ok : probe_answer::gone);
    EXPECT_EQ(c.health(o1.id()), listens ? origin_health::alive : origin_health::dead);
    ASSERT_EQ(c.lost.size(), listens ? 0u : 1u);
    if (!listens) EXPECT_EQ(c.lost[0].reason, loss_reason::gone);
  }
}

TEST(liveness, a_silent_ping_is_nothing_by_itself) {
  cluster_harness c;
  c.hold_probes = true;
  c.add(o1);
  c.pass(500ms);
  c.answer_probe(probe_answer::silent);
  EXPECT_EQ(c.health(o1.id()), origin_health::alive);
  EXPECT_TRUE(c.probes.empty());
  c.pass(450ms);
  EXPECT_EQ(only_probe(c).kind, probe_kind::rtmp_ping);
}

TEST(liveness, a_verdict_waits_for_an_answer_or_for_the_end_of_patience) {
  for (const bool comes_back : {true, false}) {
    cluster_harness c;
    c.add(o1);
    c.add(o2);
    c.pass(5s);
    c.freeze(o1.id());
    c->heard(o1.id(), c.now().now);
    c.asked.clear();
    c->origin_closed(1, o1.id(), c.now());
    c.drain();
    c.pass(1700ms);
    EXPECT_FALSE(c.verdicts.contains(1));
    EXPECT_GE(c.asked.size(), 6u);  // it is asked again at once
    if (comes_back) c.frozen.clear();
    c.pass(300ms);
    ASSERT_TRUE(c.verdicts.contains(1));
    EXPECT_EQ(c.verdicts.at(1), comes_back ? origin_verdict::alive : origin_verdict::dead);
  }
}

/// Too slow for any probe, but its other connections go on: nobody waits for ever.
TEST(liveness, bytes_answer_a_question_in_the_end) {
  cluster_harness c;
  c.add(o1);
  c.freeze(o1.id());
  c->origin_closed(1, o1.id(), c.now());
  for (int i = 0; i < 25; ++i) {
    c.pass(100ms);
    c->heard(o1.id(), c.now().now);
  }
  ASSERT_TRUE(c.verdicts.contains(1));
  EXPECT_EQ(c.verdicts.at(1), origin_verdict::alive);
}

TEST(liveness, a_killed_origin_is_dead_at_once) {
  cluster_harness c;
  c.add(o1);
  c.pass(5s);
  c.alive.erase(o1.id());
  c->origin_closed(1, o1.id(), c.now());
  c.drain();
  EXPECT_EQ(c.verdicts.at(1), origin_verdict::dead);
  ASSERT_EQ(c.lost.size(), 1u);
  EXPECT_EQ(c.lost[0].reason, loss_reason::gone);
}

TEST(liveness, another_incarnation_is_a_loss_too) {
  cluster_harness c;
  c.add(o1);
  c.add(sluice_at("o1", 1001, "new"));
  ASSERT_EQ(c.lost.size(), 1u);
  EXPECT_EQ(c.lost[0].origin_id, o1.id());
  EXPECT_EQ(c.lost[0].reason, loss_reason::gone);
}

class mass_silence : public testing::Test {
 protected:
  void add(int count) {
    for (int i = 0; i < count; ++i) {
      ids_.push_back(sluice_at("o" + std::to_string(i), static_cast<uint16_t>(1000 + i)).id());
      c.add(sluice_at("o" + std::to_string(i), static_cast<uint16_t>(1000 + i)));
    }
    c.pass(20s);
  }
  void freeze(int from, int to) {
    for (int i = from; i < to; ++i) c.freeze(ids_[static_cast<size_t>(i)]);
  }
  cluster_harness c;
  std::vector<std::string> ids_;
};

TEST_F(mass_silence, of_half_the_origins_moves_nothing) {
  add(4);
  freeze(0, 2);
  c.pass(60s);
  EXPECT_TRUE(c.lost.empty());
  EXPECT_TRUE(c.events.contains("mass_silence"));
  EXPECT_TRUE(c->snapshot().mass_silence);
  EXPECT_EQ(c.health(ids_[0]), origin_health::suspect);
  // One answers: the other is alone with its silence, which counts from now on.
  c.frozen.erase(ids_[0]);
  c.pass(1s);
  EXPECT_EQ(c.health(ids_[0]), origin_health::alive);
  EXPECT_EQ(c.health(ids_[1]), origin_health::suspect);
  EXPECT_FALSE(c->snapshot().mass_silence);
  c.pass(2s);
  EXPECT_EQ(c.health(ids_[1]), origin_health::dead);
}

/// They go on together, but somebody is the first to answer.
TEST_F(mass_silence, its_end_kills_nobody_who_is_about_to_answer) {
  add(4);
  freeze(0, 3);
  c.pass(10s);
  for (size_t i = 0; i < 3; ++i) {
    c.frozen.erase(ids_[i]);
    c.pass(600ms);
  }
  EXPECT_TRUE(c.lost.empty());
  for (const auto& id : ids_) EXPECT_EQ(c.health(id), origin_health::alive) << id;
  EXPECT_FALSE(c->snapshot().mass_silence);
}

TEST_F(mass_silence, of_less_than_half_does_not_count) {
  add(5);
  freeze(0, 2);
  c.pass(2100ms);
  EXPECT_EQ(c.lost.size(), 2u);
  EXPECT_FALSE(c->snapshot().mass_silence);
}

TEST_F(mass_silence, one_alone_is_never_a_mass) {
  add(2);
  freeze(0, 1);
  c.pass(2100ms);
  EXPECT_EQ(c.lost.size(), 1u);
}

TEST_F(mass_silence, who_is_proven_gone_is_dead_all_the_same) {
  add(4);
  freeze(0, 3);
  c.pass(5s);
  EXPECT_TRUE(c.lost.empty());
  c.frozen.erase(ids_[0]);
  c.alive.erase(ids_[0]);
  c.pass(1s);
  EXPECT_EQ(c.health(ids_[0]), origin_health::dead);
  EXPECT_EQ(c.health(ids_[1]), origin_health::suspect);
}

TEST_F(mass_silence, those_that_fall_silent_one_after_another_within_the_window_count_together) {
  add(4);
  freeze(0, 1);
  c.pass(3s);
  EXPECT_EQ(c.lost.size(), 1u);
  freeze(1, 2);
  c.pass(5s);
  EXPECT_EQ(c.health(ids_[1]), origin_health::suspect);
  c.pass(5s);  // the first one's death is 10 s ago, from now on the other's silence counts
  EXPECT_EQ(c.health(ids_[1]), origin_health::suspect);
  c.pass(2s);
  EXPECT_EQ(c.health(ids_[1]), origin_health::dead);
}

/// The proxy itself was stopped: what did not come meanwhile says nothing.
TEST_F(mass_silence, a_proxy_that_was_stopped_blames_nobody) {
  add(3);
  c.hold_probes = true;
  c.pass(400ms);  // some pings are out
  c.stopped(30s);
  EXPECT_TRUE(c.lost.empty());
  for (const auto& id : ids_) EXPECT_EQ(c.health(id), origin_health::alive) << id;
  c.hold_probes = false;
  c.answer_held_probes();
  c.pass(10s);
  EXPECT_TRUE(c.lost.empty());
}

TEST(breaker, sessions_that_fail_in_a_row_open_it_and_one_is_tried_later) {
  cluster_harness c;
  c.add(o1);
  c.add(o2);
  for (int i = 0; i < 5; ++i) {
    EXPECT_FALSE(c.breaker(o1.id()));
    c->dial_failed(o1.id(), c.now());  // its probes are answered
    c.drain();
    EXPECT_EQ(c.health(o1.id()), origin_health::alive);
  }
  EXPECT_TRUE(c.breaker(o1.id()));
  for (int i = 0; i < 20; ++i) EXPECT_EQ(c.granted({"v", "live", std::to_string(i)}).server_id, "o2");
  c.pass(5s);
  EXPECT_FALSE(c.breaker(o1.id()));
  int tried = 0;
  for (int i = 100; i < 120; ++i) tried += c.granted({"v", "live", std::to_string(i)}).server_id == "o1" ? 1 : 0;
  EXPECT_EQ(tried, 1);
  EXPECT_TRUE(c.breaker(o1.id()));
  c->dial_ok(o1.id(), c.now());
  EXPECT_FALSE(c.breaker(o1.id()));
}

TEST(breaker, closes_before_the_session_was_agreed_count_and_kicks_do_not) {
  for (const bool agreed : {true, false}) {
    cluster_harness c;
    c.add(o1);
    for (uint64_t i = 0; i < 5; ++i) {
      c->origin_closed(i, o1.id(), c.now(), agreed);
      c.drain();
      EXPECT_EQ(c.verdicts.at(i), origin_verdict::alive);
    }
    EXPECT_EQ(c.breaker(o1.id()), !agreed);
    EXPECT_EQ(c.granted(key_a).server_id, "o1");  // there is no other
  }
}

}  // namespace
}  // namespace sluice::cluster
