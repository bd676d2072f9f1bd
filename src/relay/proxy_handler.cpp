#include "relay/proxy_handler.hpp"

#include "relay/play_relay.hpp"
#include "relay/publish_relay.hpp"
#include "servers/rtmp/capabilities.hpp"

namespace sluice::relay {
namespace {

constexpr unsigned requests_per_window = 20;
constexpr base::duration request_window = std::chrono::seconds(10);

class proxy_handler final : public servers::client_handler {
 public:
  proxy_handler(servers::connection& c, shard_context& shard, feed_set& feeds)
      : client_(c), shard_(shard), feeds_(feeds) {}

  void on_connect(rtmp::connect_request request) override {
    if (client_.turned_away(false)) return;
    connect_ = std::make_shared<const rtmp::connect_request>(std::move(request));
    client_.session().accept_connect(servers::forward_capabilities(true));
  }

  void on_publish(rtmp::publish_request request) override {
    leave();
    if (too_many_requests()) return;
    auto ask = make_ask(request.name);
    if (!ask) {
      client_.session().reject_publish(request.stream_id, "NetStream.Publish.BadName", ask.error().text);
      return refuse(ask.error(), request.name);
    }
    stream_id_ = request.stream_id;
    publish_ = std::make_unique<publish_relay>(shard_, client_, std::move(*ask), stream_id_);
    publish_->start();
  }

  void on_play(rtmp::play_request request) override {
    leave();
    if (too_many_requests()) return;
    auto ask = make_ask(request.name);
    if (!ask) {
      client_.session().reject_play(request.stream_id, "NetStream.Play.Failed", ask.error().text);
      return refuse(ask.error(), request.name);
    }
    stream_id_ = request.stream_id;
    play_ = std::make_unique<play_relay>(shard_, feeds_, client_, std::move(*ask), stream_id_);
    play_->start();
  }

  void on_media(rtmp::message msg) override {
    if (publish_ && msg.stream_id == stream_id_) publish_->on_client_media(std::move(msg));
  }
  void on_batch_end() override {
    if (publish_) publish_->on_client_batch_end();
  }
  void on_blocked() override {
    if (play_) play_->on_client_blocked();
  }
  void on_drained() override {
    if (play_) play_->on_client_drained();
  }
  void on_stream_closed(uint32_t stream_id) override {
    if (stream_id != stream_id_) return;
    client_.session_ended("stream_closed");
    leave();
  }
  void on_closed() override { leave(); }

 private:
  base::result<client_ask> make_ask(const std::string& name) {
    auto address = cluster::parse_rtmp(connect_->tc_url, connect_->app, name, shard_.config.vhosts);
    if (!address) return tl::unexpected(address.error());
    return client_ask{connect_, name, std::move(*address), client_.id(), client_.peer()};
  }

  // Each publish and play is a question to the control thread: nobody asks them by the thousand in earnest.
  bool too_many_requests() {
    const auto now = shard_.loop.now();
    if (now - requests_since_ > request_window) {
      requests_since_ = now;
      requests_ = 0;
    }
    if (++requests_ <= requests_per_window) return false;
    refuse({"too_many_requests", "more publish and play commands on one connection than make sense"}, {});
    return true;
  }

  void refuse(const base::error& e, const std::string& name) {
    client_.session_refused(e.reason, name, e.text);
    client_.close_after_flush(e.reason);
  }

  // This may be called from within the relay, through the connection that it writes to: it is stopped now, destroyed
  // later.
  void leave() {
    if (std::shared_ptr<publish_relay> relay = std::exchange(publish_, nullptr)) {
      shard_.keep(relay);
      relay->stop();
    }
    if (std::shared_ptr<play_relay> relay = std::exchange(play_, nullptr)) {
      shard_.keep(relay);
      relay->stop();
      shard_.release(relay.get());
    }
  }

  servers::connection& client_;
  shard_context& shard_;
  feed_set& feeds_;
  std::shared_ptr<const rtmp::connect_request> connect_;
  std::unique_ptr<publish_relay> publish_;
  base::time_point requests_since_{};
  unsigned requests_ = 0;
  uint32_t stream_id_ = 0;  // of the publish or play that runs: one at a time
  std::unique_ptr<play_relay> play_;
};

}  // namespace

std::unique_ptr<servers::client_handler> make_proxy_handler(servers::connection& c, shard_context& shard,
                                                            feed_set& feeds) {
  return std::make_unique<proxy_handler>(c, shard, feeds);
}

}  // namespace sluice::relay
