#pragma once

#include <memory>
#include <optional>
#include <string>

#include "relay/stream_viewer.hpp"
#include "servers/rtmp/connection.hpp"

namespace sluice::relay {

/// One player: finds the stream's owner (or waits for one), then watches the shard's shared feed or one of its own.
class play_relay final : public viewer_events {
 public:
  play_relay(shard_context& shard, feed_set& feeds, servers::connection& client, client_ask ask, uint32_t stream_id);

  /// Begins; the client may be gone when it returns.
  void start();
  /// The client is gone or plays no more. Nothing is heard from this relay afterwards; destroy it when nothing of it
  /// can be on the stack.
  void stop();
  /// The client does not read: a feed of its own need not be read either.
  void on_client_blocked();
  void on_client_drained();

 private:
  // viewer_events
  void on_feed(feed& f) override;
  void on_not_found(const base::error& e) override;
  void on_feed_end(std::string_view code, std::string_view text) override;
  void on_own_origin(const cluster::assignment& to) override;

  shard_context& shard_;
  servers::connection& client_;
  std::shared_ptr<const client_ask> ask_;  // shared with the feed that asks origins for it
  const std::string stream_;
  const uint32_t stream_id_;
  std::unique_ptr<pull_feed> own_;
  std::optional<stream_viewer> viewer_;  // goes before own_, which it watches
  bool playing_ = false;
};

}  // namespace sluice::relay
