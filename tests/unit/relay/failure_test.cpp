#include <gtest/gtest.h>

#include <map>

#include "servers/rtmp/capabilities.hpp"
#include "unit/relay/support.hpp"

// What a proxy's clients hear when an origin refuses, closes, dies or cannot be reached.
namespace sluice::relay::test {
namespace {

using media::test::inter;
using media::test::key;
using codes = std::vector<std::string>;

/// A server that lives, and hangs up when somebody wants to publish or play: so stock servers refuse.
class rude_handler final : public servers::client_handler {
 public:
  explicit rude_handler(servers::connection& c) : client_(c) {}
  void on_connect(rtmp::connect_request) override {
    client_.session().accept_connect(servers::forward_capabilities(false));
  }
  void on_publish(rtmp::publish_request) override { client_.close("rude"); }
  void on_play(rtmp::play_request) override { client_.close("rude"); }
  void on_media(rtmp::message) override {}
  void on_stream_closed(uint32_t) override {}
  void on_closed() override {}

 private:
  servers::connection& client_;
};

/// A port where nobody listens.
base::endpoint dead_endpoint() {
  runtime::loop l;
  auto acceptor = runtime::tcp_acceptor::open(l, any_port(), {}, [](runtime::tcp_stream, const base::endpoint&) {});
  return (*acceptor)->local();
}

TEST_F(proxy_test, without_an_origin_a_publisher_is_denied) {
  cluster.claim_wait = milliseconds(50);
  auto& pub = client(0, ask_for(client_intent::publish, "a"));
  run_until(loop, [&] { return pub.ended; });
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.Denied"});
  EXPECT_FALSE(pub.reset);
}

TEST_F(proxy_test, a_stream_that_nobody_publishes_is_not_found_after_play_wait) {
  relays.play_wait = milliseconds(80);
  origin();
  const auto begin = loop.refresh();
  auto& p = player(0, "a");
  run_until(loop, [&] { return p.ended; });
  EXPECT_EQ(p.codes, codes{"NetStream.Play.StreamNotFound"});
  EXPECT_GE(loop.now() - begin, milliseconds(80));
}

TEST_F(proxy_test, a_bad_name_is_refused_by_the_proxy) {
  auto& pub = client(0, ask_for(client_intent::publish, "a{b}"));
  auto& p = client(1, ask_for(client_intent::play, ".."));
  run_until(loop, [&] { return pub.ended && p.ended; });
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.BadName"});
  EXPECT_EQ(p.codes, codes{"NetStream.Play.Failed"});
}

TEST_F(proxy_test, the_origins_refusal_reaches_the_second_publisher) {
  auto& o = add_origin({});
  o.stream_limits.policy = servers::second_publisher::refuse;
  o.start();
  introduce(o, true);
  auto& first = publisher(0, "a");
  auto& second = client(1, ask_for(client_intent::publish, "a"));
  run_until(loop, [&] { return second.ended; });
  EXPECT_EQ(second.codes, codes{"NetStream.Publish.BadName"});
  EXPECT_FALSE(second.started);
  EXPECT_FALSE(second.reset);
  auto& p = player(1, "a");
  run_until(loop, [&] { return p.started; });
  first.publish(key(0, 1));
  EXPECT_TRUE(await(p, 1)) << "the first goes on";
}

TEST_F(proxy_test, capacity_of_the_origin_reaches_the_publisher) {
  auto& o = add_origin({});
  o.stream_limits.publishers_max = 0;
  o.start();
  introduce(o, true);
  auto& pub = client(0, ask_for(client_intent::publish, "a"));
  run_until(loop, [&] { return pub.ended; });
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.Denied"});
}

TEST_F(proxy_test, a_takeover_at_the_origin_tells_the_first_publisher) {
  auto& o = add_origin({});
  o.stream_limits.policy = servers::second_publisher::takeover;
  o.start();
  introduce(o, true);
  auto& first = publisher(0, "a");
  first.publish(key(0, 1));
  publisher(1, "a");
  run_until(loop, [&] { return first.ended; });
  EXPECT_EQ(first.codes, codes{"NetStream.Publish.BadName"});
}

TEST_F(proxy_test, a_close_before_the_start_is_a_refusal_while_the_origin_lives) {
  auto& o = add_origin([](servers::connection& c) { return std::make_unique<rude_handler>(c); });
  o.start();
  introduce(o, false);
  auto& pub = client(0, ask_for(client_intent::publish, "a"));
  run_until(loop, [&] { return pub.ended; });
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.BadName"});
  EXPECT_FALSE(pub.started);
}

TEST_F(proxy_test, who_was_refused_does_not_undo_the_record_with_which_another_may_publish) {
  auto& o = add_origin([](servers::connection& c) { return std::make_unique<rude_handler>(c); });
  o.start();
  introduce(o, false);
  std::vector<cluster::epoch> owners;
  for (unsigned shard = 0; shard < 2; ++shard) {
    auto& pub = client(shard, ask_for(client_intent::publish, "a"));
    run_until(loop, [&] { return pub.ended; });
    const auto records = store().records();
    ASSERT_EQ(records.size(), 1u);
    owners.push_back(records.front().second.epoch);
  }
  EXPECT_EQ(owners[0], owners[1]);
}

TEST_F(proxy_test, who_was_refused_by_the_next_owner_does_not_undo_its_record_either) {
  auto& first = origin();
  auto& pub = publisher(0, "a");
  run_until(loop, [&] { return first.published() == 1; });
  const std::string owner = store().records().at(0).second.origin_id;
  auto& rude = add_origin([](servers::connection& c) { return std::make_unique<rude_handler>(c); });
  rude.start();
  introduce(rude, false);
  first.die();
  run_until(loop, [&] { return pub.ended; });
  EXPECT_EQ(pub.codes.back(), "NetStream.Publish.BadName");
  servers::test::run_turns(loop, 20);
  const auto records = store().records();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_NE(records.front().second.origin_id, owner);
}

class rude_player : public proxy_test, public ::testing::WithParamInterface<relay_mode> {};

TEST_P(rude_player, a_close_before_the_start_is_a_refusal_of_the_play) {
  relays.mode = GetParam();
  cluster.play_unowned = cluster::play_unowned::relay;
  auto& o = add_origin([](servers::connection& c) { return std::make_unique<rude_handler>(c); });
  o.start();
  introduce(o, false);
  auto& here = player(0, stream_with_home(0));
  auto& there = player(1, stream_with_home(0));
  run_until(loop, [&] { return here.ended && there.ended; });
  EXPECT_EQ(here.codes, codes{"NetStream.Play.Failed"});
  EXPECT_EQ(there.codes, codes{"NetStream.Play.Failed"});
}

INSTANTIATE_TEST_SUITE_P(modes, rude_player, ::testing::Values(relay_mode::collapse, relay_mode::per_viewer));

TEST_F(proxy_test, an_origin_that_cannot_be_dialled_is_passed_over) {
  auto& lives = origin();
  origin_thread dead("dead");
  dead.at = dead_endpoint();
  introduce(dead, true);
  std::vector<rtmp_client*> all;
  for (unsigned i = 0; i < 8; ++i)
    all.push_back(&client(i % 2, ask_for(client_intent::publish, "s" + std::to_string(i))));
  run_until(loop, [&] { return std::all_of(all.begin(), all.end(), [](auto* c) { return c->started || c->ended; }); });
  for (auto* c : all) EXPECT_TRUE(c->started) << ::testing::PrintToString(c->codes);
  EXPECT_EQ(lives.published(), 8u);
  EXPECT_FALSE(log.of("origin_suspect").empty()) << "it was tried";
}

TEST_F(proxy_test, when_no_origin_can_be_dialled_the_publisher_is_denied) {
  origin_thread dead("dead"), dead_too("dead_too");
  for (auto* o : {&dead, &dead_too}) {
    o->at = dead_endpoint();
    introduce(*o, true);
  }
  cluster.claim_wait = milliseconds(100);
  auto& pub = client(0, ask_for(client_intent::publish, "a"));
  run_until(loop, [&] { return pub.ended; });
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.Denied"});
}

TEST_F(proxy_test, a_publisher_is_told_when_no_origin_comes_in_time) {
  relays.recover_wait = milliseconds(400);
  auto& o = origin();
  auto& pub = publisher(0, "a");
  pub.publish(key(0, 1));
  const auto at = loop.refresh();
  o.die();
  run_until(loop, [&] { return pub.ended; });
  EXPECT_GE(loop.now() - at, milliseconds(400));
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.Failed"});
  const auto ends = log.of("session_end");
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(ends[0].field("reason"), "no_origin");
}

// ---- players whose origin closes

class losing : public proxy_test, public ::testing::WithParamInterface<relay_mode> {
 protected:
  losing() { relays.mode = GetParam(); }
  /// A stream with a player on each shard, both of whom have its first packet.
  void begin(origin_thread& o) {
    name = stream_with_home(0);
    pub = &publisher(0, name);
    for (const unsigned shard : {0u, 1u}) players.push_back(&player(shard, name));
    run_until(loop, [&] { return players[0]->started && players[1]->started; });
    pub->publish(key(5000, 1));
    for (auto* p : players) ASSERT_TRUE(await(*p, 1));
    EXPECT_EQ(o.published(), 1u);
  }
  /// Every packet once, at its own time.
  static void expect_same(const packets& got, const packets& sent) {
    const auto [there, here] = std::mismatch(got.begin(), got.end(), sent.begin(), sent.end());
    EXPECT_TRUE(there == got.end() && here == sent.end())
        << got.size() << " of " << sent.size() << ", equal up to " << here - sent.begin() << ": got "
        << (there == got.end() ? "no more" : ::testing::PrintToString(*there));
  }
  void expect_more(rtmp_client& again) {
    // Players may have joined the stream's new beginning or be about to: messages are sent until both have one.
    uint32_t n = 0;
    run_until(loop, [&] {
      if (n < 2000) again.publish(key(6000 + 40 * n, 100 + n));
      ++n;
      return players[0]->got.size() > 3 && players[1]->got.size() > 3;
    });
    for (auto* p : players) {
      EXPECT_FALSE(p->ended) << ::testing::PrintToString(p->codes);
      EXPECT_TRUE(p->codes.empty());
      for (size_t i = 1; i < p->got.size(); ++i) EXPECT_GT(p->got[i].timestamp, p->got[i - 1].timestamp);
    }
  }

