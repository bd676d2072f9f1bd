#include "cluster/core/coordinator.hpp"

#include <gtest/gtest.h>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {
namespace {

stream_key numbered(int i) { return {"__defaultVhost__", "live", std::to_string(i)}; }

TEST(coordinator, assignment_tells_all_that_a_relay_needs) {
  cluster_harness c;
  auto o1 = sluice_at("o1", 1001);
  o1.device_id = "rack-7";
  c.add(o1);
  const assignment a = c.granted(key_a);
  EXPECT_EQ(a.origin_id, "o1-s1-1");
  EXPECT_EQ(a.server_id, "o1");
  EXPECT_EQ(a.device_id, "rack-7");
  EXPECT_EQ(a.rtmp, o1.rtmp);
  EXPECT_TRUE(a.is_sluice);
  EXPECT_TRUE(a.owned);
  EXPECT_EQ(a.epoch.counter, c.now().wall_ms);
  EXPECT_NE(a.epoch.claim_id, 0u);
}

TEST(coordinator, two_claims_at_once_have_one_owner) {
  cluster_harness c;
  for (uint16_t i = 0; i < 8; ++i) c.add(sluice_at("o" + std::to_string(i), 1000 + i));
  c.hold_store = true;
  c.claim(1, key_a, "s1");
  c.claim(2, key_a, "s2");
  EXPECT_EQ(c.claim_error(1), "unanswered");
  c.release_store();
  c.release_store();
  ASSERT_EQ(c.claim_error(1), "granted");
  ASSERT_EQ(c.claim_error(2), "granted");
  EXPECT_EQ(c.claims.at(1)->origin_id, c.claims.at(2)->origin_id);
  EXPECT_EQ(c.claims.at(1)->epoch, c.claims.at(2)->epoch);
}

/// Two proxies on one store: both agree, whoever is first.
TEST(coordinator, two_proxies_claim_in_the_same_instant) {
  memory_store store([] { return base::time_point(); });
  const moment at{base::time_point(1h), 1'700'000'000'000};
  std::vector<std::unique_ptr<coordinator>> proxies;
  for (uint64_t seed : {1, 2}) {
    coordinator_config config;
    config.seed = seed;
    proxies.push_back(std::make_unique<coordinator>(config, at));
    // The second does not know of the first origin yet, so it would place the stream elsewhere.
    if (seed == 1) ASSERT_TRUE(proxies.back()->registration(sluice_at("o1", 1001), at));
    ASSERT_TRUE(proxies.back()->registration(sluice_at("o2", 1002), at));
  }
  ASSERT_TRUE(proxies[1]->registration(sluice_at("o1", 1001), at));
  std::vector<store_request> steps[2];
  std::vector<assignment> got;
  auto drain = [&](size_t i) {
    while (auto next = proxies[i]->poll_action()) {
      if (auto* s = std::get_if<action::store>(&*next)) steps[i].push_back(s->request);
      if (auto* r = std::get_if<action::reply_claim>(&*next)) got.push_back(r->answer.value());
    }
  };
  for (size_t i : {0u, 1u}) {
    proxies[i]->claim(1, key_a, {.session = "s"}, at);
    drain(i);
    ASSERT_EQ(steps[i].size(), 1u);
  }
  for (size_t i : {1u, 0u}) {
    store.submit(steps[i].front(), [&](store_reply reply) { proxies[i]->store_replied(std::move(reply), at); });
    drain(i);
  }
  ASSERT_EQ(got.size(), 2u);
  EXPECT_EQ(got[0].origin_id, got[1].origin_id);
  EXPECT_EQ(got[0].epoch, got[1].epoch);
}

TEST(coordinator, a_dead_origin_is_never_picked) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  c.add(sluice_at("o2", 1002));
  c.kill("o1-s1-1");
  EXPECT_EQ(c.health("o1-s1-1"), origin_health::dead);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(c.granted(numbered(i)).server_id, "o2");
}

