// Several servers that say they are at one address.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

origin_registration with_api(origin_registration reg, uint16_t port) {
  reg.api = {{reg.address, port}};
  return reg;
}

const auto older = with_api(sluice_at("o1", 1001), 1985);
const auto newer = with_api(sluice_at("o2", 1001), 1986);

enum class reply : uint8_t { itself, other, nameless, silent };

/// What each answers by its API; `silent` then refuses RTMP too, unless it goes on.
void answer_all(cluster_harness& c, reply by_older, reply by_newer) {
  for (int i = 0; i < 8 && !c.probes.empty(); ++i) {
    const action::probe probe = c.probes.front();
    const reply r = probe.origin_id == older.id() ? by_older : by_newer;
    const bool names = probe.kind == probe_kind::api_versions && (r == reply::itself || r == reply::other);
    const std::string name = r == reply::itself ? probe.origin_id : "somebody-else-1";
    c.answer_probe(r != reply::silent, names ? std::optional(name) : std::nullopt);
  }
}

TEST(contest, of_two_servers_at_one_address_the_one_that_is_not_there_is_void) {
  struct row {
    reply by_older, by_newer;
    bool older_stays, newer_stays;
  };
  const row rows[] = {
      {reply::itself, reply::itself, true, true},     {reply::itself, reply::other, true, false},
      {reply::itself, reply::nameless, true, false},  {reply::itself, reply::silent, true, false},
      {reply::other, reply::itself, false, true},     {reply::silent, reply::itself, false, true},
      {reply::other, reply::nameless, false, true},   {reply::silent, reply::nameless, false, true},
      {reply::nameless, reply::other, true, false},   {reply::nameless, reply::itself, true, true},
      {reply::nameless, reply::nameless, true, true}, {reply::silent, reply::silent, true, true},
  };
  for (const row& r : rows) {
    SCOPED_TRACE(std::to_string(static_cast<int>(r.by_older)) + " " + std::to_string(static_cast<int>(r.by_newer)));
    cluster_harness c;
    c.hold_probes = true;
    ASSERT_TRUE(c.add(older));
    ASSERT_TRUE(c.add(newer));
    EXPECT_TRUE(c.knows(older.id()));  // nothing before it was asked
    answer_all(c, r.by_older, r.by_newer);
    EXPECT_EQ(c.knows(older.id()), r.older_stays);
    EXPECT_EQ(c.knows(newer.id()), r.newer_stays);
    const bool both = r.by_older == reply::itself && r.by_newer == reply::itself;
    EXPECT_EQ(c.events.contains("address_twice"), both);
    EXPECT_EQ(c.events.contains("origin_void"), !r.older_stays || !r.newer_stays);
  }
}

/// Anybody in the network may register: that takes no stream from an origin that is there.
TEST(contest, a_registration_does_not_evict_a_living_origin) {
  cluster_harness c;
  const auto victim = sluice_at("o1", 1001);
  const auto evil = origin_at("evil", 1001);
  c.add(victim);
  for (int i = 0; i < 100; ++i) {
    c.pass(1s);
    EXPECT_TRUE(c.add(victim));
    c.add(evil);
    EXPECT_EQ(c.granted({"v", "live", std::to_string(i)}).server_id, "o1");
  }
}

TEST(contest, when_neither_can_be_told_heartbeats_decide) {
  cluster_harness c;
  const auto first = sluice_at("o1", 1001);
  const auto second = sluice_at("o2", 1001);
  c.add(first);
  c.add(second);
  for (int i = 0; i < 5; ++i) {
    c.pass(1s);
    c.add(first);
    c.add(second);
    EXPECT_EQ(c.granted(key_a).server_id, "o1");
  }
  for (int i = 0; i < 4; ++i) {
    c.pass(1s);
    c.add(second);
  }
  EXPECT_FALSE(c.knows(first.id()));
  EXPECT_EQ(c.granted(key_a).server_id, "o2");
}

TEST(contest, a_void_origin_that_answers_elsewhere_is_taken_back) {
  for (const bool answers : {true, false}) {
    cluster_harness c;
    c.hold_probes = true;
    c.add(older);
    c.add(newer);
    answer_all(c, reply::silent, reply::itself);
    ASSERT_FALSE(c.knows(older.id()));
    const auto again = c.add(older);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().reason, "voided_incarnation");
    auto moved = older;
    moved.rtmp = {{older.address, 1002}};
    EXPECT_TRUE(c.add(moved));
    EXPECT_EQ(c.health(older.id()), origin_health::suspect);
    for (uint64_t i = 0; i < 20; ++i) EXPECT_EQ(c.granted({"v", "live", std::to_string(i)}).server_id, "o2");
    answer_all(c, answers ? reply::itself : reply::silent, reply::itself);
    EXPECT_EQ(c.knows(older.id()), answers);
    if (answers) EXPECT_EQ(c.health(older.id()), origin_health::alive);
    EXPECT_EQ(c.add(older).has_value(), answers);
  }
}

