#pragma once

#include "relay/feed_set.hpp"
#include "relay/shard.hpp"
#include "servers/http/stream_access.hpp"

namespace sluice::relay {

class http_pass;

/// The streams of a proxy, for HTTP players of one shard: from the shard's shared feeds, or, where an origin is to see
/// each viewer, passed on to that origin's own HTTP server.
class http_access final : public servers::stream_access {
 public:
  http_access(shard_context& shard, feed_set& feeds, http_pass& pass) : shard_(shard), feeds_(feeds), pass_(pass) {}
  std::unique_ptr<servers::stream_lease> open(const servers::stream_ask& ask, servers::stream_watcher& w) override;

 private:
  shard_context& shard_;
  feed_set& feeds_;
  http_pass& pass_;
};

}  // namespace sluice::relay
