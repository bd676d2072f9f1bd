#include "proto/srt/relay_session.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <queue>
#include <random>

#include "base/bytes.hpp"
#include "capture.hpp"

namespace sluice::srt {
namespace {

using namespace std::chrono_literals;

const base::ip_address client_address = *base::ip_address::parse("192.0.2.7");
constexpr uint32_t origin_socket = 0x0abc'0001, origin_cookie = 0x1234'5678;

std::vector<uint8_t> data(uint32_t sequence, uint32_t destination) {
  std::vector<uint8_t> out;
  base::byte_writer w(out);
  w.u32(sequence);
  w.u32(0xc000'0001);
  w.u32(0);
  w.u32(destination);
  w.text("media");
  return out;
}

std::vector<uint8_t> control(control_type type, uint32_t destination, std::vector<uint32_t> words = {0}) {
  const auto head = plain_control(type, destination, 0);
  std::vector<uint8_t> out(head.begin(), head.begin() + header_bytes);
  base::byte_writer w(out);
  for (uint32_t v : words) w.u32(v);
  return out;
}

/// A session, and the bytes with which an origin would answer.
struct relay_session_test : ::testing::Test {
  explicit relay_session_test() { restart(); }
  void restart() { s.emplace(session_limits{}, client_address, c.conclusion(), reject::not_found, now); }

  std::vector<relay_session::output> drain() {
    std::vector<relay_session::output> all;
    while (auto o = s->poll()) all.push_back(std::move(*o));
    return all;
  }
  relay_session::output only() {
    auto all = drain();
    EXPECT_EQ(all.size(), 1u);
    return all.empty() ? relay_session::output{} : all[0];
  }
  handshake said(const relay_session::output& o) { return parse_handshake(o.bytes).value_or(handshake{}); }

  std::vector<uint8_t> cookie() {
    auto h = *parse_handshake(c.cookie());
    h.cookie = origin_cookie;
    return write_handshake(h);
  }
  std::vector<uint8_t> answer() {
    auto h = *parse_handshake(c.answer());
    h.cookie = origin_cookie;
    h.socket_id = origin_socket;
    return write_handshake(h);
  }
  void run() {
    s->dial(now);
    s->from_origin(cookie(), now);
    s->from_origin(answer(), now);
    drain();
    ASSERT_EQ(s->state(), session_state::running);
  }
  /// Moves the clock to the next deadline, and beyond.
  void pass_time() {
    now = std::max(now, s->next_deadline());
    s->on_timeout(now);
  }

  capture c{"encrypted.txt"};
  const uint32_t client_socket = parse_handshake(c.conclusion())->socket_id;
  const uint32_t sequence = parse_handshake(c.conclusion())->initial_sequence;
  base::time_point now{100s};
  std::optional<relay_session> s;
};

TEST_F(relay_session_test, the_two_agree_through_it) {
  EXPECT_EQ(s->state(), session_state::waiting);
  now += 40ms;
  s->dial(now);
  auto o = only();
  EXPECT_FALSE(o.to_client);
  // What libsrt's own caller would say, but for the time.
  auto induction = c.induction();
  set_timestamp(induction, said(o).timestamp);
  EXPECT_EQ(o.bytes, induction);

  now += 5ms;
  s->from_origin(cookie(), now);
  o = only();
  EXPECT_FALSE(o.to_client);
  const auto concluded = c.conclusion(), answered = answer();  // what is parsed are views of them
  auto expected = *parse_handshake(concluded);
  expected.timestamp += 45'000;  // the client's clock has gone on
  expected.cookie = origin_cookie;
  EXPECT_EQ(o.bytes, write_handshake(expected));

  s->from_origin(answered, now);
  o = only();
  EXPECT_TRUE(o.to_client);
  auto back = *parse_handshake(answered);
  back.cookie = parse_handshake(concluded)->cookie;
  back.peer = peer_field(client_address);
  EXPECT_EQ(o.bytes, write_handshake(back));
  EXPECT_EQ(s->state(), session_state::running);
  EXPECT_EQ(s->origin_id(), origin_socket);
}

TEST_F(relay_session_test, media_goes_on_as_it_is) {
  run();
  EXPECT_TRUE(s->from_client(data(sequence, origin_socket), now).forward);
  EXPECT_TRUE(s->from_origin(control(control_type::ack, client_socket, {sequence + 1}), now).forward);
  EXPECT_TRUE(s->from_origin(data(sequence, client_socket), now).forward);
  EXPECT_TRUE(s->from_client(control(control_type::ack, origin_socket, {sequence + 1}), now).forward);
  EXPECT_TRUE(s->from_client(control(control_type::keepalive, origin_socket), now).forward);
  EXPECT_TRUE(drain().empty());
}

TEST_F(relay_session_test, what_is_forged_goes_nowhere) {
  run();
  s->from_client(data(sequence, origin_socket), now);
  EXPECT_EQ(s->from_origin(control(control_type::ack, client_socket, {sequence + 2}), now).fault, "bad_sequence");
  EXPECT_EQ(s->from_client(control(control_type::ack, origin_socket, {sequence + 1}), now).fault, "bad_sequence");
  EXPECT_EQ(s->from_client(control(control_type::drop_request, origin_socket, {9, 8}), now).fault, "bad_sequence");
  EXPECT_EQ(s->from_client(data(sequence, origin_socket + 1), now).fault, "no_session");
  EXPECT_EQ(s->from_origin(data(sequence, client_socket + 1), now).fault, "wrong_destination");
  EXPECT_EQ(s->from_client(test::hex("00"), now).fault, "too_short");
  EXPECT_EQ(s->from_origin({}, now).fault, "too_short");
  EXPECT_EQ(s->state(), session_state::running);
}

TEST_F(relay_session_test, what_was_given_up_unsent_counts_as_sent) {
  run();
  EXPECT_TRUE(
      s->from_client(control(control_type::drop_request, origin_socket, {sequence, sequence + 9}), now).forward);
  EXPECT_TRUE(s->from_origin(control(control_type::ack, client_socket, {sequence + 10}), now).forward);
}

TEST_F(relay_session_test, a_repeated_conclusion_is_answered_again_and_not_asked_again) {
  run();
  const auto first = *parse_handshake(answer());
  now += 250ms;
  s->from_client(c.conclusion(), now);
  const auto o = only();
  EXPECT_TRUE(o.to_client);
  EXPECT_EQ(said(o).timestamp, first.timestamp + 250'000);
  EXPECT_EQ(said(o).socket_id, origin_socket);
}

TEST_F(relay_session_test, a_repeated_conclusion_tells_the_time_anew) {
  auto again = *parse_handshake(c.conclusion());
  again.timestamp = 500'000;
  now += 300ms;
  s->from_client(write_handshake(again), now);
  now += 10ms;
  s->dial(now);
  EXPECT_EQ(said(only()).timestamp, 510'000u);
}

TEST_F(relay_session_test, an_origin_that_does_not_answer_is_asked_again_and_given_up) {
  s->dial(now);
  const auto began = now;
  size_t asked = drain().size();
  while (s->state() != session_state::ended) {
    pass_time();
    for (const auto& o : drain()) {
      if (!o.to_client) ++asked;
      if (o.to_client) EXPECT_EQ(said(o).request, reject_base + 1503);
    }
  }
  EXPECT_EQ(now - began, session_limits{}.handshake);
  EXPECT_GT(asked, 8u);
  EXPECT_LT(asked, 20u);
  EXPECT_EQ(s->end_reason(), "origin_silent");
  EXPECT_EQ(s->rejection(), 1503u);
  EXPECT_TRUE(s->finished(now));
}

TEST_F(relay_session_test, no_origin_at_all) {
  pass_time();
  EXPECT_EQ(said(only()).request, reject_base + 1404);
  EXPECT_EQ(s->end_reason(), "no_origin");
}

TEST_F(relay_session_test, another_origin_within_the_same_time) {
  const auto began = now;
  s->dial(now);
  s->from_origin(cookie(), now);
  drain();
  now += 1s;
  s->dial(now);
  EXPECT_EQ(said(only()).request, 1u);
  EXPECT_FALSE(s->origin_answered());
  s->from_origin(cookie(), now);
  s->from_origin(answer(), now);
  EXPECT_EQ(s->state(), session_state::running);
  EXPECT_LT(now - began, session_limits{}.handshake);
}

TEST_F(relay_session_test, a_refusal_is_passed_on_with_its_reason) {
  s->dial(now);
  s->from_origin(cookie(), now);
  drain();
  auto no = *parse_handshake(answer());
  no.request = reject_base + 10;
  no.extensions = {};
  s->from_origin(write_handshake(no), now);
  const auto o = only();
  EXPECT_TRUE(o.to_client);
  EXPECT_EQ(said(o).request, reject_base + 10);
  EXPECT_EQ(said(o).cookie, parse_handshake(c.conclusion())->cookie);
  EXPECT_EQ(s->rejection(), 10u);
  EXPECT_EQ(s->end_reason(), "origin_refused");
}

TEST_F(relay_session_test, what_the_origin_may_not_answer) {
  auto old = *parse_handshake(cookie());
  old.version = 4;
  s->dial(now);
  s->from_origin(write_handshake(old), now);
  EXPECT_EQ(s->rejection(), 1502u);

  restart();
  s->dial(now);
  s->from_origin(answer(), now);  // before it gave a cookie
  EXPECT_EQ(s->state(), session_state::inducing);
  s->from_origin(cookie(), now);
  s->from_origin(cookie(), now);  // twice
  EXPECT_EQ(s->state(), session_state::concluding);
  auto bad = answer();
  bad.push_back(1);
  s->from_origin(bad, now);
  EXPECT_EQ(s->rejection(), 1502u);
}

TEST_F(relay_session_test, an_agreement_may_be_withdrawn_before_the_caller_hears_of_it) {
  s->dial(now);
  s->from_origin(cookie(), now);
  drain();
  s->from_origin(answer(), now);
  ASSERT_EQ(s->state(), session_state::running);
  s->withdraw(reject::down, "id_collision", now);
  EXPECT_EQ(s->state(), session_state::ended);
  EXPECT_TRUE(s->finished(now));
  EXPECT_EQ(s->end_reason(), "id_collision");
  EXPECT_EQ(s->rejection(), static_cast<uint32_t>(reject::down));
  const auto told = drain();
  ASSERT_EQ(told.size(), 2u);
  EXPECT_FALSE(told[0].to_client);
  const auto goodbye = parse_packet(told[0].bytes);
  EXPECT_TRUE(goodbye->control && goodbye->type == control_type::shutdown);
  EXPECT_EQ(goodbye->destination, origin_socket);
  EXPECT_TRUE(told[1].to_client);
  EXPECT_EQ(said(told[1]).request, reject_base + static_cast<uint32_t>(reject::down));
}

TEST_F(relay_session_test, an_end_before_it_runs_is_the_servers) {
  s->end("shutdown", now);
  EXPECT_EQ(said(only()).request, reject_base + static_cast<uint32_t>(reject::down)) << "not that there is no stream";
  EXPECT_TRUE(s->finished(now));
}

TEST_F(relay_session_test, a_shutdown_of_either_side_reaches_the_other) {
  run();
  EXPECT_TRUE(s->from_client(control(control_type::shutdown, origin_socket), now).forward);
  EXPECT_EQ(s->end_reason(), "client_closed");

  restart();
  run();
  EXPECT_TRUE(s->from_origin(control(control_type::shutdown, client_socket), now).forward);
  EXPECT_EQ(s->end_reason(), "origin_closed");
  EXPECT_FALSE(s->finished(now));
}

TEST_F(relay_session_test, an_end_is_told_to_both_and_again_to_who_did_not_hear_it) {
  run();
  s->end("origin_lost", now);
  const auto all = drain();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(parse_packet(all[0].bytes)->destination, client_socket);
  EXPECT_EQ(parse_packet(all[1].bytes)->destination, origin_socket);
  for (const auto& o : all) EXPECT_EQ(parse_packet(o.bytes)->type, control_type::shutdown);

  EXPECT_FALSE(s->from_client(data(sequence, origin_socket), now).forward);
  EXPECT_TRUE(drain().empty());  // just told
  now += 150ms;
  for (int i = 0; i < 5; ++i) s->from_client(data(sequence, origin_socket), now);
  EXPECT_TRUE(only().to_client);
  EXPECT_FALSE(s->finished(now));
  now = s->next_deadline();
  EXPECT_TRUE(s->finished(now));
}

TEST_F(relay_session_test, silence_ends_it) {
  run();
  const auto began = now;
  for (int i = 0; i < 20; ++i) {
    now += 1s;
    s->from_origin(control(control_type::keepalive, client_socket), now);
    if (s->next_deadline() <= now) s->on_timeout(now);
    if (s->state() == session_state::ended) break;
  }
  EXPECT_EQ(s->end_reason(), "client_silent");
  EXPECT_EQ(now - began, session_limits{}.silence);
  EXPECT_EQ(drain().size(), 2u);

  restart();
  run();
  while (s->state() == session_state::running) {
    now += 1s;
    s->from_client(control(control_type::keepalive, origin_socket), now);
    s->on_timeout(now);
  }
  EXPECT_EQ(s->end_reason(), "origin_silent");
}

TEST_F(relay_session_test, tells_the_next_connection_from_a_repetition) {
  auto h = *parse_handshake(c.conclusion());
  EXPECT_FALSE(s->is_another(h));
  h.initial_sequence += 1;
  EXPECT_TRUE(s->is_another(h));
}

/// A lossy network in which everything takes some time, some of it gets lost, some comes twice or late.
class network {
 public:
  explicit network(uint32_t seed) : random_(seed) {}
  void send(base::time_point now, std::function<void(base::time_point)> deliver) {
    for (int copies = draw(10) == 0 ? 2 : 1; copies > 0; --copies)
      if (draw(100) >= loss_percent) events_.push({now + std::chrono::milliseconds(1 + draw(60)), order_++, deliver});
  }
  void at(base::time_point when, std::function<void(base::time_point)> f) {
    events_.push({when, order_++, std::move(f)});
  }
  bool step() {
    if (events_.empty()) return false;
    auto e = events_.top();
    events_.pop();
    e.what(e.when);
    return true;
  }
  int draw(int below) { return static_cast<int>(random_() % static_cast<uint32_t>(below)); }
  int loss_percent = 30;

 private:
  struct event {
    base::time_point when;
    int order;
    std::function<void(base::time_point)> what;
    bool operator<(const event& o) const { return when != o.when ? when > o.when : order > o.order; }
  };
  std::mt19937 random_;
  std::priority_queue<event> events_;
  int order_ = 0;
};

TEST(srt_relay_conversation, comes_to_an_agreement_or_an_end_over_a_bad_network) {
  const capture c("plain.txt");
  const uint32_t client_socket = parse_handshake(c.conclusion())->socket_id;
  int ran = 0;
  for (uint32_t seed = 1; seed <= 500; ++seed) {
    network net(seed);
    const base::time_point began(100s);
    std::optional<relay_session> s;
    bool client_connected = false, origin_connected = false;
    uint32_t client_refused = 0;
    int origin_conclusions = 0;

    std::function<void(base::time_point)> drain, timeout;
    base::time_point timer_at = base::never;
    const auto to_client = [&](const std::vector<uint8_t>& bytes) {
      const auto h = parse_handshake(bytes);
      if (!h) return;
      if (h->is(request_type::conclusion)) client_connected = true;
      if (h->request >= reject_base && !h->is(request_type::conclusion)) client_refused = h->request;
    };
    std::function<void(base::time_point, std::vector<uint8_t>)> to_origin = [&](base::time_point now,
                                                                                const std::vector<uint8_t>& bytes) {
      const auto h = parse_handshake(bytes);
      if (!h) return;
      const bool induces = h->is(request_type::induction);
      if (!induces && h->cookie != parse_handshake(c.cookie())->cookie) return;
      origin_connected |= !induces;
      origin_conclusions += !induces;
      net.send(now, [&, induces](base::time_point t) {
        s->from_origin(induces ? c.cookie() : c.answer(), t);
        drain(t);
      });
    };
    drain = [&](base::time_point now) {
      while (auto o = s->poll()) {
        net.send(now, [&, o = std::move(*o)](base::time_point t) {
          if (o.to_client) return to_client(o.bytes);
          to_origin(t, o.bytes);
        });
      }
      if (s->next_deadline() < timer_at) net.at(timer_at = s->next_deadline(), timeout);
    };
    timeout = [&](base::time_point now) {
      timer_at = base::never;
      if (s->state() == session_state::running || s->finished(now)) return;
      s->on_timeout(now);
      drain(now);
    };
    // The caller repeats its conclusion every 250 ms for 3 s.
    for (int i = 0; i < 12; ++i)
      net.at(began + i * 250ms, [&](base::time_point now) {
        if (client_connected || client_refused != 0) return;
        net.send(now, [&](base::time_point t) {
          const bool first = !s;
          if (first) s.emplace(session_limits{}, client_address, c.conclusion(), reject::not_found, t);
          if (first) s->dial(t);
          if (!first) s->from_client(c.conclusion(), t);
          drain(t);
        });
      });
    int steps = 0;
    while (net.step() && ++steps < 10'000) {
    }
    ASSERT_LT(steps, 10'000) << seed;
    ASSERT_TRUE(s) << seed;
    // Whoever has been told that it runs runs, and so does the origin's side of it.
    if (client_connected) {
      EXPECT_TRUE(origin_connected) << seed;
      EXPECT_EQ(s->state(), session_state::running) << seed;
      EXPECT_EQ(s->client_id(), client_socket);
    }
    if (s->state() == session_state::running) EXPECT_EQ(s->origin_id(), parse_handshake(c.answer())->socket_id);
    EXPECT_TRUE(s->state() == session_state::running || s->state() == session_state::ended) << seed;
    EXPECT_LT(origin_conclusions, 30) << seed;
    ran += client_connected;
  }
  EXPECT_GT(ran, 450);  // of 500, with 30 % of loss on each way
}

}  // namespace
}  // namespace sluice::srt
