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
    if (client_.peer_trusted()) {
      note_ = peer_note::from(request.command_object);
      if (!note_.session.empty()) client_.adopt_id(note_.session);
      if (note_.control) client_.set_control();
    }
    if (client_.turned_away(note_.numbered)) return;
    app_ = std::move(request.app);
    tc_url_ = std::move(request.tc_url);
    client_.session().accept_connect(forward_capabilities(false, client_.peer_trusted()));
  }

  void on_publish(rtmp::publish_request request) override {
    leave();
    stream_id_ = request.stream_id;
    const auto address = cluster::parse_rtmp(tc_url_, app_, request.name, vhosts_);
    if (!address) return refuse_publish(address.error(), request.name, "NetStream.Publish.BadName");
    last_message_ = client_.loop().now();
    numbered_ = note_.numbered && !note_.source.empty();
    marks_ = 0;
    const publication what{note_.epoch, numbered_ ? note_.source : fmt::format("{}.{}", client_.id(), ++publishes_),
                           numbered_, numbered_ && note_.next > 0};
    const auto stream = streams_.publish(address->key, what, *this);
    if (!stream) return refuse_publish(stream.error(), request.name, code_of(stream.error()));
    stream_ = *stream;
    publishing_ = true;
    client_.session().accept_publish(stream_id_);
    client_.session_started("publish", stream_->name, {});
  }

  void on_play(rtmp::play_request request) override {
    leave();
    stream_id_ = request.stream_id;
    const auto refuse = [&](const base::error& e) {
      const bool full = note_.numbered && e.reason == "too_many_streams";
      client_.session().reject_play(stream_id_, full ? play_at_capacity_code : "NetStream.Play.Failed", e.text);
      client_.session_refused(e.reason, request.name, e.text);
      client_.close_after_flush(e.reason);
    };
    const auto address = cluster::parse_rtmp(tc_url_, app_, request.name, vhosts_);
    if (!address) return refuse(address.error());
    const auto stream = streams_.play(address->key, note_.epoch, *this);
    if (!stream) return refuse(stream.error());
    stream_ = *stream;
    publishing_ = false;
    client_.session().accept_play(stream_id_);
    client_.session_started("play", stream_->name, {});
    client_.start_playing(stream_->hub, stream_id_);
    if (!note_.numbered) return;
    client_.player()->set_numbered();
    if (!note_.source.empty()) client_.player()->resume(note_.source, note_.next);
  }

  void on_media(rtmp::message msg) override {
    if (!stream_ || !publishing_ || msg.stream_id != stream_id_) return;
    last_message_ = client_.loop().now();
    if (numbered_) {
      if (const auto said = media::parse_mark(msg)) {
        stream_->hub.on_mark(*said, marks_++ == 0, last_message_);
        if (!stream_->hub.segmented() && !said->source.empty()) streams_.begin_segments(*stream_);
        return;
      }
    } else if (media::poses_as_mark(msg)) {
      return;  // servers that pull the stream would believe it
    }
    stream_->hub.append(std::move(msg), last_message_);
  }

  void on_batch_end() override {
    if (stream_ && publishing_) streams_.on_growth(*stream_);
  }

  void on_stream_closed(uint32_t stream_id) override {
    if (!stream_ || stream_id != stream_id_) return;
    client_.session_ended("stream_closed");
    leave();
  }

  void on_shutdown() override {
    if (stream_ && note_.numbered)
      client_.session().send_status(stream_id_, "error", shutdown_code, "The origin server is stopping.");
  }

  void on_closed() override { leave(); }

 private:
  /// Who holds the stream is for the log, not for whoever asks.
  void refuse_publish(const base::error& e, const std::string& name, std::string_view code) {
    const bool taken = e.reason == "second_publisher";
    client_.session().reject_publish(stream_id_, code, taken ? "The stream is already published." : e.text);
    client_.session_refused(e.reason, name, e.text);
    client_.close_after_flush(e.reason);
  }

  /// Proxies, which say an epoch, are told more exactly than clients need to know.
  std::string_view code_of(const base::error& e) const {
    if (e.reason == "second_publisher") return "NetStream.Publish.BadName";
    if (note_.epoch != cluster::epoch{}) {
      if (e.reason == "stale_epoch") return stale_epoch_code;
      if (e.reason == "at_capacity" || e.reason == "too_many_streams") return at_capacity_code;
    }
    return "NetStream.Publish.Denied";
  }

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
  void on_fenced() override {
    const bool published = std::exchange(publishing_, false);
    stream_ = nullptr;
    // A server that pulls or pushes the stream looks for its new owner by itself.
    const bool proxy = note_.numbered;
    if (published) {
      client_.session().send_status(stream_id_, "error", proxy ? stale_epoch_code : "NetStream.Publish.BadName",
                                    "The stream has moved.");
    } else {
      client_.session().send_status(stream_id_, proxy ? "error" : "status",
                                    proxy ? play_stale_code : "NetStream.Play.UnpublishNotify",
                                    "The stream has moved.");
    }
    client_.close_after_flush("fenced");
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
  peer_note note_;  // of a trusted peer
  std::string app_, tc_url_;
  live_stream* stream_ = nullptr;
  uint64_t publishes_ = 0, marks_ = 0;
  bool numbered_ = false;  // the publish comes by a numbered link
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
