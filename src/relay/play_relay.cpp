#include "relay/play_relay.hpp"

namespace sluice::relay {

play_relay::play_relay(shard_context& shard, feed_set& feeds, servers::connection& client, client_ask ask,
                       uint32_t stream_id)
    : shard_(shard),
      feeds_(feeds),
      client_(client),
      ask_(std::make_shared<const client_ask>(std::move(ask))),
      stream_(ask_->address.key.str()),
      stream_id_(stream_id) {}

void play_relay::start() {
  feed* there = shard_.config.mode == relay_mode::per_viewer ? nullptr : feeds_.find(ask_->address.key);
  if (there) {
    join(*there);
  } else {
    find();
  }
}

void play_relay::stop() {
  alive_.reset();
  if (finding_ != 0) shard_.control.cancel(finding_);
  client_.stop_playing();
  if (feed_) std::exchange(feed_, nullptr)->remove(*this);
}

void play_relay::find() {
  finding_ = shard_.control.find(shard_.loop, ask_->address.key, shard_.config.play_wait,
                                 [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> found) {
                                   if (alive.expired()) return;
                                   finding_ = 0;
                                   if (found) return watch(*found);
                                   const bool missing = found.error().reason == "stream_not_found";
                                   client_.session().reject_play(
                                       stream_id_, missing ? "NetStream.Play.StreamNotFound" : "NetStream.Play.Failed",
                                       found.error().text);
                                   client_.session_refused(found.error().reason, stream_, found.error().text);
                                   client_.close_after_flush(found.error().reason);
                                 });
}

void play_relay::watch(const cluster::assignment& to) {
  const bool share =
      shard_.config.mode == relay_mode::collapse || (shard_.config.mode == relay_mode::automatic && to.is_sluice);
  if (share) {
    auto make = [ask = ask_](const cluster::assignment& origin, const link_terms& terms) {
      return shared_request_for(*ask, origin, terms);
    };
    return join(feeds_.open(ask_->address.key, to, std::move(make), client_.id() + "-pull"));
  }
  auto make = [ask = ask_, &config = shard_.config](const cluster::assignment& origin, const link_terms& terms) {
    return request_for(*ask, rtmp::client_intent::play, origin, terms, config);
  };
  own_ =
      std::make_unique<pull_feed>(shard_, ask_->address.key, audience::one, to, std::move(make), client_.id(), [] {});
  join(*own_);
}

void play_relay::join(feed& f) {
  feed_ = &f;
  f.add(*this);
}

void play_relay::on_feed_started(feed& f) {
  playing_ = true;
  if (!own_) ask_.reset();  // a shared feed holds the one that it uses
  client_.session().accept_play(stream_id_);
  client_.session_started("play", stream_, f.origin());
  client_.start_playing(f.hub(), stream_id_, own_ ? media::reader_start::oldest : media::reader_start::keyframe);
  client_.flush();
}

void play_relay::on_feed_ended(std::string_view code, std::string_view text) {
  feed_ = nullptr;
  client_.stop_playing();
  if (playing_) {
    client_.session().send_status(stream_id_, "status", "NetStream.Play.UnpublishNotify", text);
    client_.session().send_status(stream_id_, "error", code, text);
    client_.close_after_flush("origin_ended");
    return;
  }
  client_.session().reject_play(stream_id_, code, text);
  client_.session_refused("origin_refused", stream_, text);
  client_.close_after_flush("origin_refused");
}

void play_relay::on_client_blocked() {
  if (own_ && own_->hub().bytes() > shard_.config.viewer_backlog_max) own_->pause_source(true);
}

void play_relay::on_client_drained() {
  if (own_) own_->pause_source(false);
}

}  // namespace sluice::relay
