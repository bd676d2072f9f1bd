#pragma once

#include <gtest/gtest.h>

#include <map>

#include "golden/golden.hpp"
#include "proto/rtmp/server_session.hpp"
#include "unit/proto/rtmp/support.hpp"

/// The fixture of the server session's tests: a session, a client that speaks to it, and a clock.
namespace sluice::rtmp::test {

using namespace std::chrono_literals;
using base::time_point;
using testing::Test;
using strings = std::vector<std::string>;

inline constexpr time_point start{1000s};

inline amf0::value undefined() { return amf0::value::storage(amf0::undefined{}); }

class server : public Test {
 protected:
  session_config config;
  server_session session{config, start, 7};
  peer client;
  time_point now = start;

  base::result<void> try_feed(const bytes& b) { return session.receive(b, now); }
  void feed(const bytes& b) {
    auto ok = try_feed(b);
    ASSERT_TRUE(ok) << ok.error().reason << ": " << ok.error().text;
  }
  std::string error_of(const bytes& b) {
    auto ok = try_feed(b);
    return ok ? "" : std::string(ok.error().reason);
  }
  strings heard() { return client.commands_heard(session.output()); }
  template <typename Event>
  Event next() {
    auto e = session.next_event();
    EXPECT_TRUE(e && std::holds_alternative<Event>(*e)) << (e ? static_cast<int>(e->index()) : -1);
    return e && std::holds_alternative<Event>(*e) ? std::get<Event>(std::move(*e)) : Event{};
  }
  void no_event() { EXPECT_FALSE(session.next_event()); }

  static bytes connect_command(amf0::object extra = {}) {
    amf0::object o{{"app", "live"}, {"tcUrl", "rtmp://h/live"}, {"flashVer", "test"}};
    o.insert(o.end(), extra.begin(), extra.end());
    return peer::command("connect", 1, {std::move(o)});
  }
  void connected(amf0::object extra = {}) {
    feed(peer::handshake() + connect_command(std::move(extra)));
    next<connect_request>();
    session.accept_connect();
    heard();
  }
  uint32_t stream_created() {
    feed(peer::command("createStream", 4, {amf0::value()}));
    heard();
    return ++created_;
  }
  uint32_t publishing(const std::string& name = "s") {
    const uint32_t id = stream_created();
    feed(peer::command("publish", 5, {amf0::value(), name, "live"}, id));
    next<publish_request>();
    session.accept_publish(id);
    heard();
    return id;
  }
  uint32_t playing() {
    const uint32_t id = stream_created();
    feed(peer::command("play", 5, {amf0::value(), "s"}, id));
    next<play_request>();
    session.accept_play(id);
    heard();
    return id;
  }

 private:
  uint32_t created_ = 0;
};

}  // namespace sluice::rtmp::test
