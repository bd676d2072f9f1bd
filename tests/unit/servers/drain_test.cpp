#include <gtest/gtest.h>

#include <set>

#include "unit/servers/support.hpp"

// The orderly stop of an origin's server.
namespace sluice::servers::test {
namespace {

class drain : public origin_test {
 protected:
  /// Asks until all connections are gone.
  bool until_empty() {
    return run_until(loop, [&] {
      origin().server.drain("shutdown", true);
      return origin().server.sessions() == 0;
    });
  }
};

TEST_F(drain, ends_publishers_first_and_players_with_all_that_was_published) {
  stream_limits.hub.bytes_max = 64u << 20;
  auto& pub = publisher("a");
  auto& slow = player("a", {.receive_buffer = 8 * 1024});
  slow.stop_reading();
  const auto sent = made_up_stream(20, 20'000);
  pub.publish(sent);
  run_until(loop, [&] { return origin().bytes_in() > 4'000'000 && pub.unsent() == 0; });
  run_turns(loop);

  origin().server.stop_listening();
  origin().server.drain("shutdown", false);
  run_until(loop, [&] { return pub.ended; });
  EXPECT_FALSE(pub.reset);
  for (int i = 0; i < 5; ++i) {
    origin().server.drain("shutdown", true);
    run_turns(loop, 1);
  }
  EXPECT_FALSE(slow.ended) << "has not taken what is queued";
  slow.go_on_reading();
  if (!until_empty()) return;
  run_until(loop, [&] { return slow.ended; });
  EXPECT_FALSE(slow.reset);
  EXPECT_EQ(slow.got, sent);
}

TEST_F(drain, ends_clients_that_do_nothing_yet) {
  rtmp::client_request control;
  control.intent = rtmp::client_intent::control;
  auto& idle = client(control);
  run_until(loop, [&] { return origin().server.sessions() == 1; });
  origin().server.drain("shutdown", false);
  run_until(loop, [&] { return idle.ended; });
  until_empty();
}

TEST_F(drain, asks_those_to_reconnect_who_said_that_they_can) {
  auto able = ask_for(rtmp::client_intent::publish, "a");
  able.command_object = amf0::object{{"capsEx", 1}};
  auto& first = client(able);
  auto& second = publisher("b");
  auto& third = player("a");
  run_until(loop, [&] { return first.started && third.started; });
  EXPECT_EQ(origin().server.request_reconnect("going away"), 1u);
  run_until(loop, [&] { return !first.codes.empty(); });
  EXPECT_EQ(first.codes, std::vector<std::string>{"NetConnection.Connect.ReconnectRequest"});
  run_turns(loop);
  EXPECT_TRUE(second.codes.empty() && third.codes.empty());
  EXPECT_FALSE(first.ended || second.ended || third.ended) << "they go when they want";
}

TEST_F(drain, sessions_are_those_that_publish_or_play) {
  publisher("a");
  player("a");
  player("b");
  client(ask_for(rtmp::client_intent::control, {}));
  run_until(loop, [&] { return origin().server.sessions() == 4; });
  std::multiset<std::string> seen;
  origin().server.for_each_session(
      [&](std::string_view kind, const std::string& stream) { seen.insert(std::string(kind) + " " + stream); });
  EXPECT_EQ(seen, (std::multiset<std::string>{"play __defaultVhost__/live/a", "play __defaultVhost__/live/b",
                                              "publish __defaultVhost__/live/a"}));
}

}  // namespace
}  // namespace sluice::servers::test
