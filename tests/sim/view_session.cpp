#include "sim/clients.hpp"
#include "sim/proxy.hpp"
#include "sim/session_later.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr duration dial_timeout = 1500ms;
constexpr duration play_wait = 10s;
constexpr duration recover_wait = 30s;
constexpr duration steady_after = 5s;
/// A viewer without media for so long goes where somebody says that a publisher is.
constexpr duration starved_after = 1s;

}  // namespace

view_session::view_session(proxy& px, uint32_t id, int stream, viewer& client)
    : session(px, id, stream), client_(client) {}

void view_session::start() {
  deadline_ = px_.now() + play_wait;
  find();
}

void view_session::find() {
  ++step_;
  state_ = state::finding;
  hang_up();
  request_ = px_.find(*this, deadline_);
}

void view_session::find_later(duration d) {
  ++step_;
  state_ = state::paused;
  hang_up();
  later(d, [this] { find(); });
}

void view_session::on_answer(uint64_t request, base::result<cluster::assignment> answer) {
  if (request != request_) return;
  request_ = 0;
  if (!answer) {
    px_.in().trace("view {} of s{}: {}", id_, stream_, answer.error().reason);
    return close_client();
  }
  to_ = std::move(*answer);
  dial();
}

void view_session::dial() {
  ++step_;
  state_ = state::dialing;
  px_.in().trace("view {} of s{} dials {} {}.{:x}", id_, stream_, to_.origin_id, to_.epoch.counter,
                 to_.epoch.claim_id & 0xFFFF);
  followed_ = source_;
  skipping_ = false;
  conn_ = px_.dial(*this, to_.origin_id);
  packet p;
  p.what = packet::kind::play;
  p.stream = stream_;
  p.session = id_;
  p.epoch = to_.epoch;
  p.source = source_;
  p.number = next_;
  px_.in().net.send(conn_, side::proxy, p);
  later(dial_timeout, [this] {
    if (state_ != state::dialing) return;
    px_.dial_failed(to_.origin_id);
    lost();
  });
}

/// The owner cannot be reached: ask who it is now. Never another than the core says.
void view_session::lost() {
  if (deadline_ == base::never) deadline_ = px_.now() + recover_wait;
  if (deadline_ <= px_.now()) return close_client();
  find_later(250ms);
}

void view_session::on_packet(int conn, const packet& p) {
  if (conn != conn_) return;
  if (p.what == packet::kind::refuse) {
    px_.in().trace("view {} of s{} at {}: {}", id_, stream_, to_.origin_id, name_of(p.why));
    return p.why == refusal::fenced ? lost() : close_client();
  }
  if (p.what == packet::kind::playing && state_ == state::dialing) {
    state_ = state::playing;
    playing_at_ = px_.now();
    px_.dial_ok(to_.origin_id);
    later(steady_after, [this] { retried_ = false; });
    return;
  }
  if (p.what != packet::kind::media) return;
  media_at_ = px_.now();
  // A publication that comes back after another one is sent from its beginning.
  if (p.source != followed_) skipping_ = true;
  followed_ = p.source;
  int64_t& seen = seen_[p.source];
  skipping_ = skipping_ && p.number < seen;
  if (skipping_) return;
  seen = p.number + 1;
  source_ = p.source;
  next_ = p.number + 1;
  deadline_ = base::never;
  client_.on_message(p.source, p.number);
}

void view_session::on_closed(int conn) {
  if (conn != conn_) return;
  conn_ = -1;
  if (state_ == state::dialing) {
    px_.dial_failed(to_.origin_id);
    return lost();
  }
  ++step_;
  state_ = state::judging;
  px_.in().trace("view {} of s{}: connection to {} closed", id_, stream_, to_.origin_id);
  px_.ask_verdict(*this, to_.origin_id);
}

void view_session::on_verdict(cluster::origin_verdict v) {
  if (state_ != state::judging) return;
  if (v == cluster::origin_verdict::alive && !std::exchange(retried_, true)) return dial();
  lost();
}

void view_session::on_origin_lost(const std::string& origin_id, cluster::loss_reason) {
  if (to_.origin_id != origin_id || state_ == state::finding || state_ == state::paused) return;
  if (deadline_ == base::never) deadline_ = px_.now() + recover_wait;
  find();
}

void view_session::on_owner_changed(const cluster::assignment& to) {
  const bool connected = state_ == state::dialing || state_ == state::playing || state_ == state::judging;
  if (connected) {
    const bool starved = media_at_ + starved_after < px_.now() && playing_at_ + starved_after < px_.now();
    const bool better = to.epoch > to_.epoch || (to.origin_id != to_.origin_id && starved);
    if (!better) return;
  }
  if (request_ != 0) px_.cancel(std::exchange(request_, 0));
  hang_up();
  if (deadline_ == base::never) deadline_ = px_.now() + recover_wait;
  to_ = to;
  dial();
}

void view_session::hang_up() {
  if (conn_ >= 0) px_.hang_up(std::exchange(conn_, -1));
}

void view_session::leave() {
  if (ended_) return;
  hang_up();
  if (request_ != 0) px_.cancel(request_);
  ended_ = true;
  px_.done(*this);
}

void view_session::close_client() {
  viewer& client = client_;
  const uint32_t id = id_;
  leave();
  client.on_session_closed(id);
}

}  // namespace sluice::sim
