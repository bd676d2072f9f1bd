#pragma once

#include "proto/flv/file.hpp"
#include "relay/feed.hpp"
#include "relay/http_upstream.hpp"
#include "servers/http/stream_access.hpp"

namespace sluice::relay {

/// A stream as an origin's HTTP-FLV gives it, for the feed of one viewer: the origin sees his request (query, headers),
/// and the feed goes on elsewhere when the origin is lost. The messages are the tags. A refusal's code is the HTTP
/// status.
class flv_source final : public pull_source, public http_upstream_events {
 public:
  using on_head_seen = std::function<void(const runtime::http_response_head&)>;
  /// `heard` is told of the answer's head first.
  flv_source(shard_context& shard, upstream_metrics& cells, const cluster::assignment& to, std::string request,
             on_head_seen heard, upstream_events& events);
  void pause_reading(bool on) override { upstream_.pause_reading(on); }
  std::string_view proto() const override { return "http-flv"; }

 private:
  // http_upstream_events
  void on_head(const runtime::http_response_head& head) override;
  void on_body(base::bytes_view bytes) override;
  void on_end(std::string_view reason) override;
  void on_undialled(const base::error& e) override;
  void fail_later(std::function<void(upstream_events&)> last_call);

  runtime::loop& loop_;
  const on_head_seen heard_;
  upstream_events& events_;
  flv::reader tags_;
  bool started_ = false, failed_ = false;
  http_upstream upstream_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
