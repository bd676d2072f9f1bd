// The part of publish_relay that nobody outside notices: the owner of a running publish is lost, or is to be left.

#include <algorithm>
#include <chrono>

#include "relay/publish_relay.hpp"
#include "runtime/backoff.hpp"
#include "servers/rtmp/capabilities.hpp"

namespace sluice::relay {
namespace {

// An origin that closes a publish twice within this time while it lives has kicked the client.
constexpr base::duration second_close = std::chrono::seconds(10);
constexpr base::duration retry_first = std::chrono::milliseconds(50);
constexpr base::duration retry_last = std::chrono::seconds(1);

}  // namespace

/// From here on the client is read, and what it sends is kept, until there is an owner again or the time is over.
void publish_relay::begin_outage(std::string_view reason) {
  client_.pause_reading(false);
  if (outage_) return;    // lost again before it was whole
  retry_timer_.cancel();  // of a replay
  hub_.hold(true);
  outage_.emplace(outage{shard_.loop.now(), std::string(reason), to_.origin_id});
  failed_.clear();
  shard_.log.warn(
      "upstream_lost",
      {{"session", client_.id()}, {"stream", ask_.address.key.str()}, {"origin", to_.origin_id}, {"reason", reason}});
  note("lost", reason);
  // A drain was moving it: this is a matter of its own now. Should the move have been written down already, the claim
  // will find that.
  if (move_) on_move_refused("the stream's owner was lost");
}

void publish_relay::on_origin_lost(cluster::loss_reason reason) {
  if (stopping_) return;
  ++steps_;
  upstream_.reset();
  const std::string_view why = reason == cluster::loss_reason::silent ? "silent" : "gone";
  if (!running_) return try_next();
  const bool is_next = outage_ && outage_->claimed;
  begin_outage(why);
  if (is_next) {
    outage_->reason = why;
    return try_next();
  }
  if (outage_->claimed) return;  // a move had been written down: it is on the way from there
  outage_->reason = why;
  fail_over();
}

void publish_relay::on_verdict(cluster::origin_verdict verdict, bool closed) {
  const bool lives = verdict == cluster::origin_verdict::alive;
  // The next owner, which has accepted nothing yet. A stock server refuses by hanging up; one of ours would have said
  // why: it is full, or, as any in a storm, was too slow.
  if (outage_->claimed && lives && closed && !to_.is_sluice)
    return end_client("NetStream.Publish.BadName", "origin_refused", "The origin server refused the publish.");
  if (outage_->claimed) return try_next();
  if (!lives) {
    outage_->reason = verdict == cluster::origin_verdict::dead ? "gone" : "restarted";
    return fail_over();
  }
  // A close is not a death: in mid-session the same origin is asked once more.
  const auto now = shard_.loop.now();
  if (std::exchange(closed_alive_at_, now) + second_close > now)
    return end_client("NetStream.Publish.Failed", "origin_closed", "The origin server ended the publish.");
  if (closed && is_refusal())
    return refuse("NetStream.Publish.BadName", "origin_refused", "The origin server refused the publish.");
  dial_in_turn();
}

/// Whether an origin that lives means no by its close. A stock one may say so even after it has said yes, shortly
/// after, or as soon as something comes; one of ours says why it refuses, so that a bare close is none.
bool publish_relay::is_refusal() const {
  return !to_.is_sluice && (!has_media_ || outage_->since < accepted_at_ + shard_.config.refusal_time);
}

/// The origin says that it stops: no need to ask whether it lives, and no use in asking it again.
void publish_relay::on_shutdown() {
  upstream_.reset();
  shard_.control.dial_failed(to_.origin_id);
  if (!running_) return try_next();
  begin_outage("shutdown");
  if (outage_->claimed) return;
  failed_.push_back(to_.origin_id);
  fail_over();
}

/// An origin of ours knows of a later owner: that one is asked for, or this one again under an epoch above.
void publish_relay::on_fenced() {
  upstream_.reset();
  stale_ = to_.epoch;
  begin_outage("fenced");
  if (!outage_->claimed) fail_over();
}

void publish_relay::fail_over() {
  ++steps_;
  watch_.stop();
  if (!std::exchange(outage_->claimed, true)) shard_.control.publish_ended(ask_.address.key, to_.epoch);
  claim();
}

/// Asks again after a while, as long as there is time.
void publish_relay::claim_later() {
  const auto give_up_at = outage_->since + shard_.config.recover_wait;
  if (shard_.loop.now() >= give_up_at)
    return end_client("NetStream.Publish.Failed", "no_origin", "No origin server is there for the stream.");
  const auto delay = runtime::backoff(retry_first, retry_last, outage_->attempts++, shard_.random);
  retry_timer_.arm_at(std::min(shard_.loop.now() + delay, give_up_at));
}

void publish_relay::on_retry_timer() {
  if (move_) return switch_over();
  if (!outage_) return replay();
  if (!std::exchange(outage_->claimed, true)) shard_.control.publish_ended(ask_.address.key, to_.epoch);
  if (outage_->attempts % 4 == 0) failed_.clear();  // what could not be reached may be back
  claim();
}

void publish_relay::recovered() {
  const outage over = *std::exchange(outage_, std::nullopt);
  const auto took = std::chrono::duration<double>(shard_.loop.now() - over.since).count();
  failed_.clear();
  if (to_.origin_id != over.origin) closed_alive_at_ = base::time_point::min();  // that was of another origin
  client_.session_moved(to_.origin_id);
  shard_.failover_cells.failed_over(over.reason, took);
  shard_.log.info("failed_over", {{"session", client_.id()},
                                  {"stream", ask_.address.key.str()},
                                  {"origin", to_.origin_id},
                                  {"from", over.origin},
                                  {"reason", over.reason},
                                  {"ms", static_cast<int64_t>(took * 1000)},
                                  {"retained_bytes", hub_.bytes()}});
  note("failed_over", over.reason);
  if (!over.claimed && over.pushed_to && !upstream_->numbered()) {
    // Its viewers have stayed there: they have had all that it was sent.
    upstream_->push(hub_, over.pushed_to);
    hub_.hold(false);
  } else {
    show_retained(to_.origin_id != over.origin);
  }
  hear_news();
}

/// Gives the upstream all that is retained. Where nothing is numbered viewers must be there first: they would miss what
/// is only in the replay.
void publish_relay::show_retained(bool viewers_come) {
  hub_.hold(true);
  if (viewers_come && !upstream_->numbered()) return retry_timer_.arm_after(shard_.config.replay_delay);
  replay();
}

void publish_relay::replay() {
  if (!upstream_) return;
  upstream_->push(hub_);
  hub_.hold(false);
}

void publish_relay::refused_in_outage(const rtmp::client_status& status) {
  if (status.code == servers::at_capacity_code || status.code == servers::full_code ||
      status.code == servers::shutdown_code)
    return try_next();
  if (status.code == servers::stale_epoch_code) return claim_anew();
  watch_.stop();
  upstream_.reset();
  // As if the client had asked now: somebody else publishes the stream, or his token is not good any more.
  end_client(status.code, "origin_refused", status.description);
}

void publish_relay::end_client(std::string_view code, std::string_view reason, std::string_view text) {
  // Until the client has read it and is gone, nothing is to begin anew.
  alive_.reset();
  watch_.stop();
  retry_timer_.cancel();
  drop_move();
  drop_claim(reason);
  upstream_.reset();
  client_.session().send_status(stream_id_, "error", code, text);
  client_.close_after_flush(reason);
}

// ---- a drain ----

void publish_relay::move(const cluster::action::move& what) {
  const bool settled = running_ && alive_ && !outage_ && !move_ && !committing_ && !retry_timer_.armed();
  if (!settled || to_.epoch != what.from)
    return shard_.control.move_refused(ask_.address.key, what.from, what.to.origin_id, "the stream is not settled");
  move_ = std::make_unique<publish_move>(
      shard_, what, request_for(ask_, rtmp::client_intent::publish, what.to, {publication_, hub_.end()}, shard_.config),
      *this);
}

void publish_relay::on_move_refused(std::string_view reason) {
  if (!move_) return;
  const auto what = move_->what();
  const bool was_committed = move_->is_committed();
  move_.reset();
  if (was_committed) return leave_for(what.to);
  if (committing_) return;  // the answer will tell whether it is the owner all the same
  shard_.control.move_refused(ask_.address.key, what.from, what.to.origin_id, std::string(reason));
  hear_news();
}

/// `to` is the owner by the book, but is lost before it got anything: a fail-over from there.
void publish_relay::leave_for(const cluster::assignment& to) {
  if (outage_ && outage_->claimed) return;  // another one has been asked for already
  to_ = to;
  watch_.stop();
  upstream_.reset();
  begin_outage("gone");  // a metric label: not what a server had to say
  fail_over();
}

/// Nothing is heard of it any more. What was written down already is the owner that the publisher leaves.
void publish_relay::drop_move() {
  if (move_ && move_->is_committed()) to_ = move_->what().to;
  move_.reset();
}

void publish_relay::on_move_accepted() {
  committing_ = move_->what();
  shard_.control.dial_ok(committing_->to.origin_id);
  shard_.control.commit_move(shard_.loop, ask_.address.key, committing_->from, committing_->to,
                             [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> outcome) {
                               if (!alive.expired()) on_commit_answer(outcome);
                             });
}

void publish_relay::on_commit_answer(const base::result<cluster::assignment>& outcome) {
  const auto what = *std::exchange(committing_, std::nullopt);
  if (!outcome) {
    on_move_refused(outcome.error().reason);
    return hear_news();
  }
  // One of the two was lost meanwhile.
  if (!move_) return leave_for(what.to);
  move_->committed();
  if (move_->numbered()) return switch_over();
  // Where nothing is numbered viewers must be there when the replay comes; they have been told by now.
  retry_timer_.arm_after(shard_.config.replay_delay);
}

/// From the next message on the stream is the new owner's. It gets all that is retained, so that its viewers find there
/// whatever they had not had yet.
void publish_relay::switch_over() {
  upstream_->stop_pushing_at(hub_.end());
  hub_.flush();
  auto old = std::make_shared<parting_upstream>(shard_, std::move(upstream_), retained_);
  shard_.keep(old);
  old->start();
  shard_.control.publish_ended(ask_.address.key, to_.epoch);
  const std::string from = std::exchange(to_, move_->what().to).origin_id;
  upstream_ = move_->take(*this);
  move_.reset();
  ++steps_;
  client_.pause_reading(false);  // for the old one's backlog, perhaps
  watch_.start(to_.origin_id);
  accepted_at_ = base::time_point::min();  // it was not the client who asked: a close is no answer to him
  shard_.control.publish_started(ask_.address.key, to_.epoch);
  client_.session_moved(to_.origin_id);
  upstream_->push(hub_);
  shard_.log.info(
      "stream_moved",
      {{"session", client_.id()}, {"stream", ask_.address.key.str()}, {"origin", to_.origin_id}, {"from", from}});
  note("moved", "drain");
  hear_news();
}

// ---- news of the owner

/// What came while the publish was unsettled, and may be old by now.
void publish_relay::hear_news() {
  if (const auto to = std::exchange(news_, std::nullopt)) on_owner_changed(*to);
}

/// Somebody else's claim, made while this proxy was not heard of: where the stream is now it is to go on, if it may.
void publish_relay::on_owner_changed(const cluster::assignment& to) {
  if (!running_ || !alive_ || to.epoch <= to_.epoch) return;
  if (outage_ || move_ || committing_) {
    if (!news_ || news_->epoch < to.epoch) news_ = to;
    return;
  }
  if (to.origin_id == to_.origin_id && !to.rtmp.empty()) return publish_again(to);
  ++steps_;
  watch_.stop();
  upstream_.reset();
  begin_outage("owner_changed");
  fail_over();
}

/// The owner is the same, under a higher epoch. One of ours must hear it, or it would drop the publish as an old one;
/// others know of no epochs, or believe none.
void publish_relay::publish_again(const cluster::assignment& to) {
  if (!upstream_->numbered()) {
    to_ = to;
    return shard_.control.publish_started(ask_.address.key, to_.epoch);
  }
  watch_.stop();
  upstream_.reset();
  begin_outage("reasserted");
  outage_->claimed = true;  // of the old epoch nothing counts any more
  to_ = to;
  dial_in_turn();
}

}  // namespace sluice::relay