TEST(coordinator, when_a_dial_fails_the_next_is_tried_at_once) {
  cluster_harness c;
  c.hold_probes = true;  // no verdict yet
  for (uint16_t i = 0; i < 4; ++i) c.add(sluice_at("o" + std::to_string(i), 1000 + i));
  std::vector<std::string> tried;
  epoch last;
  for (int i = 0; i < 4; ++i) {
    const assignment a = c.granted(key_a, "s", tried);
    EXPECT_EQ(std::count(tried.begin(), tried.end(), a.origin_id), 0);
    EXPECT_GT(a.epoch, last);
    last = a.epoch;
    tried.push_back(a.origin_id);
    c->dial_failed(a.origin_id, c.now());
    c.drain();
    EXPECT_EQ(c.health(a.origin_id), origin_health::suspect);
  }
  c.claim(1, key_a, "s", tried);
  EXPECT_EQ(c.claim_error(1), "unanswered");  // all failed: perhaps one comes back
  c.pass(1s);
  c->dial_ok(tried[2], c.now());
  c.drain();
  ASSERT_EQ(c.claim_error(1), "granted");
  EXPECT_EQ(c.claims.at(1)->origin_id, tried[2]);
}

TEST(coordinator, an_origin_that_failed_a_dial_stays_excluded_until_it_answers) {
  cluster_harness c;
  c.hold_probes = true;
  const auto o1 = sluice_at("o1", 1001);
  c.add(o1);
  const assignment a = c.granted(key_a);
  c->dial_failed(a.origin_id, c.now());
  c.claim(1, key_a, "s", {a.origin_id});
  c.add(o1);
  EXPECT_EQ(c.claim_error(1), "unanswered");  // a heartbeat says nothing
  c.answer_probe(true);
  EXPECT_EQ(c.claim_error(1), "granted");
  // Also when the answer came while the claim was elsewhere.
  c.claim(2, key_a, "s", {a.origin_id});
  EXPECT_EQ(c.claim_error(2), "granted");
}

/// With one origin that answers probes and no dial, the publisher hears of it after claim_wait, not after that of each
/// of his tries.
TEST(coordinator, the_wait_of_a_claim_is_counted_over_all_tries) {
  cluster_harness c;
  c.hold_probes = true;
  const auto o1 = sluice_at("o1", 1001);
  const auto o2 = sluice_at("o2", 1002);
  c.add(o1);
  c.add(o2);
  std::vector<std::string> failed;
  for (int i = 0; i < 2; ++i) {
    const assignment a = c.granted(key_a, "s", failed);
    c.pass(1s);
    failed.push_back(a.origin_id);
    c->dial_failed(a.origin_id, c.now());
    c.drain();
  }
  c.claim(1, key_a, "s", failed);
  c.pass(900ms);
  EXPECT_EQ(c.claim_error(1), "unanswered");
  c.pass(200ms);
  EXPECT_EQ(c.claim_error(1), "no_origin");
}

TEST(coordinator, a_claim_whose_time_is_over_only_goes_where_an_origin_lives) {
  for (const bool lives : {true, false}) {
    cluster_harness c;
    const auto o1 = sluice_at("o1", 1001);
    const auto o2 = sluice_at("o2", 1002);
    c.add(o1);
    c.add(o2);
    const assignment a = c.granted(key_a);
    const auto& other = a.origin_id == o1.id() ? o2 : o1;
    for (int i = 0; i < 4; ++i) {
      c.pass(1s);
      c.add(o1);
      c.add(o2);
    }
    c.hold_probes = true;
    c->dial_failed(a.origin_id, c.now());
    if (!lives) c->dial_failed(other.id(), c.now());
    c.claim(1, key_a, "s", {a.origin_id});
    EXPECT_EQ(c.claim_error(1), lives ? "granted" : "no_origin");
  }
}

TEST(coordinator, the_publish_of_another_is_not_moved_by_a_failed_dial) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  c.add(sluice_at("o2", 1002));
  const assignment a = c.granted(key_a, "first");
  c->publish_started(key_a, a.epoch, c.now());
  EXPECT_EQ(c.granted(key_a, "second", {a.origin_id}).origin_id, a.origin_id);
  // The publisher himself may move, when he has lost his origin.
  const assignment moved = c.granted(key_a, "first", {a.origin_id});
  EXPECT_NE(moved.origin_id, a.origin_id);
  EXPECT_GT(moved.epoch, a.epoch);
}

