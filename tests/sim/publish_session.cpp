// As src/relay/publish_relay.cpp, publish_failover.cpp and publish_move.cpp do it.

#include <algorithm>

#include "sim/clients.hpp"
#include "sim/monitor.hpp"
#include "sim/proxy.hpp"
#include "sim/session_later.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr duration recover_wait = 30s;
constexpr unsigned claim_attempts = 5;
/// An origin that closes a publish twice within this time while it lives has kicked the client.
constexpr duration second_close = 10s;
constexpr duration retry_first = 50ms, retry_last = 1s;
/// Retention: so many messages, in whole GOPs.
constexpr int64_t kept_messages = 32, gop_messages = 4;

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
  if (running() && conn_ >= 0) px_.in().net.send(conn_, side::proxy, p);
}

void publish_session::claim() {
  ++step_;
  cluster::claim_request ask;
  ask.session = std::to_string(id_);
  ask.exclude = failed_;
  ask.refused = std::exchange(refused_, {});
  if (outage_) {
    ask.fail_over = true;
    ask.deadline = outage_->since + recover_wait;
  }
  request_ = px_.claim(*this, std::move(ask));
}

void publish_session::on_answer(uint64_t request, base::result<cluster::assignment> answer) {
  if (request == move_request_) return on_committed(static_cast<bool>(answer));
  if (request != request_) return;
  request_ = 0;
  if (!answer) {
    if (outage_) return claim_later();
    px_.in().trace("session {} of s{} is refused: {}", id_, stream_, answer.error().reason);
    return close_client();
  }
  granted_ = request;
  to_ = std::move(*answer);
  news_.reset();  // what was told before is older than this
  answered_at_ = px_.now();
  dial();
}

void publish_session::send_publish(int conn, const cluster::assignment& to) {
  packet p;
  p.what = packet::kind::publish;
  p.stream = stream_;
  p.session = id_;
  p.epoch = to.epoch;
  p.source = source_;
  p.first = oldest();
  px_.in().net.send(conn, side::proxy, p);
}

void publish_session::dial() {
  ++step_;
  agreed_ = false;
  px_.in().trace("session {} of s{} dials {} {}.{:x}", id_, stream_, to_.origin_id, to_.epoch.counter,
                 to_.epoch.claim_id & 0xFFFF);
  conn_ = px_.dial(*this, to_.origin_id);
  send_publish(conn_, to_);
  watch_dial();
}

void publish_session::on_undialled() {
  px_.dial_failed(to_.origin_id);
  try_next();
}

void publish_session::try_next() {
  hang_up();
  failed_.push_back(to_.origin_id);
  if (outage_) return claim_later();
  if (failed_.size() >= claim_attempts) return close_client();
  claim();
}

/// Asks again after a while, as long as there is time.
void publish_session::claim_later() {
  ++step_;
  const time_point give_up_at = outage_->since + recover_wait;
  if (px_.now() >= give_up_at) return close_client();
  const duration delay = std::min<duration>(retry_first * (1u << std::min(outage_->attempts++, 8u)), retry_last);
  later(std::min(delay, give_up_at - px_.now()), [this] {
    if (!std::exchange(outage_->claimed, true)) px_.publish_ended(stream_, to_.epoch);
    if (outage_->attempts % 4 == 0) failed_.clear();  // what could not be reached may be back
    claim();
  });
}

void publish_session::on_packet(int conn, const packet& p) {
  if (conn == move_conn_) {
    if (p.what == packet::kind::refuse) return end_move(name_of(p.why));
    if (p.what != packet::kind::published || move_request_ != 0) return;
    move_wanted_ = p.number;
    px_.dial_ok(move_to_.origin_id);
    move_request_ = px_.commit_move(*this, to_.epoch, move_to_);
    return;
  }
  if (conn != conn_) return;
  if (p.what == packet::kind::refuse) {
    if (p.why == refusal::stale_epoch) refused_ = p.epoch;
    return on_refused(p.why);
  }
  if (p.what != packet::kind::published || agreed_) return;
  px_.dial_ok(to_.origin_id);
  if (!outage_ || outage_->claimed) px_.publish_started(stream_, to_.epoch);  // else it had never ended
  on_started(p.number);
}