TEST(contest, an_old_incarnation_does_not_return_over_the_new_one) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001, "old"));
  c.add(sluice_at("o1", 1001, "new"));
  auto moved = sluice_at("o1", 1002, "new");
  c.add(moved);
  EXPECT_FALSE(c.add(sluice_at("o1", 1002, "old")));
  EXPECT_TRUE(c.knows(moved.id()));
}

/// A heartbeat of a process that died comes late, after the first of its successor: nobody takes the living for gone.
TEST(contest, at_one_address_the_api_tells_which_incarnation_is_there) {
  for (const bool late : {true, false}) {
    cluster_harness c;
    c.hold_probes = true;
    const auto known = with_api(sluice_at("o1", 1001, "x"), 1985);
    const auto other = with_api(sluice_at("o1", 1001, "y"), 1985);
    c.add(known);
    c->origin_closed(1, known.id(), c.now());
    c.drain();
    c.answer_probe(true, known.id());
    c.add(other);
    ASSERT_EQ(c.probes.size(), 1u);
    EXPECT_EQ(c.probes.front().kind, probe_kind::api_versions);
    EXPECT_TRUE(c.lost.empty());
    c.answer_probe(true, late ? known.id() : other.id());
    EXPECT_EQ(c.knows(known.id()), late);
    EXPECT_EQ(c.knows(other.id()), !late);
    ASSERT_EQ(c.lost.size(), 1u);
    EXPECT_EQ(c.lost[0].origin_id, late ? other.id() : known.id());
    EXPECT_EQ(c.add(other).has_value(), !late);
  }
}

TEST(contest, who_goes_on_was_voided_wrongly) {
  cluster_harness c;
  const auto living = sluice_at("o1", 1001, "x");
  const auto dead = sluice_at("o1", 1001, "y");
  c.add(living);
  c.add(dead);  // its last words
  EXPECT_FALSE(c.knows(living.id()));
  int refused = 0;
  for (int i = 0; i < 5; ++i) {
    c.pass(1s);
    refused += c.add(living) ? 0 : 1;
  }
  EXPECT_LE(refused, 2);
  EXPECT_TRUE(c.knows(living.id()));
  EXPECT_FALSE(c.knows(dead.id()));
  EXPECT_FALSE(c.add(dead));
}

/// As a server is remembered that was restarted twice in the time of a record.
const std::array incarnations = {sluice_at("o1", 1001, "a"), sluice_at("o1", 1001, "b"), sluice_at("o1", 1001, "c")};
const auto& last_incarnation = incarnations.back();

