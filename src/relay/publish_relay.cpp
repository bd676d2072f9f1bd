#include "relay/publish_relay.hpp"

#include <fmt/format.h>

#include "relay/publication_ends.hpp"
#include "servers/live/segments_start.hpp"
#include "servers/rtmp/capabilities.hpp"

namespace sluice::relay {
namespace {
// How long an origin may take to accept what its publisher sent before he left.
constexpr base::duration finish_time_max = std::chrono::seconds(5);
}  // namespace

publish_relay::publish_relay(shard_context& shard, servers::connection& client, client_ask ask, uint32_t stream_id)
    : shard_(shard),
      client_(client),
      ask_(std::move(ask)),
      stream_id_(stream_id),
      publication_(fmt::format("{}.{}", client.id(), ++shard.publications)),
      retained_(std::make_shared<retained_media>(shard)),
      hub_(retained_->hub),
      watch_(shard.watchers, *this),
      finish_timer_(shard.loop, [this] { finished(); }),
      retry_timer_(shard.loop, [this] { on_retry_timer(); }) {
  hub_.begin_source(shard_.loop.now(), publication_);
  const auto* ends = shard_.config.ends;
  const auto before = ends ? ends->find(ask_.address.key, shard_.loop.now()) : std::nullopt;
  hub_.begin_segments(before ? servers::segments_go_on(*before, shard_.config.hls_segment)
                             : servers::segments_from_now(shard_.config.hls_segment));
}

publish_relay::~publish_relay() = default;

void publish_relay::stop() {
  alive_.reset();
  stopping_ = true;
  watch_.stop();
  if (retry_timer_.armed() && !outage_ && !move_) replay();  // what is retained has not been shown to the new owner yet
  retry_timer_.cancel();
  drop_claim();
  drop_move();
  if (std::exchange(running_, false)) {
    auto [at, end] = shard_.publishers.equal_range(ask_.address.key);
    while (at->second != this) ++at;
    shard_.publishers.erase(at);
    if (!outage_ || !outage_->claimed) shard_.control.publish_ended(ask_.address.key, to_.epoch);
    // If that has been written by now, the publish counts under its epoch.
    if (committing_) shard_.control.publish_ended(ask_.address.key, committing_->to.epoch);
    if (upstream_ && !outage_) {
      // What came in the same read as the goodbye has not been shown to the upstream yet.
      hub_.flush();
      if (const auto next = hub_.next_segments_start(); next && shard_.config.ends)
        shard_.config.ends->ended(ask_.address.key, *next, shard_.loop.now());
      finish_timer_.arm_after(finish_time_max);
      return upstream_->finish();
    }
  }
  finished();
}

/// What was granted and will not be used: others who want the stream need not wait for its time to be over, unless
/// somebody else may be using it.
void publish_relay::drop_claim(std::string_view reason) {
  claiming_ = 0;
  const auto claim = std::exchange(claim_, 0);
  if (claim == 0) return;
  if (reason == "origin_refused") return shard_.control.claim_refused(claim);
  shard_.control.cancel(claim);
}

void publish_relay::finished() {
  finish_timer_.cancel();
  shard_.release(this);
}

void publish_relay::claim() {
  retry_timer_.cancel();
  cluster::claim_request request;
  request.session = ask_.session;
  request.exclude = failed_;
  request.refused = std::exchange(stale_, {});
  if (outage_) {
    request.fail_over = true;
    request.deadline = outage_->since + shard_.config.recover_wait;
  }
  claim_ = claiming_ =
      shard_.control.claim(shard_.loop, ask_.address.key, std::move(request),
                           [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> found) {
                             if (alive.expired()) return;
                             claiming_ = 0;
                             if (!found) {
                               if (outage_) return claim_later();
                               return refuse("NetStream.Publish.Denied", found.error().reason, found.error().text);
                             }
                             to_ = std::move(*found);
                             news_.reset();  // what was told before is older than this
                             if (!outage_) return dial();
                             dial_in_turn();
                           });
}

void publish_relay::dial() {
  ++steps_;
  watch_.start(to_.origin_id);
  upstream_ = std::make_unique<upstream>(
      shard_.loop, shard_.config.upstream, shard_.upstream_cells, to_.rtmp, shard_.control.line_of(to_.origin_id),
      request_for(ask_, rtmp::client_intent::publish, to_, {publication_, hub_.end()}, shard_.config), *this);
}

/// What replaces a lost connection must not come with all the others at once.
void publish_relay::dial_in_turn() {
  shard_.gate.ask(to_.origin_id, dial_class::publisher, alive_, [this, step = ++steps_] {
    if (step == steps_) dial();
  });
}

void publish_relay::try_next() {
  watch_.stop();
  upstream_.reset();
  failed_.push_back(to_.origin_id);
  if (outage_) return claim_later();
  if (failed_.size() >= shard_.config.claim_attempts)
    return refuse("NetStream.Publish.Denied", "no_origin", "No origin server could be reached.");
  claim();
}

/// The origin has seen a higher epoch than the one it was asked with: the claim is made again, above that.
void publish_relay::claim_anew() {
  watch_.stop();
  upstream_.reset();
  stale_ = to_.epoch;
  if (outage_) return claim_later();
  if (++stale_claims_ >= shard_.config.claim_attempts)
    return refuse("NetStream.Publish.Denied", "stale_epoch", "The origin server knows of a later owner.");
  claim();
}

void publish_relay::on_started() {
  if (stopping_) return;
  shard_.control.dial_ok(to_.origin_id);
  // At the same origin again, which was not given up, the publish counts already.
  if (!outage_ || outage_->claimed) shard_.control.publish_started(ask_.address.key, to_.epoch);
  claim_ = 0;
  accepted_at_ = shard_.loop.now();
  if (outage_) return recovered();
  running_ = true;
  if (shard_.config.ends) shard_.config.ends->forget(ask_.address.key);
  shard_.publishers.emplace(ask_.address.key, this);
  client_.session().accept_publish(stream_id_);
  client_.session_started("publish", ask_.address.key.str(), to_.origin_id);
  upstream_->push(hub_);
  client_.flush();
}

void publish_relay::on_client_media(rtmp::message msg) {
  if (media::poses_as_mark(msg)) return;  // the origin would believe it
  has_media_ |= msg.type == rtmp::audio || msg.type == rtmp::video;
  hub_.append(std::move(msg), shard_.loop.now());
}

void publish_relay::on_client_batch_end() {
  retained_->settle();
  if (upstream_ && upstream_->blocked() && upstream_->backlog() > shard_.config.backlog_max)
    client_.pause_reading(true);
}

void publish_relay::on_drained() {
  if (!stopping_) client_.pause_reading(false);
}

void publish_relay::on_refused(const rtmp::client_status& status) {
  if (stopping_) return finished();
  if (outage_) return refused_in_outage(status);
  if (move_ && move_->is_committed()) {
    // It is not the owner any more, and knows it.
    watch_.stop();
    upstream_.reset();
    return begin_outage("moved");
  }
  if (status.code == servers::shutdown_code) return on_shutdown();
  if (running_ && status.code == servers::stale_epoch_code) return on_fenced();
  if (!status.refused) return end_client(status.code, "origin_ended", status.description);
  // These two are between servers: another origin may do, or another claim.
  if (status.code == servers::at_capacity_code || status.code == servers::full_code) return try_next();
  if (status.code == servers::stale_epoch_code) return claim_anew();
  refuse(status.code, "origin_refused", status.description);
}

void publish_relay::on_undialled(const base::error& e) {
  if (stopping_) return;
  const bool ours = e.reason == "no_descriptors";
  if (ours && !outage_) return refuse("NetStream.Publish.Denied", e.reason, e.text);
  if (ours) {
    watch_.stop();
    upstream_.reset();
    return claim_later();
  }
  shard_.control.dial_failed(to_.origin_id);
  try_next();
}

void publish_relay::on_lost(bool started, std::string_view reason) {
  if (stopping_) return finished();
  watch_.stop();
  const auto pushed_to = upstream_->numbered() ? std::nullopt : upstream_->pushed_to();
  // Before the reader goes: what it has not sent is kept from then on.
  if (running_ && !outage_) {
    begin_outage(reason);
    if (outage_->claimed) return;  // a move had been written down: it is on the way from there
    outage_->pushed_to = pushed_to;
  }
  upstream_.reset();
  shard_.control.origin_closed(
      shard_.loop, to_.origin_id,
      [this, alive = std::weak_ptr<bool>(alive_), step = ++steps_,
       closed = is_close(reason)](cluster::origin_verdict verdict) {
        if (alive.expired() || step != steps_) return;
        if (outage_) return on_verdict(verdict, closed);
        // One of ours says why it refuses a publish: if it hangs up, it has no room for the connection.
        if (verdict != cluster::origin_verdict::alive || to_.is_sluice) return try_next();
        // A close is not a death: stock servers refuse by closing. The client learns it as a status.
        refuse("NetStream.Publish.BadName", "origin_refused", "The origin server refused the publish.");
      },
      started || !to_.is_sluice);  // others refuse a client by hanging up
}

void publish_relay::refuse(std::string_view code, std::string_view reason, std::string_view text) {
  watch_.stop();
  upstream_.reset();
  drop_claim(reason);
  if (running_) {
    client_.session().send_status(stream_id_, "error", code, text);
  } else {
    client_.session().reject_publish(stream_id_, code, text);
  }
  client_.session_refused(reason, ask_.address.key.str(), text);
  client_.close_after_flush(reason);
}

void publish_relay::note(std::string_view what, std::string_view reason) {
  shard_.control.note(ask_.address.key, {0, std::string(what), to_.origin_id, to_.epoch, std::string(reason)});
}

}  // namespace sluice::relay
