#include <algorithm>

#include "sim/clients.hpp"
#include "sim/monitor.hpp"
#include "sim/proxy.hpp"
#include "sim/session_later.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

/// Of a connect, its handshake and the origin's answer.
constexpr duration dial_timeout = 1500ms;
constexpr duration recover_wait = 30s;
constexpr duration claim_wait = 3s;
constexpr unsigned claim_attempts = 5;
constexpr unsigned stale_max = 12;
/// Retention: so many messages, in whole GOPs.
constexpr int64_t kept_messages = 32, gop_messages = 4;
/// A session that ran so long may be retried at the same origin again.
constexpr duration steady_after = 5s;

}  // namespace

publish_session::publish_session(proxy& px, uint32_t id, int stream, encoder& client)
    : session(px, id, stream), client_(client), source_(id) {}

int64_t publish_session::oldest() const {
  return std::max<int64_t>(0, (next_ - kept_messages) / gop_messages * gop_messages);
}

void publish_session::on_media() {
  packet p;
  p.what = packet::kind::media;
  p.number = next_++;
  if (state_ == state::running && conn_ >= 0) px_.in().net.send(conn_, side::proxy, p);
}

void publish_session::claim() {
  ++step_;
  state_ = state::claiming;
  hang_up();
  cluster::claim_request ask;
  ask.session = std::to_string(id_);
  ask.exclude = failed_;
  if (deadline_ == base::never) deadline_ = px_.now() + claim_wait;
  ask.deadline = deadline_;
  ask.fail_over = ever_started_;
  request_ = px_.claim(*this, std::move(ask));
}

void publish_session::claim_later(duration d) {
  ++step_;
  state_ = state::paused;
  hang_up();
  later(d, [this] { claim(); });
}

void publish_session::on_answer(uint64_t request, base::result<cluster::assignment> answer) {
  if (request == move_request_) {
    move_request_ = 0;
    if (!answer) return end_move(nullptr);
    // The new publish is the owner's: switch.
    say_goodbye();
    if (conn_ >= 0) px_.hang_up(conn_);
    conn_ = std::exchange(move_conn_, -1);
    to_ = std::move(move_to_);
    ++step_;
    answered_at_ = px_.now();
    left_ = reason_left::silent;  // a drain is no better a reason
    started(move_wanted_);
    return;
  }
  if (request != request_) return;
  request_ = 0;
  if (answer) {
    granted_ = request;
    answered_at_ = px_.now();
    to_ = std::move(*answer);
    return dial();
  }
  const bool again = answer.error().reason.starts_with("store") && ever_started_ && px_.now() < deadline_;
  if (again) return claim_later(250ms);
  px_.in().trace("session {} of s{} is refused: {}", id_, stream_, answer.error().reason);
  close_client();
}

void publish_session::dial() {
  ++step_;
  state_ = state::dialing;
  px_.in().trace("session {} of s{} dials {} {}.{:x}", id_, stream_, to_.origin_id, to_.epoch.counter,
                 to_.epoch.claim_id & 0xFFFF);
  conn_ = px_.dial(*this, to_.origin_id);
  packet p;
  p.what = packet::kind::publish;
  p.stream = stream_;
  p.session = id_;
  p.epoch = to_.epoch;
  p.source = source_;
  p.first = oldest();
  px_.in().net.send(conn_, side::proxy, p);
  later(dial_timeout, [this] {
    if (state_ == state::dialing) dial_failed();
  });
}

void publish_session::dial_failed() {
  hang_up();
  px_.dial_failed(to_.origin_id);
  if (announced_) return lost();
  failed_.push_back(to_.origin_id);
  if (!ever_started_ && failed_.size() >= claim_attempts) return close_client();
  claim();
}

void publish_session::on_packet(int conn, const packet& p) {
  if (conn == move_conn_) {
    if (p.what == packet::kind::refuse) return end_move(name_of(p.why));
    if (p.what != packet::kind::published) return;
    move_wanted_ = p.number;
    move_request_ = px_.commit_move(*this, to_.epoch, move_to_);
    return;
  }
  if (conn != conn_) return;
  if (p.what == packet::kind::refuse) return refused(p.why);
  if (p.what != packet::kind::published || state_ != state::dialing) return;
  px_.dial_ok(to_.origin_id);
  started(p.number);
}

/// The origin has agreed: it gets what it wants of what is kept, then goes on with what comes.
void publish_session::started(int64_t wanted) {
  state_ = state::running;
  ever_started_ = true;
  granted_ = 0;
  stale_ = 0;
  failed_.clear();
  deadline_ = base::never;
  if (!std::exchange(announced_, true)) px_.publish_started(stream_, to_.epoch);
  if (!published_at_.empty() && published_at_ != to_.origin_id) {
    px_.in().watch->moved(stream_, published_at_, left_ == reason_left::silent, moved_at_, answered_at_);
    moved_at_ = answered_at_;
  }
  published_at_ = to_.origin_id;
  packet p;
  p.what = packet::kind::media;
  p.first = oldest();
  for (p.number = std::max(wanted, oldest()); p.number < next_; ++p.number) px_.in().net.send(conn_, side::proxy, p);
  if (retried_) {
    later(steady_after, [this] { retried_ = false; });
  }
}

