#pragma once

#include <memory>

#include "relay/feed_set.hpp"
#include "relay/shard.hpp"
#include "servers/rtmp/connection.hpp"

namespace sluice::relay {

/// An RTMP client of a proxy: a publisher is relayed to the stream's owner, a player is fed from the shard's feeds.
std::unique_ptr<servers::client_handler> make_proxy_handler(servers::connection& c, shard_context& shard,
                                                            feed_set& feeds);

}  // namespace sluice::relay