/// The origin has agreed: it gets what it wants of what is kept, then goes on with what comes.
void publish_session::on_started(int64_t wanted) {
  ++step_;
  agreed_ = ever_started_ = true;
  granted_ = 0;
  outage_.reset();
  failed_.clear();
  count_move();
  packet p;
  p.what = packet::kind::media;
  p.first = oldest();
  for (p.number = std::max(wanted, oldest()); p.number < next_; ++p.number) px_.in().net.send(conn_, side::proxy, p);
  hear_news();
}

/// `to_` is its owner from now on.
void publish_session::count_move() {
  if (!published_at_.empty() && published_at_ != to_.origin_id) {
    // What another proxy has moved is not for this one's core to keep.
    if (px_.has_proposed(to_.epoch))
      px_.in().watch->moved(stream_, published_at_, left_ == reason_left::silent, moved_at_, answered_at_);
    moved_at_ = answered_at_;
  }
  published_at_ = to_.origin_id;
  left_ = reason_left::other;
}

void publish_session::on_refused(refusal why) {
  px_.in().trace("session {} of s{} at {}: {}", id_, stream_, to_.origin_id, name_of(why));
  hang_up();
  if (ever_started_ && !outage_) return close_client();
  if (why == refusal::at_capacity) return try_next();
  if (why == refusal::stale_epoch) {
    if (outage_) return claim_later();
    return ++stale_ < claim_attempts ? claim() : close_client();
  }
  if (granted_ != 0) px_.claim_refused(std::exchange(granted_, 0));
  close_client();
}

void publish_session::on_closed(int conn) {
  if (conn == move_conn_) {
    move_conn_ = -1;
    return end_move("closed");
  }
  if (conn != conn_) return;
  conn_ = -1;
  px_.in().trace("session {} of s{}: connection to {} closed", id_, stream_, to_.origin_id);
  if (!agreed_ && !px_.in().net.was_connected(conn)) return on_undialled();
  on_lost(conn);
}

void publish_session::on_lost(int) {
  hang_up();
  if (ever_started_) {
    begin_outage();
    if (!outage_) return;
  }
  ++step_;
  asked_at_step_ = step_;
  px_.ask_verdict(*this, to_.origin_id, agreed_);
}

/// From here on the client is read, and what it sends is kept, until there is an owner again or the time is over.
void publish_session::begin_outage() {
  if (outage_) return;
  outage_.emplace().since = px_.now();
  failed_.clear();
  if (move_conn_ >= 0) end_move("the stream's owner was lost");
}

void publish_session::on_verdict(cluster::origin_verdict v) {
  if (step_ != asked_at_step_) return;
  const bool lives = v == cluster::origin_verdict::alive;
  if (!outage_) return lives ? close_client() : try_next();
  if (outage_->claimed && lives) return close_client();  // the next owner, which has accepted nothing yet
  if (!lives && published_at_ == to_.origin_id && left_ == reason_left::other) left_ = reason_left::gone;
  if (outage_->claimed) return try_next();
  if (!lives) return fail_over();
  // A close is not a death: the same origin is asked once more.
  if (next_ == 0 || std::exchange(closed_alive_at_, px_.now()) + second_close > px_.now()) return close_client();
  dial();
}

void publish_session::fail_over() {
  hang_up();
  if (!std::exchange(outage_->claimed, true)) px_.publish_ended(stream_, to_.epoch);
  claim();
}