void publish_session::refused(refusal why) {
  px_.in().trace("session {} of s{} at {}: {}", id_, stream_, to_.origin_id, name_of(why));
  if (state_ == state::dialing) px_.dial_ok(to_.origin_id);
  hang_up();
  switch (why) {
    case refusal::stale_epoch:  // the stream has had a newer owner: ask who that is
      withdraw();
      if (++stale_ > stale_max) return close_client();
      if (ever_started_ && deadline_ == base::never) deadline_ = px_.now() + recover_wait;
      return claim_later(300ms);
    case refusal::fenced:
      left_ = reason_left::other;
      withdraw();
      deadline_ = px_.now() + recover_wait;
      return claim_later(50ms);
    case refusal::at_capacity:
      withdraw();
      failed_.push_back(to_.origin_id);
      return claim();
    default:
      return close_client();
  }
}

void publish_session::withdraw() {
  if (std::exchange(announced_, false)) {
    px_.publish_ended(stream_, to_.epoch);
  } else if (granted_ != 0) {
    px_.cancel(granted_);
  }
  granted_ = 0;
}

void publish_session::on_closed(int conn) {
  if (conn == move_conn_) {
    move_conn_ = -1;
    return end_move("closed");
  }
  if (conn != conn_) return;
  conn_ = -1;
  if (state_ == state::dialing && !announced_) return dial_failed();
  ++step_;
  state_ = state::judging;
  px_.in().trace("session {} of s{}: connection to {} closed", id_, stream_, to_.origin_id);
  px_.ask_verdict(*this, to_.origin_id);
}

void publish_session::on_verdict(cluster::origin_verdict v) {
  if (state_ != state::judging) return;
  if (v != cluster::origin_verdict::alive) return lost();
  if (std::exchange(retried_, true)) return close_client();  // kicked
  dial();
}

/// The owner is dead: the next one.
void publish_session::lost() {
  if (published_at_ == to_.origin_id) left_ = reason_left::gone;
  hang_up();
  withdraw();
  retried_ = false;
  failed_.clear();
  deadline_ = px_.now() + recover_wait;
  claim();
}

void publish_session::on_origin_lost(const std::string& origin_id, cluster::loss_reason reason) {
  if (move_conn_ >= 0 && move_to_.origin_id == origin_id) end_move("lost");
  const bool left = state_ == state::claiming || state_ == state::paused;
  if (to_.origin_id != origin_id) return;
  if (!left && ever_started_) lost();
  if (published_at_ == origin_id)
    left_ = reason == cluster::loss_reason::silent ? reason_left::silent : reason_left::gone;
  if (left || ever_started_) return;
  hang_up();
  withdraw();
  claim();
}

void publish_session::on_owner_changed(const cluster::assignment& to) {
  if (state_ == state::claiming || state_ == state::paused || !(to.epoch > to_.epoch)) return;
  if (move_conn_ >= 0 && to.epoch == move_to_.epoch) return;  // our own doing
  hang_up();
  withdraw();
  to_ = to;
  left_ = reason_left::other;
  answered_at_ = px_.now();
  failed_.clear();
  if (deadline_ == base::never) deadline_ = px_.now() + recover_wait;
  dial();
}

void publish_session::on_move(const cluster::epoch& from, const cluster::assignment& to) {
  if (state_ != state::running || move_conn_ >= 0) return px_.move_refused(stream_, from, to.origin_id, "busy");
  move_to_ = to;
  move_conn_ = px_.dial(*this, to.origin_id);
  packet p;
  p.what = packet::kind::publish;
  p.stream = stream_;
  p.session = id_;
  p.epoch = to.epoch;
  p.source = source_;
  p.first = oldest();
  px_.in().net.send(move_conn_, side::proxy, p);
  px_.after(dial_timeout, [this, id = id_, conn = move_conn_, &px = px_] {
    if (px.publisher(id) == this && move_conn_ == conn && move_request_ == 0) end_move("timeout");
  });
}

/// `refused_why`: not null if the core does not know.
void publish_session::end_move(const char* refused_why) {
  if (move_conn_ >= 0) px_.hang_up(std::exchange(move_conn_, -1));
  if (std::exchange(move_request_, 0) != 0) return;  // the answer is not waited for
  if (refused_why != nullptr) px_.move_refused(stream_, to_.epoch, move_to_.origin_id, refused_why);
}

void publish_session::hang_up() {
  if (conn_ >= 0) px_.hang_up(std::exchange(conn_, -1));
  if (move_conn_ >= 0) end_move("interrupted");
}

void publish_session::say_goodbye() {
  packet bye;
  bye.what = packet::kind::goodbye;
  if (conn_ >= 0) px_.in().net.send(conn_, side::proxy, bye);
}

void publish_session::leave() {
  if (ended_) return;
  say_goodbye();
  hang_up();
  if (request_ != 0) px_.cancel(request_);
  withdraw();
  ended_ = true;
  px_.done(*this);
}

void publish_session::close_client() {
  encoder& client = client_;
  const uint32_t id = id_;
  leave();
  client.on_session_closed(id);
}

}  // namespace sluice::sim
