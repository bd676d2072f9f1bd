#include "relay/play_relay.hpp"

namespace sluice::relay {

play_relay::play_relay(shard_context& shard, feed_set& feeds, servers::connection& client, client_ask ask,
                       uint32_t stream_id)
    : shard_(shard),
      client_(client),
      ask_(std::make_shared<const client_ask>(std::move(ask))),
      stream_(ask_->address.key.str()),
      stream_id_(stream_id) {
  viewer_.emplace(shard, feeds, ask_, *this);
}

void play_relay::start() { viewer_->start(); }

void play_relay::stop() {
  client_.stop_playing();
  viewer_.reset();
}

void play_relay::on_not_found(const base::error& e) {
  const bool missing = e.reason == "stream_not_found";
  client_.session().reject_play(stream_id_, missing ? "NetStream.Play.StreamNotFound" : "NetStream.Play.Failed",
                                e.text);
  client_.session_refused(e.reason, stream_, e.text);
  client_.close_after_flush(e.reason);
}

void play_relay::on_own_origin(const cluster::assignment& to) {
  auto make = [ask = ask_, &config = shard_.config](const cluster::assignment& origin, const link_terms& terms) {
    return request_for(*ask, rtmp::client_intent::play, origin, terms, config);
  };
  own_ = std::make_unique<pull_feed>(shard_, ask_->address.key, audience::one, to,
                                     rtmp_source(shard_, audience::one, std::move(make)), client_.id(), [] {});
  viewer_->join(*own_);
}

void play_relay::on_feed(feed& f) {
  playing_ = true;
  if (!own_) ask_.reset();  // a shared feed holds the one that it uses
  client_.session().accept_play(stream_id_);
  client_.session_started("play", stream_, f.origin());
  client_.start_playing(f.hub(), stream_id_, own_ ? media::reader_start::oldest : media::reader_start::keyframe);
  client_.flush();
}

void play_relay::on_feed_end(std::string_view code, std::string_view text) {
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
