#include "relay/srt_door.hpp"

#include "unit/relay/srt_support.hpp"

// Who is let in, and as whom.
namespace sluice::relay::test {
namespace {

constexpr uint32_t malformed = 4, too_old = 8, bad_request = 1400, overload = 1402, bad_mode = 1405, down = 1503;

struct srt_door_test : srt_test {};

TEST_F(srt_door_test, an_induction_leaves_nothing) {
  auto& c = add_caller();
  for (int n = 0; n < 5; ++n) c.say(c.induction());
  run([&] { return c.handshakes() == 5; });
  EXPECT_EQ(c.got()[0].size(), srt::write_handshake(c.induction()).size()) << "no amplifier";
  EXPECT_NE(c.cookie, 0u);
  EXPECT_EQ(c.heard()->version, srt::version_5);
  EXPECT_EQ(c.heard()->extension, srt::induction_magic);
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(shown_sessions(), 0);
  EXPECT_TRUE(log.of("session_refused").empty());
}

TEST_F(srt_door_test, callers_are_told_the_length_of_key) {
  limits.key_bytes = 32;
  auto& c = add_caller();
  c.say(c.induction());
  run([&] { return c.cookie != 0; });
  EXPECT_EQ(c.heard()->encryption, 4) << "AES-256";
}

TEST_F(srt_door_test, what_makes_no_sense_is_dropped) {
  auto& c = add_caller();
  auto h = c.induction();
  h.destination = 1;
  c.say(h);
  h = c.induction();
  h.socket_id = 0;
  c.say(h);
  run([&] { return dropped("bad_induction") == 2; });
  h = c.induction();
  h.request = static_cast<uint32_t>(srt::request_type::agreement);
  c.say(h);
  run([&] { return dropped("bad_handshake") == 1; });
  c.say(text_of(srt::write_handshake(c.induction())).substr(0, 40));
  run([&] { return dropped("malformed") == 1; });
  c.say("short");
  run([&] { return dropped("too_short") == 1; });
  c.say(data_packet(1, 2, "media"));
  c.say(control_packet(srt::control_type::shutdown, 2));
  run([&] { return dropped("no_session") == 2; });
  EXPECT_TRUE(c.got().empty());
}

TEST_F(srt_door_test, a_cookie_is_good_for_its_address_alone) {
  auto& o = add_origin("o1");
  auto& c = add_caller();
  c.say(c.induction());
  run([&] { return c.cookie != 0; });
  const auto good = c.cookie;
  c.cookie = good ^ 1;
  c.conclude("#!::r=live/a,m=publish");
  run([&] { return dropped("bad_cookie") == 1; });
  auto& other = add_caller();
  other.cookie = good;
  other.conclude("#!::r=live/a,m=publish");
  run([&] { return dropped("bad_cookie") == 2; });
  EXPECT_TRUE(other.got().empty());
  EXPECT_EQ(c.handshakes(), 1u) << "of the induction";
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(o.srt.inductions, 0u);
  EXPECT_EQ(status().session, "");
  c.cookie = good;
  c.conclude("#!::r=live/a,m=publish");
  run([&] { return c.runs(); });
}

TEST_F(srt_door_test, an_address_asks_for_no_more_cookies_than_its_rate) {
  limits.inductions_per_second = 3;
  auto& c = add_caller();
  constexpr int asked = 20;
  for (int n = 0; n < asked; ++n) c.say(c.induction());
  run([&] { return static_cast<int64_t>(c.handshakes()) + dropped("too_many_inductions") == asked; });
  EXPECT_GE(c.handshakes(), 3u);
  EXPECT_GT(dropped("too_many_inductions"), 0);
}

TEST_F(srt_door_test, an_address_begins_no_more_sessions_than_its_rate) {
  limits.conclusions_per_second = 2;
  auto& c = add_caller();
  c.say(c.induction());
  run([&] { return c.cookie != 0; });
  c.forget();
  constexpr int asked = 10;
  for (int n = 0; n < asked; ++n) c.conclude("");
  run([&] { return static_cast<int64_t>(c.handshakes()) + dropped("too_many_conclusions") == asked; });
  EXPECT_EQ(refused("no_stream_id"), static_cast<int64_t>(c.handshakes()));
  EXPECT_GE(c.handshakes(), 2u);
  EXPECT_GT(dropped("too_many_conclusions"), 0);
  // Lines are fewer than refusals, and say how many there were.
  EXPECT_EQ(log.of("session_refused").front().field("reason"), "no_stream_id");
  EXPECT_LE(log.of("session_refused").size(), c.handshakes());
}

TEST_F(srt_door_test, callers_hear_what_is_wrong_with_their_wish) {
  add_origin("o1");
  EXPECT_EQ(rejection_of(""), bad_request);
  EXPECT_EQ(rejection_of("#!::r=live/../x,m=publish"), bad_request);
  EXPECT_EQ(rejection_of("#!::r=live/x,m=bidirectional"), bad_mode);
  EXPECT_EQ(rejection_of(std::string(600, 'x')), bad_request);
  for (const auto* reason : {"no_stream_id", "bad_stream_name", "bad_mode", "too_long"})
    EXPECT_EQ(refused(reason), 1) << reason;

  auto& c = add_caller();
  c.say(c.induction());
  run([&] { return c.cookie != 0; });
  const auto altered = [&](const std::function<void(srt::handshake&)>& change) {
    const auto whole = c.conclusion("live/a");
    auto h = *srt::parse_handshake(base::as_bytes(whole));
    change(h);
    c.forget();
    c.say(h);
    return rejection_of(c);
  };
  EXPECT_EQ(altered([](auto& h) { h.version = srt::version_4; }), too_old);
  EXPECT_EQ(altered([](auto& h) { h.extensions = {}; }), malformed);
  EXPECT_EQ(altered([](auto& h) { h.mss = 20; }), malformed);
  EXPECT_EQ(sessions(), 0u);
}

TEST_F(srt_door_test, more_sessions_than_its_limit_are_told_so) {
  runtime::session_budget one(1);
  limits.sessions = &one;
  add_origin("o1");
  auto& c = publisher();
  EXPECT_EQ(rejection_of("#!::r=live/b,m=publish"), overload);
  EXPECT_EQ(refused("too_many_sessions"), 1);
  const auto line = log.of("session_refused").back();
  EXPECT_EQ(line.field("reason"), "too_many_sessions");
  EXPECT_EQ(line.field("status"), "1402");
  c.leave();
  run([&] { return ended("client_closed"); });
  running("#!::r=live/b,m=publish");
  door().shut("shutdown");
  EXPECT_EQ(one.taken(), 0u);
}

TEST_F(srt_door_test, sessions_of_other_protocols_count) {
  runtime::session_budget two(2);
  limits.sessions = &two;
  add_origin("o1");
  auto elsewhere = runtime::session_place::take(&two);
  publisher();
  EXPECT_EQ(rejection_of("#!::r=live/b,m=publish"), overload);
  EXPECT_EQ(two.taken(), 2u);
  elsewhere.give_back();
  running("#!::r=live/b,m=publish");
  door().shut("shutdown");
}

TEST_F(srt_door_test, sessions_that_linger_are_not_kept_without_end) {
  runtime::session_budget two(2);
  limits.sessions = &two;
  add_origin("o1");
  for (int n = 0; n < 2; ++n) {
    for (const auto* stream : {"#!::r=live/a,m=publish", "#!::r=live/b,m=publish"}) {
      auto& c = running(stream);
      c.leave();
      run([&] { return sessions() == 0; });
    }
  }
  EXPECT_EQ(rejection_of("#!::r=live/b,m=publish"), overload);
  EXPECT_EQ(two.taken(), 0u);
  door().shut("shutdown");
}

TEST_F(srt_door_test, more_handshakes_than_its_limit_are_told_so) {
  limits.handshakes_max = 1;
  auto& waits = call("#!::r=live/a,m=publish");  // there is no origin
  run([&] { return sessions() == 1; });
  EXPECT_EQ(rejection_of("#!::r=live/b,m=publish"), overload);
  EXPECT_EQ(refused("too_many_handshakes"), 1);
  add_origin("o1");
  run([&] { return waits.runs(); });
  running("#!::r=live/b,m=publish");
}

TEST_F(srt_door_test, more_sessions_of_an_address_than_its_limit_are_told_so) {
  sessions_per_address = 1;
  add_origin("o1");
  auto& c = publisher();
  EXPECT_EQ(rejection_of("#!::r=live/b,m=publish"), overload);
  EXPECT_EQ(refused("too_many_of_address"), 1);
  c.leave();
  run([&] { return ended("client_closed"); });
  running("#!::r=live/b,m=publish");
}

TEST_F(srt_door_test, who_comes_while_it_stops_is_sent_elsewhere) {
  auto& o = add_origin("o1");
  auto& c = publisher();
  door().stop_accepting();
  EXPECT_EQ(rejection_of("#!::r=live/b,m=publish"), down);
  EXPECT_EQ(refused("stopping"), 1);
  exchange(c, o);
  c.forget();
  c.repeat();
  run([&] { return c.runs(); });
}

TEST_F(srt_door_test, a_conclusion_again_is_the_same_session) {
  auto& c = call("#!::r=live/a,m=publish");
  for (int n = 0; n < 3; ++n) c.repeat();
  run_turns(loop);
  EXPECT_EQ(sessions(), 1u);
  auto& o = add_origin("o1");
  run([&] { return c.runs(); });
  const auto asked = o.srt.conclusions.size();
  const auto socket = c.origin();
  c.forget();
  c.repeat();
  run([&] { return c.runs(); });
  EXPECT_EQ(c.origin(), socket);
  EXPECT_EQ(o.srt.conclusions.size(), asked) << "answered from memory";
  EXPECT_EQ(sessions(), 1u);
  EXPECT_EQ(log.of("session_start").size(), 1u);
  exchange(c, o);
}

TEST_F(srt_door_test, a_program_that_begins_anew_takes_its_own_place) {
  sessions_per_address = 1;
  auto& c = call("#!::r=live/a,m=publish");
  run([&] { return sessions() == 1; });
  // While it waits for an origin.
  c.sequence = 2000;
  c.conclude("#!::r=live/a,m=publish");
  run([&] { return refused("replaced") == 1; });
  auto& o = add_origin("o1");
  run([&] { return c.runs(); });
  // While it runs; the origin, which begins anew as well, gives out the same id.
  c.sequence = 3000;
  c.forget();
  const auto first = o.srt.conclusions.size();
  c.conclude("#!::r=live/a,m=publish");
  run([&] { return c.runs() && o.srt.conclusions.size() > first; });
  EXPECT_TRUE(ended("replaced"));
  run([&] { return o.srt.shutdowns() == 1; });
  EXPECT_EQ(sessions(), 1u);
  EXPECT_EQ(shown_sessions(), 1);
  exchange(c, o);
  // While it lingers.
  c.leave();
  run([&] { return ended("client_closed"); });
  c.sequence = 4000;
  c.forget();
  c.conclude("#!::r=live/a,m=publish");
  run([&] { return c.runs(); });
  exchange(c, o);
  EXPECT_EQ(log.of("session_start").size(), 3u);
}

TEST_F(srt_door_test, origins_may_give_out_the_same_id) {
  auto& o = add_origin("o1");
  auto& a = running("#!::r=live/a,m=publish");
  auto& b = running("#!::r=live/b,m=publish");
  ASSERT_EQ(a.origin(), b.origin());
  exchange(a, o);
  exchange(b, o);
  EXPECT_EQ(dropped("no_session"), 0);
}

TEST_F(srt_door_test, the_same_id_for_one_address_is_refused_before_the_caller_hears_of_it) {
  auto& o = add_origin("o1");
  const auto shared = std::make_shared<inbox>();
  auto& a = add_caller(shared, 101);
  auto& b = add_caller(shared, 102);
  call(a, "#!::r=live/a,m=publish");
  run([&] { return a.runs(); });
  call(b, "#!::r=live/b,m=publish");
  run([&] { return b.rejection() != 0 && o.srt.shutdowns() == 1; });
  EXPECT_EQ(b.rejection(), down);
  EXPECT_EQ(b.handshakes(), 2u) << "of the induction, and the refusal";
  EXPECT_EQ(refused("id_collision"), 1);
  EXPECT_EQ(log.of("session_refused").back().field("status"), "1503");
  EXPECT_EQ(sessions(), 1u);
  exchange(a, o);
  for (const auto& s : control().streams()) EXPECT_EQ(s.session.empty(), s.key.stream == "b");
  // He calls again, by another socket.
  o.srt.socket_id = 0x0abc'0002;
  auto& again = add_caller(shared, 103);
  call(again, "#!::r=live/b,m=publish");
  run([&] { return again.runs(); });
  exchange(again, o);
}

TEST_F(srt_door_test, all_are_told_when_it_is_shut) {
  auto& o = add_origin("o1");
  auto& runs = publisher();
  auto& plays = player();
  auto& leaves = running("#!::r=live/b,m=publish");
  leaves.leave();
  run([&] { return ended("client_closed"); });
  o.srt.silent = true;
  auto& waits = call("#!::r=live/c,m=publish");
  auto& watches = call("#!::r=live/d,m=request");
  run([&] { return sessions() == 4; });
  size_t seen = 0;
  door().for_each_session([&](std::string_view, const std::string&) { ++seen; });
  EXPECT_EQ(seen, 2u);

  const auto told = o.srt.shutdowns();
  std::vector<int64_t> shown;  // as the end of each of the four is said
  log.on_line = [&](const auto&) { shown.push_back(shown_sessions()); };
  door().shut("shutdown");
  log.on_line = nullptr;
  EXPECT_EQ(shown, (std::vector<int64_t>{3, 2, 1, 0}));
  EXPECT_EQ(sessions(), 0u);
  EXPECT_EQ(shown_sessions(), 0);
  run([&] { return runs.shutdowns() == 1 && plays.shutdowns() == 1 && o.srt.shutdowns() == told + 2; });
  run([&] { return waits.rejection() != 0 && watches.rejection() != 0; });
  EXPECT_EQ(waits.rejection(), down);
  EXPECT_EQ(watches.rejection(), down) << "which is not that nobody publishes";
  EXPECT_EQ(refused("shutdown"), 2);
  EXPECT_TRUE(ended("shutdown"));
  run_turns(loop);
  EXPECT_EQ(status().session, "");
  EXPECT_EQ(descriptors.left(), descriptors_max);
  // The port is another's.
  srt_door next(proxy().context, proxy().common, proxy().io);
  EXPECT_TRUE(next.listen(at_proxy(), {}));
}

}  // namespace
}  // namespace sluice::relay::test
