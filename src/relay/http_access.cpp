#include "relay/http_access.hpp"

#include <fmt/format.h>

#include <charconv>

#include "relay/flv_source.hpp"
#include "relay/http_pass.hpp"
#include "relay/stream_viewer.hpp"

namespace sluice::relay {
namespace {

/// What an RTMP player of that stream would say: a shared pull speaks RTMP.
std::shared_ptr<const client_ask> as_rtmp(const servers::stream_ask& ask) {
  rtmp::connect_request connect;
  connect.app = ask.address.key.app;
  connect.tc_url = fmt::format("rtmp://{}/{}", ask.address.key.vhost, ask.address.key.app);
  std::string name = ask.address.key.stream;
  if (!ask.address.query.empty()) name += "?" + ask.address.query;
  return std::make_shared<const client_ask>(
      client_ask{std::make_shared<const rtmp::connect_request>(std::move(connect)), std::move(name), ask.address,
                 ask.session, ask.peer});
}

// The watcher gives its lease up when it hears of the end: what calls it does nothing after that.
class feed_lease final : public servers::stream_lease, public viewer_events {
 public:
  feed_lease(shard_context& shard, feed_set& feeds, http_pass& pass, const servers::stream_ask& ask,
             servers::stream_watcher& w)
      : shard_(shard), pass_(pass), ask_(ask), watcher_(w), viewer_(shard, feeds, as_rtmp(ask), *this) {}
  ~feed_lease() override {
    if (!own_) return;
    // The feed may be what ends this lease: it goes when nothing of it can be on the stack.
    std::shared_ptr<pull_feed> feed = std::move(own_);
    shard_.keep(feed);
    shard_.release(feed.get());
  }
  void start() { viewer_.start(); }
  void pause(bool on) override {
    if (own_) own_->pause_source(on);
  }
  std::vector<std::pair<std::string, std::string>> origin_headers() const override { return origin_headers_; }

 private:
  void on_feed(feed& f) override { watcher_.on_stream(f.hub(), f.origin()); }
  void on_not_found(const base::error& e) override {
    watcher_.on_no_stream(e.reason == "stream_not_found" ? 404 : 503, e.reason, e.text);
  }
  void on_feed_end(std::string_view code, std::string_view text) override {
    const bool missing = code == "NetStream.Play.StreamNotFound";
    // Of an origin's HTTP server the code is the status.
    if (int status = 0; std::from_chars(code.data(), code.data() + code.size(), status).ec == std::errc())
      return watcher_.on_no_stream(status, "origin_refused", text);
    watcher_.on_no_stream(missing ? 404 : 502, missing ? "stream_not_found" : "origin_refused", text);
  }
  void on_own_origin(const cluster::assignment& to) override {
    if (ask_.request->path.ends_with(".flv") && ask_.request->method == "GET") return watch_alone(to);
    watcher_.on_passed(
        [&pass = pass_, ask = ask_, to](const runtime::http_request& request, runtime::http_server::respond respond) {
          pass.stream(request, ask, to, std::move(respond));
        });
  }

  void watch_alone(const cluster::assignment& to) {
    const auto& request = *ask_.request;
    auto connect = [this, text = runtime::http_request_text("GET", request.target, pass_.forwarded(request, to))](
                       const cluster::assignment& origin, const link_terms&,
                       upstream_events& events) -> std::unique_ptr<pull_source> {
      return std::make_unique<flv_source>(
          shard_, pass_.cells(), origin, text, [this](const auto& head) { origin_headers_ = returned_headers(head); },
          events);
    };
    ask_.request.reset();
    own_ = std::make_unique<pull_feed>(shard_, ask_.address.key, audience::one, to, std::move(connect), ask_.session,
                                       [] {});
    viewer_.join(*own_);
  }

  shard_context& shard_;
  http_pass& pass_;
  servers::stream_ask ask_;
  servers::stream_watcher& watcher_;
  std::vector<std::pair<std::string, std::string>> origin_headers_;  // of the latest answer to own_
  std::unique_ptr<pull_feed> own_;
  stream_viewer viewer_;  // goes before own_, which it watches
};

}  // namespace

std::unique_ptr<servers::stream_lease> http_access::open(const servers::stream_ask& ask, servers::stream_watcher& w) {
  auto lease = std::make_unique<feed_lease>(shard_, feeds_, pass_, ask, w);
  lease->start();
  return lease;
}

}  // namespace sluice::relay
