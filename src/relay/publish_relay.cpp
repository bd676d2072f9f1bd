#include "relay/publish_relay.hpp"

namespace sluice::relay {
namespace {
// How long an origin may take to accept what its publisher sent before he left.
constexpr base::duration finish_time_max = std::chrono::seconds(5);
// The budget that all shards share hears of changes of this size.
constexpr int64_t account_step = 64 * 1024;
}  // namespace

publish_relay::publish_relay(shard_context& shard, servers::connection& client, client_ask ask, uint32_t stream_id)
    : shard_(shard),
      client_(client),
      ask_(std::move(ask)),
      stream_id_(stream_id),
      hub_(shard.config.retention_hub, shard.prompt_flusher),
      finish_timer_(shard.loop, [this] { finished(); }) {
  hub_.begin_source(shard_.loop.now());
}

publish_relay::~publish_relay() {
  account(0);
  shard_.prompt_flusher.forget(hub_);
}

void publish_relay::account(size_t bytes) {
  shard_.retention_cells.bytes.add(static_cast<int64_t>(bytes) - static_cast<int64_t>(accounted_));
  shard_.retention_cells.evicted.add(static_cast<int64_t>(hub_.evicted() - std::exchange(evictions_, hub_.evicted())));
  if (shard_.config.retention) shard_.config.retention->used.fetch_add(bytes - accounted_, std::memory_order_relaxed);
  accounted_ = bytes;
}

void publish_relay::stop() {
  alive_.reset();
  stopping_ = true;
  if (claiming_ != 0) shard_.control.cancel(claiming_);
  if (std::exchange(running_, false)) {
    shard_.control.publish_ended(ask_.address.key, to_.epoch);
    if (upstream_) {
      // What came in the same read as the goodbye has not been shown to the upstream yet.
      hub_.flush();
      finish_timer_.arm_after(finish_time_max);
      return upstream_->finish();
    }
  }
  finished();
}

void publish_relay::finished() {
  finish_timer_.cancel();
  shard_.release(this);
}

void publish_relay::claim() {
  claiming_ =
      shard_.control.claim(shard_.loop, ask_.address.key, {.session = ask_.session, .exclude = failed_},
                           [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> found) {
                             if (alive.expired()) return;
                             claiming_ = 0;
                             if (!found)
                               return refuse("NetStream.Publish.Denied", found.error().reason, found.error().text);
                             to_ = std::move(*found);
                             dial();
                           });
}

void publish_relay::dial() {
  upstream_ = std::make_unique<upstream>(shard_.loop, shard_.config.upstream, shard_.upstream_cells, to_.rtmp,
                                         request_for(ask_, rtmp::client_intent::publish, to_, shard_.config), *this);
}

void publish_relay::try_next() {
  upstream_.reset();
  failed_.push_back(to_.origin_id);
  if (failed_.size() >= shard_.config.claim_attempts)
    return refuse("NetStream.Publish.Denied", "no_origin", "No origin server could be reached.");
  claim();
}

void publish_relay::on_started() {
  if (stopping_) return;
  running_ = true;
  shard_.control.dial_ok(to_.origin_id);
  shard_.control.publish_started(ask_.address.key, to_.epoch);
  client_.session().accept_publish(stream_id_);
  client_.session_started("publish", ask_.address.key.str(), to_.origin_id);
  upstream_->push(hub_);
  client_.flush();
}

void publish_relay::on_client_media(rtmp::message msg) { hub_.append(std::move(msg), shard_.loop.now()); }

void publish_relay::on_client_batch_end() {
  const auto changed = static_cast<int64_t>(hub_.bytes()) - static_cast<int64_t>(accounted_);
  if (changed > account_step || changed < -account_step) account(hub_.bytes());
  const auto* budget = shard_.config.retention;
  const auto too_much = [&] {
    return hub_.bytes() > shard_.config.retention_bytes_max ||
           (budget && budget->used.load(std::memory_order_relaxed) > budget->bytes_max);
  };
  while (too_much() && hub_.drop_oldest_group()) account(hub_.bytes());
  if (upstream_ && upstream_->blocked() && upstream_->backlog() > shard_.config.backlog_max)
    client_.pause_reading(true);
}

void publish_relay::on_drained() {
  if (!stopping_) client_.pause_reading(false);
}

void publish_relay::on_refused(const rtmp::client_status& status) {
  if (stopping_) return finished();
  if (status.refused) return refuse(status.code, "origin_refused", status.description);
  client_.session().send_status(stream_id_, "error", status.code, status.description);
  client_.close_after_flush("origin_ended");
}

void publish_relay::on_undialled(const base::error& e) {
  if (stopping_) return;
  if (e.reason == "no_descriptors") return refuse("NetStream.Publish.Denied", e.reason, e.text);
  shard_.control.dial_failed(to_.origin_id);
  try_next();
}

void publish_relay::on_lost(bool started, std::string_view reason) {
  if (stopping_) return finished();
  upstream_.reset();
  shard_.control.origin_closed(
      shard_.loop, to_.origin_id,
      [this, alive = std::weak_ptr<bool>(alive_), started, reason](cluster::origin_verdict verdict) {
        if (alive.expired()) return;
        const bool lives = verdict == cluster::origin_verdict::alive;
        if (!started && !lives) return try_next();
        // A close is not a death: stock servers refuse and kick by closing, SRS even after Publish.Start. The client
        // learns it as a status.
        if (!started || (lives && hub_.end() == 0))
          return refuse("NetStream.Publish.BadName", "origin_refused", "The origin server refused the publish.");
        client_.session().send_status(stream_id_, "error", "NetStream.Publish.Failed",
                                      lives ? "The origin server ended the publish." : "The origin server is gone.");
        shard_.log.warn("upstream_lost", {{"session", client_.id()},
                                          {"stream", ask_.address.key.str()},
                                          {"origin", to_.origin_id},
                                          {"reason", reason}});
        client_.close_after_flush(lives ? "origin_closed" : "origin_lost");
      });
}

void publish_relay::refuse(std::string_view code, std::string_view reason, std::string_view text) {
  upstream_.reset();
  if (running_) {
    client_.session().send_status(stream_id_, "error", code, text);
  } else {
    client_.session().reject_publish(stream_id_, code, text);
  }
  client_.session_refused(reason, ask_.address.key.str(), text);
  client_.close_after_flush(reason);
}

}  // namespace sluice::relay
