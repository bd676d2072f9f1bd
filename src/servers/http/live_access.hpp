#pragma once

#include "servers/http/stream_access.hpp"
#include "servers/live/directory.hpp"

namespace sluice::servers {

/// The streams of an origin, for HTTP players: only those that are published, others are 404 at once.
class live_access final : public stream_access {
 public:
  explicit live_access(directory& streams) : streams_(streams) {}
  std::unique_ptr<stream_lease> open(const stream_ask& ask, stream_watcher& w) override;
  bool publishes(const cluster::stream_key& key) const override { return streams_.publishes(key); }

 private:
  directory& streams_;
};

}  // namespace sluice::servers
