#pragma once

#include <memory>
#include <string>
#include <vector>

#include "media/hub.hpp"
#include "relay/client_request.hpp"
#include "relay/shard.hpp"
#include "relay/upstream.hpp"
#include "servers/rtmp/connection.hpp"

namespace sluice::relay {

/// One publisher on its way to the stream's owner: claims, dials, publishes there, then answers the client. Its media
/// goes through a hub that keeps what a next owner would need (retention) and that the upstream reads; message numbers
/// are that hub's.
class publish_relay final : public upstream_events {
 public:
  publish_relay(shard_context& shard, servers::connection& client, client_ask ask, uint32_t stream_id);
  ~publish_relay();

  /// The client is gone or publishes no more: nothing more is heard from this relay. The shard keeps it
  /// (shard_context::keep) until it says that the origin has what the client sent, after a few seconds at most.
  void stop();

  void start() { claim(); }
  void on_client_media(rtmp::message msg);
  /// The upstream is behind: stop reading the client, so that nothing is lost.
  void on_client_batch_end();

  // upstream_events
  void on_started() override;
  void on_media(rtmp::message) override {}
  void on_refused(const rtmp::client_status& status) override;
  void on_lost(bool started, std::string_view reason) override;
  void on_undialled(const base::error& e) override;
  void on_drained() override;

 private:
  void claim();
  void dial();
  void try_next();
  void finished();
  void account(size_t bytes);
  void refuse(std::string_view code, std::string_view reason, std::string_view text);

  shard_context& shard_;
  servers::connection& client_;
  const client_ask ask_;
  const uint32_t stream_id_;
  media::hub hub_;
  cluster::assignment to_;
  std::vector<std::string> failed_;  // origins that could not be reached for this publish
  std::unique_ptr<upstream> upstream_;
  size_t accounted_ = 0;  // bytes of hub_ that the budget knows of
  uint64_t evictions_ = 0;
  uint64_t claiming_ = 0;  // the question under way, or 0
  bool running_ = false;
  bool stopping_ = false;
  runtime::timer finish_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