  std::string name;
  rtmp_client* pub = nullptr;
  std::vector<rtmp_client*> players;
};

TEST_P(losing, one_close_by_a_living_origin_is_tried_again) {
  auto& o = origin();
  begin(o);
  o.kick_all();
  expect_more(*pub);
  EXPECT_EQ(o.published(), 1u);
  EXPECT_EQ(log.of("failed_over").size(), 1u);
}

TEST_P(losing, a_second_close_ends_the_publish_and_never_wanders) {
  auto& o = origin();
  begin(o);
  auto& other = origin();
  o.kick_all();
  run_until(loop, [&] { return log.of("failed_over").size() == 1; });
  o.kick_all();
  run_until(loop, [&] { return pub->ended; });
  EXPECT_EQ(pub->codes, codes{"NetStream.Publish.Failed"});
  EXPECT_EQ(other.published(), 0u);
}

TEST_P(losing, a_second_close_by_a_stock_origin_ends_the_play) {
  auto& o = origin(false);
  begin(o);
  const size_t pulls = GetParam() == relay_mode::collapse ? 1 : 2;
  o.kick_all();
  run_until(loop, [&] { return log.of("pull_start").size() == 2 * pulls; });
  o.kick_all();
  run_until(loop, [&] { return players[0]->ended && players[1]->ended; });
  for (auto* p : players) EXPECT_EQ(p->codes, (codes{"NetStream.Play.UnpublishNotify", "NetStream.Play.Failed"}));
}

TEST_P(losing, a_dead_origin_is_waited_for_and_then_given_up) {
  relays.recover_wait = milliseconds(400);
  auto& o = origin();
  begin(o);
  const auto at = loop.refresh();
  o.die();
  run_until(loop, [&] { return players[0]->ended && players[1]->ended; });
  EXPECT_GE(loop.now() - at, milliseconds(400));
  for (auto* p : players)
    EXPECT_EQ(p->codes, (codes{"NetStream.Play.UnpublishNotify", "NetStream.Play.StreamNotFound"}));
}

TEST_P(losing, nobody_notices_that_an_origin_dies) {
  auto& first = origin();
  name = stream_with_home(0);
  pub = &publisher(0, name);
  for (const unsigned shard : {0u, 1u}) players.push_back(&player(shard, name));
  const auto sent = made_up_stream(6);
  const size_t half = sent.size() / 2;
  publish(*pub, {sent.begin(), sent.begin() + half}, players);
  auto& second = origin();
  first.die();
  for (size_t i = half; i < sent.size(); ++i) {
    pub->publish(sent[i]);
    if (i % 7 == 0) servers::test::run_turns(loop, 1);
  }
  for (auto* p : players) await(*p, sent.size());
  for (auto* p : players) {
    EXPECT_FALSE(p->ended) << ::testing::PrintToString(p->codes);
    expect_same(p->got, sent);
  }
  EXPECT_FALSE(pub->ended);
  EXPECT_EQ(second.published(), 1u);
  EXPECT_EQ(log.of("failed_over").size(), 1u);
  EXPECT_TRUE(log.of("viewers_gap").empty());
  // `sluice explain` tells each thing once, whoever knows it.
  std::map<std::string, int> happened;
  for (const auto& e : control().explain({"__defaultVhost__", "live", name})) ++happened[e.what];
  EXPECT_EQ(happened, (std::map<std::string, int>{
                          {"owner", 2}, {"published", 2}, {"lost", 1}, {"ended", 1}, {"failed_over", 1}}));
}

TEST_P(losing, nobody_notices_that_two_origins_die_one_after_the_other) {
  auto& first = origin();
  begin(first);
  std::vector<packet> sent{key(5000, 1)};
  uint32_t n = 0;
  const auto more = [&](uint32_t count) {
    for (const uint32_t end = n + count; n < end; ++n) {
      sent.push_back(n % 25 == 0 ? key(5040 + 40 * n, 2 + n) : inter(5040 + 40 * n, 2 + n));
      pub->publish(sent.back());
      servers::test::run_turns(loop, 1);
    }
  };
  more(30);
  auto& second = origin();
  first.die();
  more(30);
  run_until(loop, [&] { return second.published() == 1; });
  auto& third = origin();
  more(10);
  second.die();
  more(60);
  for (auto* p : players) await(*p, sent.size());
  for (auto* p : players) expect_same(p->got, sent);
  EXPECT_EQ(third.published(), 1u);
}

// The single origin of a machine: its next incarnation takes over.
TEST_P(losing, a_pull_waits_for_an_origin_that_is_silent_to_all) {
  relays.upstream.quiet_max = milliseconds(50);
  relays.upstream.answer_max = milliseconds(100);
  auto& o = origin();
  begin(o);
  packets sent{key(5000, 1)};
  const auto thaw = o.freeze();
  const auto begun = loop.refresh();
  for (uint32_t n = 0; n < 20; ++n)
    sent.push_back(n % 5 == 0 ? key(5040 + 40 * n, 2 + n) : inter(5040 + 40 * n, 2 + n));
  pub->publish(packets(sent.begin() + 1, sent.end()));
  run_until(loop, [&] { return loop.now() - begun > milliseconds(700); });
  EXPECT_TRUE(log.of("pull_lost").empty());
  thaw->set_value();
  for (auto* p : players) {
    EXPECT_TRUE(await(*p, sent.size()));
    expect_same(p->got, sent);
  }
  EXPECT_TRUE(log.of("pull_lost").empty());
}

TEST_P(losing, but_not_for_longer_than_silence_max) {
  relays.upstream.quiet_max = milliseconds(50);
  relays.upstream.answer_max = std::chrono::hours(1);
  relays.upstream.silence_max = milliseconds(200);
  auto& o = origin();
  begin(o);
  const auto thaw = o.freeze();
  const auto begun = loop.refresh();
  run_until(loop, [&] { return loop.now() - begun > milliseconds(500); });
  thaw->set_value();  // it is asked whether it lives
  run_until(loop, [&] { return !log.of("pull_lost").empty(); });
  EXPECT_EQ(log.of("pull_lost").front().field("reason"), "origin_silent");
}

TEST_P(losing, a_pull_that_alone_is_silent_is_given_up) {
  relays.upstream.quiet_max = milliseconds(50);
  relays.upstream.answer_max = milliseconds(100);
  auto& o = origin();
  begin(o);
  const auto thaw = o.freeze();
  const auto line = control().line_of(o.registration(true).id());
  const auto begun = loop.refresh();
  run_until(loop, [&] {
    note_heard(*line, runtime::loop::monotonic_now());
    return loop.now() - begun > milliseconds(700);
  });
  thaw->set_value();
  run_until(loop, [&] { return !log.of("pull_lost").empty(); });
  EXPECT_EQ(log.of("pull_lost").front().field("reason"), "origin_silent");
}

TEST_P(losing, the_next_owner_may_come_later) {
  auto& first = origin();
  begin(first);
  std::vector<packet> sent{key(5000, 1)};
  first.die();
  for (uint32_t i = 1; i < 80; ++i) {
    sent.push_back(i % 25 == 0 ? key(5000 + 40 * i, 1 + i) : inter(5000 + 40 * i, 1 + i));
    pub->publish(sent.back());
    servers::test::run_turns(loop, 1);
  }
  auto& second = origin();
  for (auto* p : players) await(*p, sent.size());
  for (auto* p : players) expect_same(p->got, sent);
  EXPECT_EQ(second.published(), 1u);
}

TEST_P(losing, the_last_player_takes_the_pull_with_him) {
  auto& o = origin();
  begin(o);
  for (auto* p : players) p->close();
  run_until(loop, [&] { return o.sessions() == 1; });
  const size_t pulls = GetParam() == relay_mode::collapse ? 1 : 2;
  run_until(loop, [&] { return log.of("pull_end").size() == pulls; });
  for (const auto& e : log.of("pull_end")) EXPECT_EQ(e.field("reason"), "no_viewers");
  auto& back = player(1, name);
  ASSERT_TRUE(await(back, 1));
}

INSTANTIATE_TEST_SUITE_P(modes, losing, ::testing::Values(relay_mode::collapse, relay_mode::per_viewer),
                         [](const auto& test) {
                           return test.param == relay_mode::collapse ? "collapse" : "per_viewer";
                         });

TEST_F(proxy_test, a_proxy_can_stop_in_the_midst_of_it_all) {
  origin();
  for (int i = 0; i < 6; ++i) {
    const auto name = "s" + std::to_string(i);
    auto& pub = publisher(i % 2, name);
    player(0, name);
    player(1, name);
    pub.publish(made_up_stream(2));
  }
  player(0, "nobody");
  client(1, ask_for(client_intent::publish, "late"));
}

}  // namespace
}  // namespace sluice::relay::test