TEST(coordinator, a_returning_publisher_finds_his_origin_again) {
  cluster_harness c;
  for (uint16_t i = 0; i < 4; ++i) c.add(sluice_at("o" + std::to_string(i), 1000 + i));
  const assignment first = c.granted(key_a);
  c->publish_started(key_a, first.epoch, c.now());
  for (int i = 0; i < 300; ++i) {  // much longer than the TTL
    for (uint16_t k = 0; k < 4; ++k) c.add(sluice_at("o" + std::to_string(k), 1000 + k));
    c.pass(1s);
  }
  c->publish_ended(key_a, first.epoch, c.now());
  c.drain();
  auto beat = [&](int seconds) {
    for (int i = 0; i < seconds; ++i) {
      for (uint16_t k = 0; k < 4; ++k) c.add(sluice_at("o" + std::to_string(k), 1000 + k));
      c.pass(1s);
    }
  };
  beat(59);
  EXPECT_EQ(c.granted(key_a).epoch, first.epoch);
  // Nobody published in the end: the mapping goes.
  beat(62);
  EXPECT_GT(c.granted(key_a).epoch, first.epoch);
}

TEST(coordinator, renewals_come_every_third_of_the_ttl) {
  cluster_harness c;
  const assignment a = [&] {
    c.add(origin_at("o1", 1001));
    return c.granted(key_a);
  }();
  c->publish_started(key_a, a.epoch, c.now());
  const int before = c.store_writes;
  c.pass(200s);
  EXPECT_GE(c.store_writes - before, 10);  // of 60 s, every 15 … 20 s
  EXPECT_LE(c.store_writes - before, 14);
}

TEST(coordinator, a_new_incarnation_voids_the_mapping) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001, "old"));
  const assignment a = c.granted(key_a);
  c->publish_started(key_a, a.epoch, c.now());
  c.add(sluice_at("o1", 1001, "new"));
  c.find(1, key_a);
  EXPECT_EQ(c.find_error(1), "unanswered");
  const assignment b = c.granted(key_a);
  EXPECT_EQ(b.origin_id, "o1-new-1");
  EXPECT_GT(b.epoch, a.epoch);
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_EQ(c.finds.at(1)->epoch, b.epoch);
  // What the old publish still says is nobody's business now.
  c->publish_ended(key_a, a.epoch, c.now());
  c->publish_started(key_a, b.epoch, c.now());
  EXPECT_EQ(c->snapshot().streams, 1u);
}

TEST(coordinator, a_find_never_writes_and_waits_for_a_claim) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  for (uint64_t i = 0; i < 100; ++i) c.find(i, key_a);
  EXPECT_EQ(c.store_steps, 1);  // they share one question
  EXPECT_EQ(c.store_writes, 0);
  c.add(sluice_at("o1", 1001));
  c.pass(1500ms);
  EXPECT_EQ(c.store_steps, 2);
  const assignment a = c.granted(key_a);
  for (uint64_t i = 0; i < 100; ++i) {
    ASSERT_EQ(c.find_error(i), "granted") << i;
    EXPECT_EQ(c.finds.at(i)->epoch, a.epoch);
  }
}

TEST(coordinator, a_find_in_vain_ends_at_its_deadline) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  c.find(1, key_a);
  c.find(2, key_a, c.now().now + 2s);
  c.pass(1900ms);
  EXPECT_EQ(c.find_error(2), "unanswered");
  c.pass(200ms);
  EXPECT_EQ(c.find_error(2), "stream_not_found");
  c.pass(7800ms);
  EXPECT_EQ(c.find_error(1), "unanswered");
  c.pass(200ms);
  EXPECT_EQ(c.find_error(1), "stream_not_found");
  EXPECT_EQ(c.store_writes, 0);
}

