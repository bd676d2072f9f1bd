#pragma once

#include "cluster/core/coordinator.hpp"
#include "relay/hls_home.hpp"
#include "relay/shard.hpp"
#include "roles/config.hpp"
#include "servers/http/media_server.hpp"
#include "servers/rtmp/server.hpp"

namespace sluice::roles {

// What the parts of a proxy are told, made of its configuration.

/// Of each of `shards` servers. `budget` is shared by all.
servers::server_limits limits_of(const proxy_config& c, runtime::descriptor_budget& budget, size_t shards);

servers::media_server_limits players_of(const proxy_config& c, runtime::descriptor_budget& budget, size_t shards);

/// `retention` gets its bound here; both budgets are shared by all shards.
relay::relay_config relays_of(const proxy_config& c, runtime::descriptor_budget& budget,
                              relay::retention_budget& retention);

/// With a proxy id and a seed from the kernel's randomness.
relay::hls_relay_config hls_of(const proxy_config& c, size_t shards);
cluster::coordinator_config coordination_of(const proxy_config& c);

}  // namespace sluice::roles
