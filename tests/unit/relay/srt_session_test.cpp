#include "relay/srt_session.hpp"

#include "unit/relay/srt_support.hpp"

// One caller, his origin, and what becomes of them.
namespace sluice::relay::test {
namespace {

constexpr uint32_t overload = 1402, not_found = 1404, conflict = 1409, down = 1503, bad_secret = 10;

struct srt_session_test : srt_test {
  /// An RTMP publisher of live/a somewhere, as far as the cluster knows.
  void own_the_stream() {
    std::optional<base::result<cluster::assignment>> answer;
    control().claim(loop, key, {.session = "encoder"}, [&](auto a) { answer = std::move(a); });
    run([&] { return answer.has_value(); });
    ASSERT_TRUE(*answer);
    control().publish_started(key, (*answer)->epoch);
  }
};

TEST_F(srt_session_test, publish_and_play) {
  auto& o = add_origin("o1");
  auto& pub = publisher();
  EXPECT_EQ(status().origin_id, "o1-s-1");
  EXPECT_FALSE(status().session.empty());
  auto& play = player();
  EXPECT_EQ(sessions(), 2u);
  EXPECT_EQ(shown_sessions(), 2);

  // The wish goes to the origin with its cookie and the caller's own id, and all else as it was.
  const auto said = pub.conclusion("#!::r=live/a,m=publish");
  const auto asked = *srt::parse_handshake(base::as_bytes(said));
  const auto passed = *srt::parse_handshake(base::as_bytes(o.srt.conclusions.front().bytes));
  EXPECT_EQ(passed.cookie, srt_listener::cookie);
  EXPECT_EQ(passed.socket_id, pub.id());
  EXPECT_EQ(passed.initial_sequence, asked.initial_sequence);
  EXPECT_EQ(passed.mss, asked.mss);
  EXPECT_EQ(std::vector(passed.extensions.begin(), passed.extensions.end()),
            std::vector(asked.extensions.begin(), asked.extensions.end()));
  // And the answer with the proxy's cookie.
  EXPECT_EQ(pub.heard()->cookie, pub.cookie);
  EXPECT_EQ(pub.origin(), o.srt.socket_id);

  exchange(pub, o);
  exchange(play, o);
  const auto ack = control_packet(srt::control_type::keepalive, play.origin());
  play.say(ack);
  run([&] { return o.srt.has(ack); });

  std::vector<std::string> starts;
  for (const auto& l : log.of("session_start")) starts.push_back(l.field("kind") + " " + l.field("origin"));
  EXPECT_EQ(starts, (std::vector<std::string>{"publish o1-s-1", "play o1-s-1"}));
  EXPECT_EQ(log.of("session_start")[0].field("stream"), "__defaultVhost__/live/a");
  EXPECT_EQ(log.of("session_start")[0].field("proto"), "srt");
}

TEST_F(srt_session_test, what_cannot_be_true_goes_no_further) {
  auto& o = add_origin("o1");
  auto& c = publisher();
  // Acknowledges what nobody sent.
  std::vector<uint8_t> ack;
  base::byte_writer w(ack);
  for (const uint32_t v : {0x8002'0000u, 1u, 0u, c.origin(), 0x1234'5678u}) w.u32(v);
  c.say(text_of(ack));
  run([&] { return dropped("bad_sequence") == 1; });
  // A datagram for somebody else.
  o.srt.say(way_of(c, o), data_packet(5000, c.id() + 1, "astray"));
  run([&] { return dropped("wrong_destination") == 1; });
  EXPECT_FALSE(o.srt.has(text_of(ack)));
  exchange(c, o);
}

TEST_F(srt_session_test, who_leaves_is_heard_on_the_other_side) {
  auto& o = add_origin("o1");
  auto& c = publisher();
  exchange(c, o);
  c.leave();
  run([&] { return ended("client_closed"); });
  run([&] { return o.srt.has(control_packet(srt::control_type::shutdown, o.srt.socket_id)); });
  EXPECT_EQ(c.shutdowns(), 0u);
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(shown_sessions(), 0);
  const auto line = log.of("session_end").back();
  EXPECT_EQ(line.field("kind"), "publish");
  EXPECT_NE(line.field("bytes_in"), "0");
  EXPECT_NE(line.field("bytes_out"), "0");
  run([&] { return status().session.empty(); });

  auto& again = publisher();
  o.srt.say(way_of(again, o), control_packet(srt::control_type::shutdown, again.id()));
  run([&] { return ended("origin_closed"); });
  run([&] { return again.shutdowns() == 1; });
}

TEST_F(srt_session_test, who_has_not_heard_the_end_is_told_again_and_then_nobody_is_left) {
  limits.session.linger = seconds(1);
  auto& o = add_origin("o1");
  auto& c = publisher();
  const auto way = way_of(c, o);
  o.srt.say(way, control_packet(srt::control_type::shutdown, c.id()));
  run([&] { return ended("origin_closed"); });
  const auto media = data_packet(1001, c.origin(), "more");
  run([&] {
    c.say(media);
    return c.shutdowns() >= 3;
  });
  EXPECT_FALSE(o.srt.has(media));
  EXPECT_EQ(descriptors.left(), descriptors_max) << "the origin knows";
  run([&] {
    c.say(media);
    return dropped("no_session") >= 1;
  });
}

TEST_F(srt_session_test, a_side_that_is_silent_ends_it) {
  limits.session.silence = milliseconds(150);
  auto& o = add_origin("o1");
  auto& c = publisher();
  const auto alive = control_packet(srt::control_type::keepalive, c.id());
  run([&] {
    o.srt.say(way_of(c, o), alive);
    return ended("client_silent");
  });
  run([&] { return c.shutdowns() >= 1 && o.srt.shutdowns() >= 1; });

  auto& other = publisher();
  const auto here = control_packet(srt::control_type::keepalive, other.origin());
  run([&] {
    other.say(here);
    return ended("origin_silent");
  });
  run([&] { return other.shutdowns() >= 1 && o.srt.shutdowns() >= 2; });
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(srt_session_test, a_publisher_passes_over_an_origin_that_does_not_answer) {
  limits.origin_answer = milliseconds(150);
  auto& first = add_origin("o1");
  auto& second = add_origin("o2");
  first.srt.silent = second.srt.silent = true;
  auto& c = call("#!::r=live/a,m=publish");
  run([&] { return first.srt.inductions + second.srt.inductions > 0; });
  auto& mute = first.srt.inductions > 0 ? first : second;
  auto& other = first.srt.inductions > 0 ? second : first;
  other.srt.silent = false;
  run([&] { return c.runs(); });
  exchange(c, other);
  EXPECT_TRUE(mute.srt.conclusions.empty());
  EXPECT_EQ(status().origin_id, other.server + "-s-1");
  EXPECT_EQ(log.of("session_start").back().field("origin"), other.server + "-s-1");
}

TEST_F(srt_session_test, where_nobody_answers_callers_hear_so_in_time) {
  limits.origin_answer = milliseconds(50);
  limits.session.handshake = milliseconds(700);
  auto& o = add_origin("o1");
  publisher();
  o.srt.silent = true;
  auto& play = call("#!::r=live/a,m=request");
  auto& pub = call("#!::r=live/b,m=publish");
  run([&] { return play.rejection() != 0 && pub.rejection() != 0; });
  EXPECT_EQ(play.rejection(), down);
  EXPECT_EQ(pub.rejection(), down);
  EXPECT_EQ(refused("origin_silent"), 1) << "a viewer's stream is nowhere else";
  EXPECT_EQ(refused("no_origin"), 1);
  EXPECT_EQ(sessions(), 1u);
  EXPECT_EQ(descriptors.left(), descriptors_max - 1);
}

TEST_F(srt_session_test, an_endpoint_where_nobody_listens_is_followed_by_the_next) {
  auto& o = add_origin("o1", {closed_port(), closed_port()});
  exchange(publisher(), o);
  EXPECT_EQ(descriptors.left(), descriptors_max - 1);
}

TEST_F(srt_session_test, an_endpoint_that_does_not_answer_is_followed_by_the_next) {
  limits.origin_answer = milliseconds(300);
  const inbox mute;
  auto& o = add_origin("o1", {mute.socket.at()});
  exchange(publisher(), o);
  exchange(player(), o);
  EXPECT_TRUE(log.of("origin_suspect").empty()) << "it serves";
  EXPECT_EQ(descriptors.left(), descriptors_max - 2);
}

TEST_F(srt_session_test, an_origin_where_nobody_listens_is_followed_by_another) {
  add_origin("o1", {closed_port()}, false);
  auto& c = call("#!::r=live/a,m=publish");
  run([&] { return !log.of("stream_placed").empty(); });
  auto& o = add_origin("o2");
  run([&] { return c.runs(); });
  exchange(c, o);
  EXPECT_EQ(status().origin_id, "o2-s-1");
}

TEST_F(srt_session_test, a_publisher_tries_so_many_origins) {
  relays.claim_attempts = 2;
  for (const auto* server : {"o1", "o2", "o3"}) add_origin(server, {closed_port()}, false);
  EXPECT_EQ(rejection_of("#!::r=live/a,m=publish"), down);
  EXPECT_EQ(refused("no_origin"), 1);
  EXPECT_EQ(status().session, "");
}

TEST_F(srt_session_test, a_viewer_whose_owner_cannot_be_reached_hears_so) {
  limits.session.handshake = milliseconds(900);
  add_origin("o1", {closed_port()}, false);
  own_the_stream();
  EXPECT_EQ(rejection_of("#!::r=live/a,m=request"), down);
  EXPECT_EQ(refused("origin_unreachable"), 1);
}

TEST_F(srt_session_test, an_owner_without_srt_is_said_to_be_one) {
  add_origin("o1", {}, false);
  own_the_stream();
  EXPECT_EQ(rejection_of("#!::r=live/a,m=request"), down);
  EXPECT_EQ(refused("no_endpoint"), 1);
  EXPECT_NE(log.of("session_refused").back().field("text").find("o1-s-1"), std::string::npos);
}

TEST_F(srt_session_test, a_publisher_by_srt_is_not_the_second_of_another_kind) {
  add_origin("o1", {}, false);
  own_the_stream();
  auto& o = add_origin("o2");
  EXPECT_EQ(rejection_of("#!::r=live/a,m=publish"), conflict);
  EXPECT_EQ(refused("already_published"), 1);
  EXPECT_NE(log.of("session_refused").back().field("text").find("o1-s-1, which serves no SRT"), std::string::npos);
  EXPECT_EQ(o.srt.inductions, 0u);
  EXPECT_EQ(status().origin_id, "o1-s-1");
}

TEST_F(srt_session_test, an_origins_refusal_is_passed_on) {
  auto& o = add_origin("o1");
  o.srt.refusal = bad_secret;
  o.srt.refusals = 3;  // as to conclusions that were repeated; they come together
  auto& c = call("#!::r=live/a,m=publish");
  run([&] { return c.rejection() != 0; });
  EXPECT_EQ(c.rejection(), bad_secret);
  EXPECT_EQ(c.heard()->cookie, c.cookie);
  EXPECT_EQ(refused("origin_refused"), 1);
  EXPECT_EQ(log.of("session_refused").back().field("status"), "10");
  run_turns(loop);
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(shown_sessions(), 0);
  EXPECT_EQ(descriptors.left(), descriptors_max);
  EXPECT_EQ(status().session, "");
  EXPECT_EQ(status().origin_id, "o1-s-1") << "somebody else may publish there with that record";
  // What it claimed is anybody's.
  o.srt.refusal = 0;
  auto& other = running("#!::r=live/a,m=publish");
  EXPECT_EQ(sessions(), 1u);
  EXPECT_EQ(shown_sessions(), 1);
  exchange(other, o);
}

TEST_F(srt_session_test, an_answer_that_makes_no_sense_is_the_gateways_trouble) {
  auto& o = add_origin("o1");
  o.srt.socket_id = 0;
  constexpr uint32_t gateway = 1502;
  EXPECT_EQ(rejection_of("#!::r=live/a,m=publish"), gateway);
  EXPECT_EQ(refused("bad_origin_answer"), 1);
}

TEST_F(srt_session_test, both_sides_hear_of_the_origins_death) {
  limits.session.linger = seconds(60);
  auto& o = add_origin("o1");
  auto& pub = publisher();
  auto& play = player();
  exchange(pub, o);
  o.die();  // its SRT port is still there, as that of another process would be
  run([&] { return log.of("session_end").size() == 2; });
  for (const auto& l : log.of("session_end")) EXPECT_EQ(l.field("reason"), "origin_lost");
  run([&] { return pub.shutdowns() == 1 && play.shutdowns() == 1 && o.srt.shutdowns() == 2; });
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(descriptors.left(), descriptors_max) << "they are for those who come back";
  run([&] { return status().session.empty(); });
  std::vector<std::string> history;
  for (const auto& e : control().explain(key)) history.push_back(e.what);
  EXPECT_NE(std::find(history.begin(), history.end(), "lost"), history.end());
  // Who comes back finds the next one.
  auto& next = add_origin("o2");
  exchange(publisher(), next);
}

TEST_F(srt_session_test, an_origin_that_dies_before_it_answers_is_followed_by_another) {
  limits.origin_answer = seconds(30);
  auto& first = add_origin("o1");
  first.srt.silent = true;
  auto& c = call("#!::r=live/a,m=publish");
  run([&] { return first.srt.inductions > 0; });
  auto& second = add_origin("o2");
  first.die();
  run([&] { return c.runs(); });
  exchange(c, second);
}

TEST_F(srt_session_test, a_port_that_is_closed_ends_it_with_the_next_datagram) {
  auto gone = std::make_unique<srt_listener>();
  add_origin("o1", {gone->at()}, false);
  auto& c = call("#!::r=live/a,m=publish");
  run([&] {
    gone->look();
    return c.runs();
  });
  gone.reset();
  c.say(data_packet(1001, c.origin(), "media"));
  run([&] { return ended("origin_gone"); });
  run([&] { return c.shutdowns() == 1; });
}

TEST_F(srt_session_test, an_owner_elsewhere_ends_it) {
  auto& o = add_origin("o1");
  publisher();
  auto& c = player();
  cluster::assignment to;
  to.origin_id = "o1-s-1";
  proxy().context.owner_changed(key, to);
  exchange(c, o);
  to.origin_id = "o2-s-1";
  proxy().context.owner_changed(key, to);
  EXPECT_TRUE(ended("owner_changed"));
  run([&] { return c.shutdowns() == 1; });
  EXPECT_EQ(log.of("session_end").size(), 2u) << "its publisher, too";
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(srt_session_test, a_drain_sends_publishers_away) {
  add_origin("o1");
  auto& c = publisher();
  auto& play = player();
  auto& other = add_origin("o2");
  ASSERT_TRUE(control().drain("o1", true));
  run([&] { return ended("origin_drained"); });
  run([&] { return c.shutdowns() == 1; });
  auto& again = publisher();
  exchange(again, other);
  // His viewers are sent after him.
  run([&] { return play.shutdowns() == 1; });
  EXPECT_EQ(log.of("session_end").back().field("reason"), "owner_changed");
}

TEST_F(srt_session_test, a_viewer_waits_for_a_publisher) {
  auto& o = add_origin("o1");
  auto& waits = call("#!::r=live/a,m=request");
  run([&] { return sessions() == 1; });
  publisher();
  run([&] { return waits.runs(); });
  exchange(waits, o);
}

TEST_F(srt_session_test, a_viewer_whom_nobody_serves_hears_so) {
  relays.play_wait = milliseconds(30);
  add_origin("o1");
  EXPECT_EQ(rejection_of("#!::r=live/a,m=request"), not_found);
  EXPECT_EQ(refused("stream_not_found"), 1);
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(srt_session_test, without_origins_a_publisher_waits_and_hears_so) {
  limits.session.handshake = milliseconds(300);
  EXPECT_EQ(rejection_of("#!::r=live/a,m=publish"), down);
  EXPECT_EQ(refused("no_origin"), 1);
}

TEST_F(srt_session_test, without_descriptors_callers_hear_so) {
  add_origin("o1");
  while (descriptors.take()) {
  }
  EXPECT_EQ(rejection_of("#!::r=live/a,m=publish"), overload);
  EXPECT_EQ(refused("no_descriptors"), 1);
  EXPECT_EQ(descriptors.left(), 0);
  EXPECT_EQ(status().session, "");
  descriptors.give();
  auto& c = publisher();
  EXPECT_EQ(descriptors.left(), 0);
  c.leave();
  run([&] { return ended("client_closed"); });
  for (long n = 1; n < descriptors_max; ++n) descriptors.give();
}

}  // namespace
}  // namespace sluice::relay::test