TEST(coordinator, a_miss_is_remembered_for_a_second) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  for (uint64_t i = 0; i < 50; ++i) {
    c.find(i, key_a, c.now().now + 1ms);
    c.pass(10ms);
  }
  EXPECT_EQ(c.store_steps, 1);
  c.pass(1s);
  c.find(99, key_a);
  EXPECT_EQ(c.store_steps, 2);
}

TEST(coordinator, a_player_of_a_dead_owner_waits_for_the_next) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  const assignment a = c.granted(key_a);
  c.kill(a.origin_id);
  c.find(1, key_a);
  EXPECT_EQ(c.find_error(1), "unanswered");
  c.add(sluice_at("o2", 1002));
  EXPECT_EQ(c.find_error(1), "unanswered");  // only the publisher's proxy moves a stream
  const assignment b = c.granted(key_a);
  EXPECT_EQ(b.server_id, "o2");
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_EQ(c.finds.at(1)->server_id, "o2");
}

TEST(coordinator, a_player_of_an_owner_that_comes_back_goes_on) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  const assignment a = c.granted(key_a);
  c.kill(a.origin_id);
  c.find(1, key_a);
  c.add(sluice_at("o1", 1001));  // a heartbeat: it was only slow
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_EQ(c.finds.at(1)->epoch, a.epoch);
}

TEST(coordinator, play_unowned_relay_tries_the_first_candidate) {
  coordinator_config config;
  config.play_unowned = play_unowned::relay;
  cluster_harness c(config);
  c.find(1, key_a);
  EXPECT_EQ(c.find_error(1), "unanswered");
  for (uint16_t i = 0; i < 4; ++i) c.add(sluice_at("o" + std::to_string(i), 1000 + i));
  ASSERT_EQ(c.find_error(1), "granted");
  c.pass(2s);
  c.find(2, key_a);
  c.find(3, key_a);
  ASSERT_EQ(c.find_error(2), "granted");
  EXPECT_EQ(c.finds.at(2)->origin_id, c.finds.at(3)->origin_id);
  EXPECT_FALSE(c.finds.at(2)->owned);
  EXPECT_EQ(c.finds.at(2)->epoch, epoch{});
  EXPECT_EQ(c.store_writes, 0);
}

TEST(coordinator, a_publisher_waits_a_moment_for_an_origin) {
  cluster_harness c;
  c.claim(1, key_a);
  c.claim(2, key_b);
  c.pass(2900ms);
  EXPECT_EQ(c.claim_error(1), "unanswered");
  c->cancel(2, c.now());
  c.add(sluice_at("o1", 1001));
  EXPECT_EQ(c.claim_error(1), "granted");
  c.kill("o1-s1-1");
  c.claim(3, key_b);
  c.pass(3100ms);
  EXPECT_EQ(c.claim_error(3), "no_origin");
  EXPECT_EQ(c.claim_error(2), "unanswered");
}

TEST(coordinator, full_origins_get_nothing_more) {
  cluster_harness c;
  auto o1 = sluice_at("o1", 1001);
  o1.sluice->capacity = 5;
  o1.sluice->load.streams = 3;
  o1.sluice->whole = true;
  c.add(o1);
  const assignment a = c.granted(numbered(1));
  c.granted(numbered(2));
  c.claim(1, numbered(3));
  c.pass(4s);
  EXPECT_EQ(c.claim_error(1), "origins_full");
  EXPECT_EQ(c.granted(numbered(1)).epoch, a.epoch);  // its own stream is welcome
}

TEST(coordinator, a_claim_that_waits_for_room_goes_on_when_there_is_some) {
  cluster_harness c;
  auto o1 = sluice_at("o1", 1001);
  o1.sluice->capacity = 2;
  o1.sluice->load.streams = 2;
  o1.sluice->whole = true;
  c.add(o1);
  c.claim(1, numbered(1));
  c.claim(2, numbered(2));
  EXPECT_EQ(c.claim_error(1), "unanswered");
  o1.sluice->load.streams = 1;
  c.add(o1);
  ASSERT_NE(c.claim_error(1), c.claim_error(2));  // one of them has the place
  const bool first = c.claims.contains(1);
  c->cancel(first ? 1 : 2, c.now());  // and leaves it
  c.drain();
  EXPECT_EQ(c.claim_error(first ? 2 : 1), "granted");
}

