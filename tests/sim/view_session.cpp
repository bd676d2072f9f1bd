// As src/relay/feed.cpp does it, with a pull for each viewer.

#include "sim/clients.hpp"
#include "sim/proxy.hpp"
#include "sim/session_later.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr duration recover_wait = 30s;
constexpr duration play_wait = 10s;
constexpr duration retry_delay = 20ms;
/// An origin that ends a running pull twice within this time means it.
constexpr duration second_loss = 10s;
/// A quiet pull is pinged on its own connection.
constexpr duration quiet_max = 2s, answer_max = 4s;

}  // namespace

view_session::view_session(proxy& px, uint32_t id, int stream, viewer& client)
    : session(px, id, stream), client_(client) {}

void view_session::start() {
  give_up_at_ = px_.now() + play_wait;
  find();
}

void view_session::find() {
  ++step_;
  request_ = px_.find(*this, std::max(give_up_at_, px_.now() + 1ms));
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
  agreed_ = false;
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
  watch_dial();
}

void view_session::on_undialled() {
  px_.dial_failed(to_.origin_id);
  retry();
}

void view_session::drop_upstream() {
  ++step_;
  news_.reset();
  hang_up();
  if (give_up_at_ == base::never) give_up_at_ = px_.now() + recover_wait;
}

/// Asks who the owner is now. Never another than the core says.
void view_session::retry() {
  drop_upstream();
  if (px_.now() >= give_up_at_) return close_client();
  later(retry_delay, [this] { find(); });
}

void view_session::on_packet(int conn, const packet& p) {
  if (conn != conn_) return;
  heard_at_ = px_.now();
  pinged_ = false;
  if (p.what == packet::kind::refuse) {
    px_.in().trace("view {} of s{} at {}: {}", id_, stream_, to_.origin_id, name_of(p.why));
    return close_client();
  }
  if (p.what == packet::kind::playing && !agreed_) {
    ++step_;
    agreed_ = true;
    give_up_at_ = base::never;
    px_.dial_ok(to_.origin_id);
    return watch_quiet();
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
  client_.on_message(p.source, p.number);
}

bool view_session::is_fed() const { return media_at_ + 1s > px_.now(); }

void view_session::watch_quiet() {
  later(1s, [this] {
    const duration quiet = px_.now() - heard_at_;
    if (quiet >= quiet_max + answer_max) return on_lost(conn_);
    if (quiet >= quiet_max && !std::exchange(pinged_, true)) {
      packet p;
      p.what = packet::kind::ping;
      px_.in().net.send(conn_, side::proxy, p);
    }
    px_.watched(stream_);
    if (news_ && !is_fed()) return on_owner_changed(cluster::assignment(*news_));
    watch_quiet();
  });
}

void view_session::on_closed(int conn) {
  if (conn != conn_) return;
  conn_ = -1;
  px_.in().trace("view {} of s{}: connection to {} closed", id_, stream_, to_.origin_id);
  if (!agreed_ && !px_.in().net.was_connected(conn)) return on_undialled();
  on_lost(conn);
}

void view_session::on_lost(int) {
  drop_upstream();
  asked_at_step_ = step_;
  px_.ask_verdict(*this, to_.origin_id, agreed_);
}

void view_session::on_verdict(cluster::origin_verdict v) {
  if (step_ != asked_at_step_) return;
  if (v != cluster::origin_verdict::alive) return retry();
  const bool again =
      std::exchange(lost_alive_at_, px_.now()) + second_loss > px_.now() && lost_alive_origin_ == to_.origin_id;
  lost_alive_origin_ = to_.origin_id;
  if (!agreed_ || again) return close_client();
  retry();
}

void view_session::on_origin_lost(const std::string& origin_id, cluster::loss_reason) {
  const bool watches = conn_ >= 0;
  if (to_.origin_id == origin_id && watches) retry();
}

void view_session::on_owner_changed(const cluster::assignment& to) {
  if (to.rtmp.empty()) return;  // the origin is not known here
  if (conn_ >= 0 && to.origin_id == to_.origin_id) return news_.reset();
  if (conn_ >= 0 && is_fed() && to.epoch < to_.epoch) {
    news_ = to;  // of yesterday, if media go on
    return;
  }
  drop_upstream();
  if (request_ != 0) px_.cancel(std::exchange(request_, 0));
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
