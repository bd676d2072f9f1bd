#include "servers/rtmp/origin_handler.hpp"

#include <fmt/format.h>

#include "servers/rtmp/capabilities.hpp"

namespace sluice::servers {
namespace {

class origin_handler final : public client_handler, live_publisher, live_player {
 public:
  origin_handler(connection& c, directory& streams, const cluster::vhost_rules& vhosts)
      : client_(c), streams_(streams), vhosts_(vhosts) {}

  void on_connect(rtmp::connect_request request) override {
    auto answer = forward_capabilities(false);
    if (client_.peer_trusted()) {
      auto note = peer_note::from(request.command_object);
      if (note.control) {
        client_.session().allow_idle();
        announce_control(answer);
      }
      if (!note.session.empty()) client_.adopt_id(std::move(note.session));
    }
    app_ = std::move(request.app);
    tc_url_ = std::move(request.tc_url);
    client_.session().accept_connect(answer);
  }

  void on_publish(rtmp::publish_request request) override {
    leave();
    stream_id_ = request.stream_id;
    // Who holds the stream is for the log, not for whoever asks.
    const auto refuse = [&](const base::error& e, std::string_view code) {
      const bool taken = e.reason == "second_publisher";
      client_.session().reject_publish(stream_id_, code, taken ? "The stream is already published." : e.text);
      client_.session_refused(e.reason, request.name, e.text);
      client_.close_after_flush(e.reason);
    };
    const auto address = cluster::parse_rtmp(tc_url_, app_, request.name, vhosts_);
    if (!address) return refuse(address.error(), "NetStream.Publish.BadName");
    last_message_ = client_.loop().now();
    const auto stream = streams_.publish(address->key, *this);
    if (!stream)
      return refuse(stream.error(), stream.error().reason == "second_publisher" ? "NetStream.Publish.BadName"
                                                                                : "NetStream.Publish.Denied");
    stream_ = *stream;
    publishing_ = true;
    client_.session().accept_publish(stream_id_);
    client_.session_started("publish", stream_->name, {});
  }

  void on_play(rtmp::play_request request) override {
    leave();
    stream_id_ = request.stream_id;
    const auto refuse = [&](const base::error& e) {
      client_.session().reject_play(stream_id_, "NetStream.Play.Failed", e.text);
      client_.session_refused(e.reason, request.name, e.text);
      client_.close_after_flush(e.reason);
    };
    const auto address = cluster::parse_rtmp(tc_url_, app_, request.name, vhosts_);
    if (!address) return refuse(address.error());
    const auto stream = streams_.play(address->key, *this);
    if (!stream) return refuse(stream.error());
    stream_ = *stream;
    publishing_ = false;
    client_.session().accept_play(stream_id_);
    client_.session_started("play", stream_->name, {});
    client_.start_playing(stream_->hub, stream_id_);
  }

  void on_media(rtmp::message msg) override {
    if (!stream_ || !publishing_ || msg.stream_id != stream_id_) return;
    last_message_ = client_.loop().now();
    stream_->hub.append(std::move(msg), last_message_);
  }

  void on_stream_closed(uint32_t stream_id) override {
    if (!stream_ || stream_id != stream_id_) return;
    client_.session_ended("stream_closed");
    leave();
  }

  void on_closed() override { leave(); }

 private:
  void leave() {
    auto* stream = std::exchange(stream_, nullptr);
    if (!stream) return;
    if (publishing_) {
      streams_.unpublish(*stream, *this);
    } else {
      client_.stop_playing();
      streams_.stop(*stream, *this);
    }
  }

  // live_publisher
  void on_taken_over() override {
    stream_ = nullptr;
    client_.session().send_status(stream_id_, "error", "NetStream.Publish.BadName",
                                  "Another publisher took the stream over.");
    client_.close_after_flush("taken_over");
  }
  base::time_point last_message() const override { return last_message_; }
  std::string describe() const override {
    return fmt::format("{} (session {})", client_.peer().address.to_string(), client_.id());
  }

  // live_player
  void on_no_publisher() override {
    client_.session().send_status(stream_id_, "status", "NetStream.Play.UnpublishNotify",
                                  "Nobody publishes the stream.");
    client_.session().send_status(stream_id_, "error", "NetStream.Play.StreamNotFound", "Nobody publishes the stream.");
    client_.close_after_flush("no_publisher");
    leave();
  }

  connection& client_;
  directory& streams_;
  const cluster::vhost_rules& vhosts_;
  std::string app_, tc_url_;
  live_stream* stream_ = nullptr;
  base::time_point last_message_{};
  uint32_t stream_id_ = 0;
  bool publishing_ = false;
};

}  // namespace

std::unique_ptr<client_handler> make_origin_handler(connection& c, directory& streams,
                                                    const cluster::vhost_rules& vhosts) {
  return std::make_unique<origin_handler>(c, streams, vhosts);
}

}  // namespace sluice::servers
