#pragma once

#include <memory>
#include <string>

#include "relay/client_request.hpp"
#include "relay/feed_set.hpp"
#include "servers/rtmp/connection.hpp"

namespace sluice::relay {

/// One player: finds the stream's owner (or waits for one), then watches the shard's shared feed or one of its own.
class play_relay final : public feed_viewer {
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

  // feed_viewer
  void on_feed_started(feed& f) override;
  void on_feed_ended(std::string_view code, std::string_view text) override;

 private:
  void find();
  void watch(const cluster::assignment& to);
  void join(feed& f);

  shard_context& shard_;
  feed_set& feeds_;
  servers::connection& client_;
  std::shared_ptr<const client_ask> ask_;  // shared with the feed that asks origins for it
  const std::string stream_;
  const uint32_t stream_id_;
  feed* feed_ = nullptr;
  std::unique_ptr<pull_feed> own_;
  uint64_t finding_ = 0;  // the question under way, or 0
  bool playing_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
