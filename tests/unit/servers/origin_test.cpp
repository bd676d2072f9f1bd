#include <gtest/gtest.h>

#include "servers/rtmp/capabilities.hpp"
#include "unit/servers/support.hpp"

// Publishers and players of an origin, over sockets.
namespace sluice::servers::test {
namespace {

using media::test::at;
using media::test::inter;
using media::test::key;
using media::test::sound;
using rtmp::client_intent;

TEST_F(origin_test, a_player_gets_every_packet_of_a_publisher) {
  auto& early = player("a");
  auto& pub = publisher("a");
  const auto sent = made_up_stream(6);
  for (size_t i = 0; i < sent.size(); i += 7) {
    pub.publish(packets(sent.begin() + i, sent.begin() + std::min(i + 7, sent.size())));
    run_turns(loop, 1);
  }
  if (!await(early, sent.size())) return;
  EXPECT_EQ(early.got, sent);

  auto& late = player("a");
  auto& other = player("b");
  const size_t from = 3 + 5 * 20;  // the newest keyframe
  if (!await(late, 3 + sent.size() - from)) return;
  packets expected{at(sent[0], 0), at(sent[1], 2000), at(sent[2], 2000)};
  expected.insert(expected.end(), sent.begin() + from, sent.end());
  EXPECT_EQ(late.got, expected);
  EXPECT_EQ(other.got, packets{});
}

TEST_F(origin_test, merged_writes_carry_the_same) {
  merge = milliseconds(20);
  auto& p = player("a");
  auto& pub = publisher("a");
  const auto sent = made_up_stream(3);
  pub.publish(sent);
  if (!await(p, sent.size())) return;
  // All came in one flush: from the newest keyframe, or all of it.
  EXPECT_EQ(p.got.back(), sent.back());
}

TEST_F(origin_test, large_messages_pass_whole) {
  auto& p = player("a");
  auto& pub = publisher("a");
  const packets sent{key(0, 1, 3'000'000), inter(40, 2, 1), sound(41, 3, 70'000), inter(80, 4, 60'000)};
  pub.publish(sent);
  if (!await(p, 4)) return;
  EXPECT_EQ(p.got, sent);
}

TEST_F(origin_test, a_publisher_who_returns_finds_his_players) {
  auto& p = player("a");
  auto& pub = publisher("a");
  pub.publish({key(90'000, 1), inter(90'040, 2)});
  await(p, 2);
  pub.leave();
  run_until(loop, [&] { return origin().server.sessions() == 1; });
  auto& again = publisher("a");
  again.publish({key(5, 3), inter(45, 4)});
  if (!await(p, 4)) return;
  EXPECT_EQ(p.got[2].body, key(5, 3).body);
  EXPECT_GT(p.got[2].timestamp, 90'040u);
  EXPECT_EQ(p.got[3].timestamp - p.got[2].timestamp, 40u);
  EXPECT_TRUE(p.codes.empty());
  EXPECT_FALSE(p.ended);
}

TEST_F(origin_test, one_connection_may_publish_again) {
  auto& p = player("a");
  auto& pub = publisher("a");
  pub.publish(key(0, 1));
  await(p, 1);
  pub.command("closeStream", {});
  run_until(loop, [&] { return origin().streams.published() == 0; });
  pub.started = false;
  pub.command("publish", {"a", "live"});
  run_until(loop, [&] { return origin().streams.published() == 1; });
  pub.publish(key(0, 2));
  await(p, 2);
  EXPECT_EQ(log.of("session_start").size(), 3u);
}

TEST_F(origin_test, players_without_a_publisher_are_told_in_time) {
  stream_limits.publisher_wait = milliseconds(50);
  auto& p = player("nobody");
  run_until(loop, [&] { return p.ended; });
  EXPECT_EQ(p.codes, (std::vector<std::string>{"NetStream.Play.UnpublishNotify", "NetStream.Play.StreamNotFound"}));
  EXPECT_FALSE(p.reset);
  size_t streams = 0;
  origin().streams.for_each([&](const live_stream&) { ++streams; });
  EXPECT_EQ(streams, 0u);
}

TEST_F(origin_test, pause_and_switches_reach_the_player) {
  auto& p = player("a");
  auto& pub = publisher("a");
  pub.publish({key(0, 1), inter(40, 2)});
  await(p, 2);
  p.command("pause", {true, 0});
  run_until(loop, [&] { return p.codes == std::vector<std::string>{"NetStream.Pause.Notify"}; });
  heard([&] { pub.publish({inter(80, 3), sound(81, 4)}); });
  p.command("pause", {false, 0});
  run_until(loop, [&] { return p.codes.size() == 2; });
  heard([&] { p.command("receiveAudio", {false}); });
  pub.publish({sound(100, 5), key(120, 6), sound(130, 7), inter(160, 8)});
  if (!await(p, 4)) return;
  EXPECT_EQ(p.got, (packets{key(0, 1), inter(40, 2), key(120, 6), inter(160, 8)}));
}

// ---- a second publisher

TEST_F(origin_test, a_second_publisher_hears_why_though_he_talks_on) {
  stream_limits.policy = second_publisher::refuse;
  publisher("a").publish(key(0, 1));
  auto& second = client(ask_for(client_intent::publish, "a"));
  // Media behind the publish command, without waiting for its answer: a close that leaves it unread would be a reset,
  // and could take the status with it.
  second.on_stream_created = [&] {
    second.stop_reading();
    for (uint32_t i = 0; i < 40; ++i) second.publish(key(i, i, 50'000));
  };
  run_until(loop, [&] { return origin().server.sessions() == 1 && log.of("session_refused").size() == 1; });
  second.go_on_reading();
  run_until(loop, [&] { return second.ended; });
  EXPECT_EQ(second.codes, std::vector<std::string>{"NetStream.Publish.BadName"});
  EXPECT_FALSE(second.started);
  EXPECT_EQ(origin().refusals("second_publisher"), 1);
  EXPECT_EQ(origin().streams.published(), 1u);
}

TEST_F(origin_test, a_takeover_tells_the_first) {
  stream_limits.policy = second_publisher::takeover;
  auto& p = player("a");
  auto& first = publisher("a");
  first.publish(key(0, 1));
  await(p, 1);
  auto& second = publisher("a");
  run_until(loop, [&] { return first.ended; });
  EXPECT_EQ(first.codes, std::vector<std::string>{"NetStream.Publish.BadName"});
  EXPECT_FALSE(first.reset);
  second.publish(key(0, 2));
  await(p, 2);
  EXPECT_FALSE(p.ended);
}

TEST_F(origin_test, an_idle_publisher_is_taken_over_by_default) {
  stream_limits.publisher_idle = milliseconds(80);
  auto& first = publisher("a");
  first.publish(key(0, 1));
  run_turns(loop);
  auto& second = client(ask_for(client_intent::publish, "a"));
  run_until(loop, [&] { return second.ended; });
  EXPECT_EQ(second.codes, std::vector<std::string>{"NetStream.Publish.BadName"});
  // Ask until the first has been silent for long enough.
  rtmp_client* asking = &client(ask_for(client_intent::publish, "a"));
  run_until(loop, [&] {
    if (asking->ended) asking = &client(ask_for(client_intent::publish, "a"));
    return asking->started;
  });
  run_until(loop, [&] { return first.ended; });
  EXPECT_EQ(first.codes, std::vector<std::string>{"NetStream.Publish.BadName"});
}

TEST_F(origin_test, a_bad_name_is_refused_with_a_status) {
  auto& pub = client(ask_for(client_intent::publish, "../x"));
  auto& play = client(ask_for(client_intent::play, "a{b}"));
  run_until(loop, [&] { return pub.ended && play.ended; });
  EXPECT_EQ(pub.codes, std::vector<std::string>{"NetStream.Publish.BadName"});
  EXPECT_EQ(play.codes, std::vector<std::string>{"NetStream.Play.Failed"});
  EXPECT_EQ(origin().refusals("bad_stream_name"), 2);
}

TEST_F(origin_test, capacity_is_a_refusal_with_a_status) {
  stream_limits.publishers_max = 1;
  publisher("a");
  auto& second = client(ask_for(client_intent::publish, "b"));
  run_until(loop, [&] { return second.ended; });
  EXPECT_EQ(second.codes, std::vector<std::string>{"NetStream.Publish.Denied"});
  EXPECT_EQ(origin().refusals("at_capacity"), 1);
}

// ---- slow players

TEST_F(origin_test, a_player_that_stops_reading_is_closed_and_delays_nobody) {
  limits.player_stall = milliseconds(300);
  auto& quick = player("a");
  auto& slow = player("a", {.receive_buffer = 4096});
  auto& pub = publisher("a");
  slow.stop_reading();
  const auto sent = made_up_stream(60, 4000);
  size_t published = 0;
  const bool closed = run_until(loop, [&] {
    if (published < sent.size() && pub.unsent() == 0 && quick.got.size() + 40 > published)
      pub.publish(sent[published++]);
    return origin().refusals("slow_reader") == 1 && published == sent.size();
  });
  if (!closed || !await(quick, sent.size())) return;
  EXPECT_EQ(quick.got, sent);
  run_until(loop, [&] { return origin().server.sessions() == 2; });
  slow.go_on_reading();
  run_until(loop, [&] { return slow.ended; });
  EXPECT_LT(slow.got.size(), sent.size());
  EXPECT_TRUE(std::equal(slow.got.begin(), slow.got.end(), sent.begin())) << "what it got is the stream's beginning";
}

TEST_F(origin_test, a_slow_player_goes_on_at_a_keyframe) {
  stream_limits.hub.bytes_max = 300'000;
  auto& quick = player("a");
  auto& slow = player("a", {.receive_buffer = 4096});
  auto& pub = publisher("a");
  slow.stop_reading();
  const auto sent = made_up_stream(80, 4000);
  size_t published = 0;
  run_until(loop, [&] {
    if (published < sent.size() && quick.got.size() + 8 > published) pub.publish(sent[published++]);
    return quick.got.size() == sent.size();
  });
  EXPECT_EQ(quick.got, sent);
  slow.go_on_reading();
  run_until(loop, [&] { return !slow.got.empty() && slow.got.back() == sent.back(); });
  // The beginning, a gap, then whole groups from a keyframe on.
  const auto gap = std::mismatch(slow.got.begin(), slow.got.end(), sent.begin(), sent.end());
  ASSERT_NE(gap.first, slow.got.end());
  const auto resumed = std::find(sent.begin(), sent.end(), *gap.first);
  ASSERT_NE(resumed, sent.end());
  EXPECT_EQ(resumed->type, rtmp::video);
  EXPECT_EQ(resumed->body[0], 0x17);
  EXPECT_TRUE(std::equal(gap.first, slow.got.end(), resumed, sent.end()));
  slow.close();
  run_until(loop, [&] { return origin().server.sessions() == 2; });
  EXPECT_EQ(origin().dropped(), resumed - gap.second) << "what is missing is what is counted";
}

// ---- limits and bad input

TEST_F(origin_test, the_limit_of_sessions_refuses_and_recovers) {
  limits.sessions = &two_sessions;
  auto& pub = publisher("a");
  auto& p = player("a");
  auto& third = client(ask_for(client_intent::play, "a"));
  run_until(loop, [&] { return third.ended; });
  EXPECT_FALSE(third.started);
  EXPECT_EQ(origin().refusals("too_many_sessions"), 1);
  pub.publish(key(0, 1));
  await(p, 1);
  p.close();
  run_until(loop, [&] { return origin().server.sessions() == 1; });
  player("a");
  EXPECT_EQ(two_sessions.taken(), 2u);
}

TEST_F(origin_test, the_limit_of_sessions_is_that_of_all_servers) {
  limits.sessions = &two_sessions;
  auto elsewhere = runtime::session_place::take(&two_sessions);
  publisher("a");
  auto& second = client(ask_for(client_intent::play, "a"));
  run_until(loop, [&] { return second.ended; });
  EXPECT_FALSE(second.started);
  elsewhere.give_back();
  player("a");
}

TEST_F(origin_test, descriptors_run_out_for_new_clients_only) {
  limits.descriptors = &two_descriptors;
  auto& pub = publisher("a");
  auto& p = player("a");
  for (int i = 0; i < 5; ++i) {
    auto& refused = client(ask_for(client_intent::play, "a"));
    run_until(loop, [&] { return refused.ended; });
    EXPECT_FALSE(refused.started);
  }
  EXPECT_EQ(origin().refusals("no_descriptors"), 5);
  EXPECT_EQ(two_descriptors.left(), 0);
  EXPECT_EQ(log.of("session_refused").size(), 1u) << "once a second";
  pub.publish(key(0, 1));
  await(p, 1);
  p.close();
  run_until(loop, [&] { return two_descriptors.left() == 1; });
  player("a");
  pub.close();
  run_until(loop, [&] { return two_descriptors.left() == 1; });
}

TEST_F(origin_test, a_client_that_says_nothing_is_closed) {
  limits.session.handshake_timeout = milliseconds(40);
  auto& c = client(ask_for(client_intent::play, "a"), {.drip = true});
  run_until(loop, [&] { return c.ended; });
  EXPECT_EQ(origin().refusals("handshake_timeout"), 1);
}

TEST_F(origin_test, a_client_that_speaks_no_rtmp_is_closed) {
  auto& c = client(ask_for(client_intent::play, "a"), {.preamble = {'G', 'E', 'T', ' ', '/'}});
  run_until(loop, [&] { return c.ended; });
  run_until(loop, [&] { return origin().server.sessions() == 0; });
  EXPECT_EQ(log.of("session_refused").size(), 1u);
}

TEST_F(origin_test, output_that_nobody_reads_is_bounded) {
  limits.control_bytes_max = 64 * 1024;
  auto& c = player("a", {.receive_buffer = 4096});
  c.stop_reading();
  run_until(loop, [&] {
    for (int i = 0; i < 50; ++i) c.command("pause", {i % 2 == 0, 0});
    return origin().refusals("control_backlog") == 1;
  });
}

TEST_F(origin_test, closing_the_server_ends_everything) {
  auto& pub = publisher("a");
  auto& p = player("a");
  origin().server.close_all("shutdown");
  EXPECT_EQ(origin().server.sessions(), 0u);
  EXPECT_EQ(origin().streams.published(), 0u);
  run_until(loop, [&] { return pub.ended && p.ended; });
  EXPECT_EQ(log.of("session_end").size(), 2u);
}

// ---- what other servers of ours are told

class peers : public origin_test {
 protected:
  peers() { limits.trusted = {*base::network::parse("127.0.0.0/8")}; }
  rtmp_client& peer(client_intent intent, peer_note note) {
    auto request = ask_for(intent, "a");
    request.command_object = amf0::object{{"sluice", note.to_amf()}};
    return client(std::move(request));
  }
  rtmp_client& link(client_intent intent) {
    auto& c = peer(intent, {.epoch = {1, 1}, .source = "p", .numbered = true});
    run_until(loop, [&] { return c.started; });
    return c;
  }
};

TEST_F(peers, hear_that_the_stream_has_another_owner) {
  auto& pub = link(client_intent::publish);
  auto& p = link(client_intent::play);
  auto& viewer = player("a");
  ASSERT_TRUE(origin().streams.told({"__defaultVhost__", "live", "a"}, {2, 1}));
  run_until(loop, [&] { return pub.ended && p.ended && viewer.ended; });
  EXPECT_EQ(pub.codes, std::vector<std::string>{std::string(stale_epoch_code)});
  EXPECT_EQ(p.codes, std::vector<std::string>{std::string(play_stale_code)});
  EXPECT_EQ(viewer.codes, std::vector<std::string>{"NetStream.Play.UnpublishNotify"});
}

TEST_F(peers, hear_that_the_server_is_full) {
  limits.sessions = &one_session;
  auto& pub = link(client_intent::publish);
  auto& other = peer(client_intent::play, {.numbered = true});
  auto& viewer = client(ask_for(client_intent::play, "a"));
  run_until(loop, [&] { return other.ended && viewer.ended; });
  EXPECT_EQ(other.codes, std::vector<std::string>{std::string(full_code)});
  EXPECT_EQ(viewer.codes, std::vector<std::string>{"NetConnection.Connect.Rejected"});
  EXPECT_FALSE(other.reset || viewer.reset);
  EXPECT_EQ(origin().refusals("too_many_sessions"), 2);
  EXPECT_FALSE(pub.ended);
}

TEST_F(peers, hear_that_there_is_room_for_no_further_stream) {
  stream_limits.streams_max = 0;
  auto& p = peer(client_intent::play, {.numbered = true});
  auto& viewer = client(ask_for(client_intent::play, "a"));
  run_until(loop, [&] { return p.ended && viewer.ended; });
  EXPECT_EQ(p.codes, std::vector<std::string>{std::string(play_at_capacity_code)});
  EXPECT_EQ(viewer.codes, std::vector<std::string>{"NetStream.Play.Failed"});
}

TEST_F(peers, control_connections_are_no_sessions_and_find_room_in_a_full_server) {
  limits.sessions = &one_session;
  auto& shown = origin().metrics.gauge("sluice_sessions", "", {{"role", "origin"}, {"proto", "rtmp"}});
  auto& control = peer(client_intent::control, {.control = true});
  run_until(loop, [&] { return origin().bytes_in() > 3000; });
  run_until(loop, [&] { return origin().server.sessions() == 0; });
  EXPECT_EQ(shown.value(), 0);
  auto& pub = publisher("a");
  EXPECT_EQ(origin().server.sessions(), 1u);
  const auto before = origin().bytes_in();
  EXPECT_EQ(one_session.taken(), 1u);
  auto& more = peer(client_intent::control, {.control = true});
  run_until(loop, [&] { return origin().bytes_in() > before + 3000; });
  run_turns(loop);
  EXPECT_EQ(origin().server.sessions(), 1u);
  EXPECT_EQ(shown.value(), 1);
  EXPECT_FALSE(control.ended || more.ended);
  pub.close();
  control.close();
  more.close();
  run_until(loop, [&] { return origin().server.sessions() == 0; });
  EXPECT_EQ(shown.value(), 0);
  EXPECT_EQ(origin().refusals("too_many_sessions"), 0);
}

TEST_F(peers, a_full_server_lets_in_few_to_be_told) {
  limits.sessions = &one_session;
  const auto the_only = runtime::session_place::take(&one_session);
  std::vector<rtmp_client*> all;
  for (int i = 0; i < 40; ++i) all.push_back(&client(ask_for(client_intent::play, "a"), {.drip = true}));
  run_until(loop, [&] { return origin().refusals("too_many_sessions") == 8; });
  EXPECT_EQ(origin().server.sessions(), 0u);
  for (auto* c : all) c->close();
  run_turns(loop);
  auto& next = client(ask_for(client_intent::play, "a"));
  run_until(loop, [&] { return next.ended; });
  EXPECT_EQ(next.codes, std::vector<std::string>{"NetConnection.Connect.Rejected"});
}

}  // namespace
}  // namespace sluice::servers::test