TEST(coordinator, load_spreads_streams) {
  cluster_harness c;
  for (uint16_t i = 0; i < 4; ++i) c.add(origin_at("o" + std::to_string(i), 1000 + i));
  std::map<std::string, int> streams;
  for (int i = 0; i < 400; ++i) {
    const assignment a = c.granted(numbered(i));
    c->publish_started(numbered(i), a.epoch, c.now());
    ++streams[a.server_id];
  }
  for (const auto& [id, n] : streams) EXPECT_LE(n, 125) << id;
  EXPECT_EQ(c->snapshot().streams, 400u);
}

TEST(coordinator, default_backend_is_there_without_registration) {
  coordinator_config config;
  config.default_backend = origin_at("default", 1935);
  const std::string id = config.default_backend->id();
  cluster_harness c(config);
  EXPECT_EQ(c.granted(key_a).server_id, "default");
  c.pass(1000s);  // it has no TTL
  EXPECT_EQ(c.health(id), origin_health::alive);
  c.alive.clear();
  c.pass(5s);
  EXPECT_EQ(c.health(id), origin_health::dead);
  c.alive.insert(id);
  c.pass(5s);
  EXPECT_EQ(c.granted(key_b).server_id, "default");
}

TEST(coordinator, default_backend_that_registers_is_one_candidate) {
  coordinator_config config;
  config.default_backend = origin_at("default", 1935);
  cluster_harness c(config);
  c.add(sluice_at("o1", 1935));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(c.granted(numbered(i)).server_id, "o1");
}

TEST(coordinator, streams_and_requests_are_bounded) {
  coordinator_config config;
  config.streams_max = 10;
  config.requests_max = 20;
  cluster_harness c(config);
  for (int i = 0; i < 10; ++i) c.find(static_cast<uint64_t>(i), numbered(i));
  c.find(100, numbered(10));
  EXPECT_EQ(c.find_error(100), "too_many_streams");
  c.claim(101, numbered(10));
  EXPECT_EQ(c.claim_error(101), "too_many_streams");
  for (uint64_t i = 10; i < 20; ++i) c.find(i, numbered(0));
  c.find(102, numbered(0));
  EXPECT_EQ(c.find_error(102), "too_many_waiters");
  EXPECT_EQ(c->snapshot().waiting, 20u);
  c.pass(20s);  // all waits end, all misses are forgotten: no map only grows
  EXPECT_EQ(c->snapshot().waiting, 0u);
  c.add(sluice_at("o1", 1001));
  for (int i = 100; i < 110; ++i) c->publish_started(numbered(i), c.granted(numbered(i)).epoch, c.now());
  c.claim(103, numbered(110));
  EXPECT_EQ(c.claim_error(103), "too_many_streams");
  c->publish_ended(numbered(100), c.granted(numbered(100)).epoch, c.now());
  c.drain();
  EXPECT_EQ(c.granted(numbered(110)).server_id, "o1");
}

TEST(coordinator, cancel_means_no_reply) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  c.hold_store = true;
  c.claim(1, key_a);
  c.claim(2, key_a);
  c.find(3, key_b);
  c->cancel(1, c.now());
  c->cancel(3, c.now());
  c->cancel(77, c.now());
  for (int i = 0; i < 3; ++i) c.release_store();
  EXPECT_EQ(c.claim_error(1), "unanswered");
  EXPECT_EQ(c.claim_error(2), "granted");
  EXPECT_EQ(c.find_error(3), "unanswered");
  EXPECT_EQ(c->snapshot().waiting, 0u);
}