void publish_session::on_origin_lost(const std::string& origin_id, cluster::loss_reason reason) {
  if (published_at_ == origin_id)
    left_ = reason == cluster::loss_reason::silent ? reason_left::silent : reason_left::gone;
  if (move_conn_ >= 0 && move_to_.origin_id == origin_id) end_move("lost");
  const bool watches = conn_ >= 0 || step_ == asked_at_step_;
  if (to_.origin_id != origin_id || !watches) return;
  ++step_;
  hang_up();
  if (!ever_started_) return try_next();
  const bool is_next = outage_ && outage_->claimed;
  begin_outage();
  if (is_next) return try_next();
  fail_over();
}

/// Somebody else's claim, or a higher epoch of the same owner: that one is to be published with.
void publish_session::on_owner_changed(const cluster::assignment& to) {
  if (px_.in().options().deaf_publishers || !ever_started_ || ended_ || to.epoch <= to_.epoch) return;
  if (outage_ || move_conn_ >= 0 || move_request_ != 0) {
    if (!news_ || news_->epoch < to.epoch) news_ = to;
    return;
  }
  ++step_;
  hang_up();
  begin_outage();
  if (to.origin_id != to_.origin_id || to.rtmp.empty()) return fail_over();
  outage_->claimed = true;  // of the old epoch nothing counts any more
  to_ = to;
  dial();
}

void publish_session::hear_news() {
  if (const auto to = std::exchange(news_, std::nullopt)) on_owner_changed(*to);
}

// -- a drain

void publish_session::on_move(const cluster::epoch& from, const cluster::assignment& to) {
  if (!running() || outage_ || move_conn_ >= 0 || move_request_ != 0 || to_.epoch != from)
    return px_.move_refused(stream_, from, to.origin_id, "the stream is not settled");
  move_to_ = to;
  move_conn_ = px_.dial(*this, to.origin_id);
  send_publish(move_conn_, to);
  px_.after(5s, [this, id = id_, conn = move_conn_, &px = px_] {
    if (px.publisher(id) == this && move_conn_ == conn && move_request_ == 0) end_move("timeout");
  });
}

/// The new publish is the owner's, or not.
void publish_session::on_committed(bool yes) {
  move_request_ = 0;
  if (!yes) {
    if (move_conn_ >= 0) px_.hang_up(std::exchange(move_conn_, -1));
    return hear_news();
  }
  if (move_conn_ < 0) {
    // One of the two was lost meanwhile: the new one is the owner by the book, and has got nothing yet.
    if (outage_ && outage_->claimed) return;  // another one has been asked for already
    to_ = std::move(move_to_);
    answered_at_ = px_.now();
    left_ = reason_left::silent;
    count_move();  // by the book
    hang_up();
    begin_outage();
    return fail_over();
  }
  say_goodbye();
  if (conn_ >= 0) px_.hang_up(conn_);
  conn_ = std::exchange(move_conn_, -1);
  px_.publish_ended(stream_, to_.epoch);
  to_ = std::move(move_to_);
  px_.publish_started(stream_, to_.epoch);
  answered_at_ = px_.now();
  left_ = reason_left::silent;  // a drain is no better a reason
  on_started(move_wanted_);
}

void publish_session::end_move(const char* why) {
  if (move_conn_ >= 0) px_.hang_up(std::exchange(move_conn_, -1));
  if (move_request_ != 0) return;  // the answer will tell whether it is the owner all the same
  px_.move_refused(stream_, to_.epoch, move_to_.origin_id, why);
  hear_news();
}

// -- the end

void publish_session::hang_up() {
  if (conn_ >= 0) px_.hang_up(std::exchange(conn_, -1));
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
  if (move_conn_ >= 0) px_.hang_up(std::exchange(move_conn_, -1));
  if (request_ != 0) px_.cancel(request_);
  if (granted_ != 0) px_.cancel(granted_);
  if (ever_started_ && (!outage_ || !outage_->claimed)) px_.publish_ended(stream_, to_.epoch);
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
