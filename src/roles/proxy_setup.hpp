#pragma once

#include "cluster/core/coordinator.hpp"
#include "relay/hls_home.hpp"
#include "relay/publication_ends.hpp"
#include "relay/shard.hpp"
#include "roles/config.hpp"
#include "runtime/http_server.hpp"
#include "runtime/session_budget.hpp"
#include "servers/http/media_server.hpp"
#include "servers/rtmp/server.hpp"

namespace sluice::roles {

// What the parts of a proxy are told, made of its configuration.

/// What all protocols and shards take their shares of.
struct proxy_budgets {
  runtime::descriptor_budget descriptors;
  runtime::session_budget sessions;
};

servers::server_limits limits_of(const proxy_config& c, proxy_budgets& shared);
servers::media_server_limits players_of(const proxy_config& c, proxy_budgets& shared);

/// PROXY protocol on a port of HTTP clients; empty where it is not accepted. As on the RTMP port it is read from
/// trusted peers, and refused from others: untrusted_proxy_protocol, bad_proxy_protocol.
runtime::http_introduction introduction_of(const proxy_config& c);

/// `retention` gets its bound here; budgets and `ends` are shared by all shards.
relay::relay_config relays_of(const proxy_config& c, runtime::descriptor_budget& budget,
                              relay::retention_budget& retention, relay::publication_ends& ends);

/// With a proxy id and a seed from the kernel's randomness.
relay::hls_relay_config hls_of(const proxy_config& c, size_t shards);
cluster::coordinator_config coordination_of(const proxy_config& c);

}  // namespace sluice::roles