TEST(coordinator, a_failing_store_refuses_nobody_and_spares_what_runs) {
  cluster_harness c;
  c.add(sluice_at("o1", 1001));
  const assignment a = c.granted(key_a);
  c->publish_started(key_a, a.epoch, c.now());
  c.hold_store = true;
  c->claim(1, key_b, {.session = "s"}, c.now());
  std::optional<store_request> step;
  while (auto next = c->poll_action()) {
    if (auto* s = std::get_if<action::store>(&*next)) step = s->request;
  }
  ASSERT_TRUE(step);
  c->store_replied({step->op, base::fail("store_unavailable")}, c.now());
  c.drain();
  EXPECT_EQ(c.claim_error(1), "granted");
  c.find(2, key_a);
  EXPECT_EQ(c.find_error(2), "granted");  // published here: no store needed
  EXPECT_EQ(c.granted(key_a).epoch, a.epoch);
}

/// A renewal that meets a higher epoch: another proxy has moved the stream.
TEST(coordinator, a_renewal_learns_of_a_newer_owner) {
  cluster_harness c;
  c.add(origin_at("o1", 1001));
  c.add(origin_at("o2", 1002));
  const assignment a = c.granted(key_a);
  c->publish_started(key_a, a.epoch, c.now());
  c.hold_store = true;
  c.pass(20s);
  std::optional<store_request> renewal;
  const std::string other = a.server_id == "o1" ? "o2-s1-1" : "o1-s1-1";
  // The held step is the renewal: its number is the one after the claim's.
  const owner_record newer{other, {a.epoch.counter + 1, 7}, "proxy-2", 0, true};
  c->store_replied({2, std::optional(newer)}, c.now());
  c.drain();
  EXPECT_TRUE(c.events.contains("stream_lost"));
  EXPECT_EQ(c->snapshot().streams, 0u);
  c.find(1, key_a);
  ASSERT_EQ(c.find_error(1), "granted");
  EXPECT_EQ(c.finds.at(1)->origin_id, other);
}

/// Many streams, random events, under a seed: no request is lost, none answered twice, nothing is left over.
TEST(coordinator, nothing_is_left_over_after_a_storm) {
  cluster_harness c;
  uint64_t state = 7;
  auto random = [&](uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
  };
  std::map<uint64_t, epoch> started;
  std::set<uint64_t> cancelled;
  uint64_t id = 0;
  for (int turn = 0; turn < 5000; ++turn) {
    const auto port = static_cast<uint16_t>(random(5));
    const std::string server = "o" + std::to_string(port);
    const auto key = numbered(static_cast<int>(random(40)));
    switch (random(8)) {
      case 0:
        c.add(sluice_at(server, 1000 + port, "s" + std::to_string(turn / 500)));
        break;
      case 1:
        c.kill(sluice_at(server, 1000 + port, "s" + std::to_string(turn / 500)).id());
        break;
      case 2:
        c.claim(++id, key, "s" + std::to_string(random(50)));
        break;
      case 3:
        c.find(++id, key);
        break;
      case 4:
        if (id > 0) {
          const uint64_t victim = 1 + random(id);
          if (!c.claims.contains(victim) && !c.finds.contains(victim)) cancelled.insert(victim);
          c->cancel(victim, c.now());
        }
        break;
      case 5:
        for (const auto& [claim, answer] : c.claims) {
          if (answer && random(10) == 0) c->publish_started(key, answer->epoch, c.now());
        }
        break;
      case 6:
        for (const auto& [claim, answer] : c.claims) {
          if (answer) c->publish_ended(key, answer->epoch, c.now());
        }
        break;
      default:
        c.pass(std::chrono::milliseconds(random(3000)));
    }
    c.drain();
  }
  for (int i = 0; i < 40; ++i) {
    for (const auto& [claim, answer] : c.claims) {
      if (!answer) continue;
      for (int again = 0; again < 3; ++again) c->publish_ended(numbered(i), answer->epoch, c.now());
    }
  }
  c.pass(400s);
  EXPECT_EQ(c->snapshot().waiting, 0u);
  EXPECT_EQ(c->snapshot().streams, 0u);
  EXPECT_EQ(c.claims.size() + c.finds.size() + cancelled.size(), id);
  c.pass(400s);
  EXPECT_TRUE(c->snapshot().origins.empty());
  EXPECT_EQ(c->next_deadline(), base::never);
}

}  // namespace
}  // namespace sluice::cluster
