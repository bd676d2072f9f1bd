#include "proto/srt/relay_session.hpp"

#include <algorithm>

#include "base/bytes.hpp"

namespace sluice::srt {
namespace {

constexpr base::duration first_ask_interval = std::chrono::milliseconds(100);
constexpr base::duration ask_interval_max = std::chrono::milliseconds(250);  // as callers do
constexpr base::duration goodbye_interval = std::chrono::milliseconds(100);

uint32_t microseconds(base::duration d) {
  return static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::microseconds>(d).count());
}

/// 31 bits less one: nothing has been sent.
uint32_t before(uint32_t sequence) { return (sequence - 1) & 0x7fff'ffff; }

bool is_refusal(uint32_t request) { return request >= reject_base && request < 0x8000'0000; }

}  // namespace

relay_session::relay_session(const session_limits& limits, const base::ip_address& client, base::bytes_view conclusion,
                             reject unanswered, base::time_point now)
    : limits_(limits),
      client_(client),
      conclusion_(conclusion.begin(), conclusion.end()),
      asked_(parse_handshake(conclusion_).value_or(handshake{})),
      unanswered_(unanswered),
      client_said_(asked_.timestamp),
      client_said_at_(now),
      handshake_until_(now + limits.handshake),
      client_heard_(now),
      origin_heard_(now),
      client_sent_(before(asked_.initial_sequence)),
      origin_sent_(before(asked_.initial_sequence)) {}

uint32_t relay_session::client_clock(base::time_point now) const {
  return client_said_ + microseconds(now - client_said_at_);
}

void relay_session::dial(base::time_point now) {
  if (state_ == session_state::running || state_ == session_state::ended) return;
  state_ = session_state::inducing;
  origin_answered_ = false;
  ask_interval_ = first_ask_interval;
  ask_origin(now);
}

/// Packets get lost: asked until answered.
void relay_session::ask_origin(base::time_point now) {
  handshake h = asked_;
  // Receivers compare this clock with theirs: it stands still for nobody while an origin is looked for.
  h.timestamp = client_clock(now);
  h.destination = 0;
  if (state_ == session_state::inducing) {
    h.version = version_4;
    h.encryption = 0;
    h.extension = 2;  // a datagram socket, in the terms of UDT
    h.request = static_cast<uint32_t>(request_type::induction);
    h.cookie = 0;
    h.extensions = {};
  } else {
    h.cookie = origin_cookie_;
  }
  out_.push_back({false, write_handshake(h)});
  ask_again_at_ = now + ask_interval_;
  ask_interval_ = std::min(ask_interval_max, 2 * ask_interval_);
}

relay_session::verdict relay_session::from_client(base::bytes_view datagram, base::time_point now) {
  const auto p = parse_packet(datagram);
  if (!p) return {false, "too_short"};
  if (is_handshake(*p)) {
    const auto h = parse_handshake(datagram);
    if (!h) return {false, h.error().reason};
    again_from_client(*h, now);
    return {};
  }
  if (state_ == session_state::ended && ran_) {
    say_goodbye(true, now);
    return {};
  }
  if (state_ != session_state::running || p->destination != origin_id_) return {false, "no_session"};
  client_heard_ = now;
  const verdict v = pass(*p, client_sent_, origin_sent_);
  if (v.forward && p->control && p->type == control_type::shutdown) finish("client_closed", now, true);
  return v;
}

/// A caller repeats its conclusion until it hears an answer.
void relay_session::again_from_client(const handshake& h, base::time_point now) {
  if (is_another(h) || !h.is(request_type::conclusion) || state_ == session_state::ended) return;
  client_heard_ = now;
  client_said_ = h.timestamp;
  client_said_at_ = now;
  if (state_ == session_state::running) answer_client(now);
}

bool relay_session::is_another(const handshake& h) const {
  return h.initial_sequence != asked_.initial_sequence || h.cookie != asked_.cookie;
}

relay_session::verdict relay_session::from_origin(base::bytes_view datagram, base::time_point now) {
  const auto p = parse_packet(datagram);
  if (!p) return {false, "too_short"};
  if (p->destination != asked_.socket_id) return {false, "wrong_destination"};
  if (is_handshake(*p)) {
    handshake_from_origin(datagram, now);
    return {};
  }
  if (state_ == session_state::ended && ran_) {
    say_goodbye(false, now);
    return {};
  }
  if (state_ != session_state::running) return {false, "no_session"};
  origin_heard_ = now;
  const verdict v = pass(*p, origin_sent_, client_sent_);
  if (v.forward && p->control && p->type == control_type::shutdown) finish("origin_closed", now, true);
  return v;
}

/// `sent_here`: up to which sequence number the sender of `p` has sent; `sent_there`: the receiver.
relay_session::verdict relay_session::pass(const packet& p, uint32_t& sent_here, uint32_t sent_there) {
  if (!p.control) {
    if (is_after(p.sequence, sent_here)) sent_here = p.sequence;
    return {true, {}};
  }
  if (const auto fault = fault_of(p, sent_there, sent_here); !fault.empty()) return {false, fault};
  if (p.type == control_type::drop_request) {
    // What a sender gives up unsent it has done with, as if it had been sent.
    base::byte_reader range(p.body);
    range.skip(4);
    if (const uint32_t last = range.u32(); is_after(last, sent_here)) sent_here = last;
  }
  return {true, {}};
}

void relay_session::handshake_from_origin(base::bytes_view datagram, base::time_point now) {
  if (state_ != session_state::inducing && state_ != session_state::concluding) return;
  auto h = parse_handshake(datagram);
  if (!h) return;
  origin_answered_ = true;
  if (is_refusal(h->request)) {
    h->peer = peer_field(client_);
    if (h->cookie == origin_cookie_) h->cookie = asked_.cookie;
    out_.push_back({true, write_handshake(*h)});
    rejection_ = h->request - reject_base;
    return finish("origin_refused", now, false);
  }
  if (state_ == session_state::inducing) {
    if (!h->is(request_type::induction)) return;
    if (h->version < version_5 || h->extension != induction_magic) return refuse(reject::gateway, "old_origin", now);
    origin_cookie_ = h->cookie;
    state_ = session_state::concluding;
    ask_interval_ = first_ask_interval;
    return ask_origin(now);
  }
  // The answer to an induction that was repeated may be late.
  if (!h->is(request_type::conclusion)) return;
  if (h->version != version_5 || h->socket_id == 0 || !read_extensions(*h))
    return refuse(reject::gateway, "bad_origin_answer", now);
  origin_id_ = h->socket_id;
  origin_sent_ = before(h->initial_sequence);
  h->peer = peer_field(client_);
  if (h->cookie == origin_cookie_) h->cookie = asked_.cookie;
  answer_ = write_handshake(*h);
  answer_at_ = now;
  state_ = session_state::running;
  ran_ = true;
  ask_again_at_ = base::never;
  client_heard_ = origin_heard_ = now;
  out_.push_back({true, answer_});
}

void relay_session::answer_client(base::time_point now) {
  std::vector<uint8_t> again = answer_;
  const auto said = parse_packet(answer_);
  set_timestamp(again, said->timestamp + microseconds(now - answer_at_));
  out_.push_back({true, std::move(again)});
}

void relay_session::refuse(reject why, std::string_view reason, base::time_point now) {
  if (state_ == session_state::running || state_ == session_state::ended) return;
  rejection_ = static_cast<uint32_t>(why);
  out_.push_back({true, refuse_conclusion(asked_, why, client_)});
  finish(reason, now, false);
}

void relay_session::withdraw(reject why, std::string_view reason, base::time_point now) {
  if (state_ != session_state::running) return;
  std::erase_if(out_, [](const output& o) { return o.to_client; });
  ran_ = false;
  say_goodbye(false, now);
  state_ = session_state::concluding;
  refuse(why, reason, now);
}

void relay_session::end(std::string_view reason, base::time_point now) {
  if (state_ == session_state::ended) return;
  if (state_ != session_state::running) return refuse(reject::down, reason, now);
  finish(reason, now, true);
  say_goodbye(true, now);
  goodbye_at_ = base::time_point::min();
  say_goodbye(false, now);
}

void relay_session::finish(std::string_view reason, base::time_point now, bool ran) {
  state_ = session_state::ended;
  end_reason_ = reason;
  ask_again_at_ = base::never;
  linger_until_ = ran ? now + limits_.linger : now;
}

/// To a side that goes on sending: it has not heard of the end.
void relay_session::say_goodbye(bool to_client, base::time_point now) {
  if (goodbye_at_ != base::time_point::min() && now - goodbye_at_ < goodbye_interval) return;
  goodbye_at_ = now;
  const auto goodbye = plain_control(control_type::shutdown, to_client ? asked_.socket_id : origin_id_, 0);
  out_.push_back({to_client, {goodbye.begin(), goodbye.end()}});
}

void relay_session::on_timeout(base::time_point now) {
  switch (state_) {
    case session_state::waiting:
    case session_state::inducing:
    case session_state::concluding:
      if (now >= handshake_until_) {
        const bool found = state_ != session_state::waiting;
        refuse(found ? reject::down : unanswered_, found ? "origin_silent" : "no_origin", now);
      } else if (now >= ask_again_at_) {
        ask_origin(now);
      }
      return;
    case session_state::running:
      if (now - client_heard_ >= limits_.silence) return end("client_silent", now);
      if (now - origin_heard_ >= limits_.silence) return end("origin_silent", now);
      return;
    case session_state::ended:
      return;
  }
}

base::time_point relay_session::next_deadline() const {
  switch (state_) {
    case session_state::waiting:
    case session_state::inducing:
    case session_state::concluding:
      return std::min(handshake_until_, ask_again_at_);
    case session_state::running:
      return std::min(client_heard_, origin_heard_) + limits_.silence;
    case session_state::ended:
      break;
  }
  return linger_until_;
}

std::optional<relay_session::output> relay_session::poll() {
  if (out_.empty()) return std::nullopt;
  output next = std::move(out_.front());
  out_.pop_front();
  return next;
}

}  // namespace sluice::srt