TEST(contest, of_the_incarnations_in_the_store_the_last_one_counts_in_whatever_order_they_are_read) {
  std::array order = {0, 1, 2};
  do {
    for (const int heartbeat_before : {-1, 0, 1, 2}) {
      SCOPED_TRACE(::testing::PrintToString(order) + " " + std::to_string(heartbeat_before));
      cluster_harness c;
      for (int i = 0; i < 3; ++i) {
        if (heartbeat_before == i) c.add(last_incarnation);
        c.remember(incarnations[static_cast<size_t>(order[static_cast<size_t>(i)])],
                   std::chrono::seconds(60 - 20 * order[static_cast<size_t>(i)]));
      }
      EXPECT_TRUE(c.knows(last_incarnation.id()));
      EXPECT_EQ(c->snapshot().origins.size(), 1u);
      for (const auto& l : c.lost) EXPECT_NE(l.origin_id, last_incarnation.id());
      EXPECT_TRUE(c.add(last_incarnation));
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(contest, what_the_store_remembers_takes_the_place_of_nobody_whose_heartbeats_go_on) {
  cluster_harness c;
  c.add(incarnations[1]);
  c.beats({incarnations[1]}, 3);
  const auto refused = c.remember(incarnations[0], -1s);  // by a clock that is ahead
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "outdated_record");
  EXPECT_TRUE(c.lost.empty());
  c.pass(4s);
  EXPECT_FALSE(c.remember(incarnations[0], 5s)) << "it is silent, but was there later";
  EXPECT_FALSE(c.remember(incarnations[2], 1s)) << "it may have stopped for a moment";
  c.pass(30s);
  EXPECT_TRUE(c.remember(incarnations[2], 1s)) << "it was restarted since";
  EXPECT_FALSE(c.knows(incarnations[1].id()));
  EXPECT_TRUE(c.knows(incarnations[2].id()));
}

TEST(contest, what_the_store_remembers_is_no_sign_that_a_void_incarnation_goes_on) {
  cluster_harness c;
  c.add(incarnations[0]);
  c.add(incarnations[1]);
  c.pass(30s);  // the later one is away
  EXPECT_FALSE(c.remember(incarnations[0], 35s));
  EXPECT_TRUE(c.knows(incarnations[1].id()));
}

TEST(contest, who_goes_on_is_taken_back_over_a_row_of_those_that_do_not) {
  for (const bool all_are_gone : {false, true}) {
    coordinator_config config;
    config.origin_ttl = all_are_gone ? 2s : 300s;
    cluster_harness c(config);
    const auto& living = incarnations[0];
    c.add(living);
    c.add(incarnations[1]);  // late messages
    c.add(incarnations[2]);
    ASSERT_FALSE(c.knows(living.id()));
    if (all_are_gone) {
      c.pass(10s);
      ASSERT_TRUE(c->snapshot().origins.empty());
    }
    for (int i = 0; i < 5; ++i) {
      c.pass(1s);
      c.add(living);
    }
    EXPECT_TRUE(c.knows(living.id()));
    EXPECT_EQ(c->snapshot().origins.size(), 1u);
  }
}

/// Other programs' proxies hear of an origin, and write to the store; this one has heard of its former incarnation.
TEST(contest, a_record_that_is_written_anew_takes_the_place_of_one_whose_heartbeats_have_stopped) {
  cluster_harness c;
  const auto former = origin_at("o1", 1001, "a"), present = origin_at("o1", 1001, "b");
  for (int i = 0; i < 5; ++i) {
    c.add(former);
    c.pass(5s);
  }
  int seconds = 0;
  for (; seconds < 120 && !c.knows(present.id()); seconds += 10) {
    c.pass(10s);
    c.remember(former, 5s + 1s * (seconds + 10));  // until its time is over
    c.remember(present, 2s);
  }
  EXPECT_LE(seconds, 60);
  EXPECT_FALSE(c.knows(former.id()));
}

TEST(contest, who_was_voided_by_a_clock_that_is_ahead_is_taken_back_by_later_records) {
  cluster_harness c;
  const auto former = origin_at("o1", 1001, "a"), present = origin_at("o1", 1001, "b");
  c.remember(present, 3s);
  c.remember(former, 0s);
  ASSERT_FALSE(c.knows(present.id()));
  c.pass(10s);
  c.remember(former, 10s);
  c.remember(present, 1s);
  EXPECT_TRUE(c.knows(present.id()));
  EXPECT_FALSE(c.knows(former.id()));
}

TEST(contest, a_former_incarnation_in_the_store_is_outdated_at_whatever_address) {
  cluster_harness c;
  const auto present = sluice_at("o1", 1002, "b");
  c.add(present);
  c.freeze(present.id());
  c.pass(600ms);
  EXPECT_FALSE(c.remember(sluice_at("o1", 1001, "a"), 60s));
  c.pass(5s);
  EXPECT_TRUE(c.knows(present.id()));
}

TEST(contest, the_first_of_many_incarnations_does_not_come_back) {
  cluster_harness c;
  const auto numbered = [](int i) { return sluice_at("o1", 1001, "s" + std::to_string(i)); };
  constexpr int count = 50;
  for (int i = 0; i < count; ++i) c.add(numbered(i));
  EXPECT_FALSE(c.add(numbered(0)));
  EXPECT_TRUE(c.knows(numbered(count - 1).id()));
}

TEST(contest, a_heartbeat_from_the_address_of_another_is_disputed_too) {
  cluster_harness c;
  const auto victim = sluice_at("o1", 1001);
  auto evil = sluice_at("evil", 1002);
  c.add(victim);
  c.add(evil);
  evil.rtmp = victim.rtmp;
  c.add(evil);
  for (uint64_t i = 0; i < 20; ++i) EXPECT_EQ(c.granted({"v", "live", std::to_string(i)}).server_id, "o1");
  evil.rtmp = {{evil.address, 1002}};
  c.add(evil);  // away again: a candidate again
  c->dial_failed(victim.id(), c.now());
  EXPECT_EQ(c.granted(key_a, "s", {victim.id()}).server_id, "evil");
}

/// The shell lost the probes: the origins are judged together, and one of them ends the other.
TEST(contest, probes_that_are_lost_end_it_too) {
  cluster_harness c;
  c.hold_probes = true;
  const auto first = sluice_at("o1", 1001);
  auto second = sluice_at("o2", 1001);
  c.add(first);
  c.add(second);
  second.sluice->period_ms = 60'000;
  c.add(second);
  c.pass(100s);
  EXPECT_EQ(c.health(first.id()), origin_health::suspect);  // all are silent: not their fault
  EXPECT_EQ(c.health(second.id()), origin_health::suspect);
  c.hold_probes = false;
  c.alive.erase(first.id());
  c.probes.clear();
  c.pass(3s);
  EXPECT_FALSE(c.knows(first.id()));
  EXPECT_EQ(c.health(second.id()), origin_health::alive);
}

TEST(contest, servers_at_one_address_are_bounded) {
  cluster_harness c;
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(c.add(sluice_at("o" + std::to_string(i), 1001)));
  const auto refused = c.add(sluice_at("o9", 1001));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason, "too_many_origins");
  EXPECT_TRUE(c.add(sluice_at("o0", 1001)));  // heartbeats go on
}

}  // namespace
}  // namespace sluice::cluster
