#include "roles/proxy_setup.hpp"

#include <algorithm>

#include "proto/proxy/proxy_protocol.hpp"
#include "runtime/process.hpp"

namespace sluice::roles {
namespace {

// Of the memory that the cgroup allows, all publishers' retention together may take one part in this many.
constexpr uint64_t retention_memory_share = 10;
// The same of what is kept of HLS.
constexpr uint64_t hls_memory_share = 8;
// An origin that accepts connections but does not speak is stopped or wedged.
constexpr base::duration origin_handshake_timeout = std::chrono::seconds(2);
// A per-viewer relay holds only what its viewer has not taken; lagging is judged at the origin.
constexpr size_t private_hub_bytes = 16u << 20;

relay::relay_mode mode_of(relay_mode m) {
  switch (m) {
    case relay_mode::per_viewer:
      return relay::relay_mode::per_viewer;
    case relay_mode::collapse:
      return relay::relay_mode::collapse;
    case relay_mode::automatic:
      break;
  }
  return relay::relay_mode::automatic;
}

relay::address_prefix prefix_of(address_prefix_mode m) {
  switch (m) {
    case address_prefix_mode::on:
      return relay::address_prefix::always;
    case address_prefix_mode::off:
      return relay::address_prefix::never;
    case address_prefix_mode::automatic:
      break;
  }
  return relay::address_prefix::sluice_only;
}

rtmp::session_config session_of(const proxy_config& c) {
  rtmp::session_config s;
  s.message_bytes_max = static_cast<uint32_t>(c.message_bytes_max);
  s.handshake_timeout = c.handshake_timeout;
  return s;
}

cluster::origin_registration default_backend_of(const default_backend_config& b) {
  cluster::origin_registration r;
  r.server = "default-backend";
  r.service = "default";
  r.pid = "0";
  r.address = b.ip;
  r.ip = b.ip.to_string();
  r.rtmp = {{b.ip, b.rtmp}};
  if (b.http) r.http = {{b.ip, *b.http}};
  if (b.api) r.api = {{b.ip, *b.api}};
  if (b.srt) r.srt = {{b.ip, *b.srt}};
  if (b.rtc) r.rtc_udp = {{b.ip, *b.rtc}};
  return r;
}

}  // namespace

servers::server_limits limits_of(const proxy_config& c, proxy_budgets& shared) {
  servers::server_limits l;
  l.session = session_of(c);
  l.descriptors = &shared.descriptors;
  l.sessions = &shared.sessions;
  l.player_stall = c.player_stall;
  l.proxy_protocol = c.proxy_protocol;
  l.trusted = c.trusted_networks;
  return l;
}

servers::media_server_limits players_of(const proxy_config& c, proxy_budgets& shared) {
  servers::media_server_limits l;
  l.descriptors = &shared.descriptors;
  l.sessions = &shared.sessions;
  l.player_stall = c.player_stall;
  l.trusted = c.trusted_networks;
  return l;
}

runtime::http_introduction introduction_of(const proxy_config& c) {
  if (!c.proxy_protocol) return {};
  const auto trusted = [networks = c.trusted_networks](const base::ip_address& peer) {
    return std::ranges::any_of(networks, [&](const base::network& n) { return n.contains(peer); });
  };
  const auto read = [trusted](const base::ip_address& peer,
                              base::bytes_view bytes) -> base::result<std::optional<runtime::http_introduction::word>> {
    const auto there = proxy_protocol::has_header(bytes);
    if (!there) return std::nullopt;
    if (!*there) return runtime::http_introduction::word{};
    if (!trusted(peer)) return base::fail("untrusted_proxy_protocol", "the peer is not in the trusted networks");
    const auto header = proxy_protocol::parse(bytes);
    if (!header) return tl::unexpected(header.error());
    if (!*header) return std::nullopt;
    return runtime::http_introduction::word{(*header)->consumed, (*header)->source};
  };
  return {trusted, read};
}

relay::relay_config relays_of(const proxy_config& c, runtime::descriptor_budget& budget,
                              relay::retention_budget& retention, relay::publication_ends& ends) {
  retention.bytes_max = runtime::usable_memory() / retention_memory_share;
  relay::relay_config r;
  r.retention = &retention;
  // Where there are several proxies a publisher may have been at another since, and nothing here would tell.
  if (c.balancer != load_balancer::redis) r.ends = &ends;
  r.mode = mode_of(c.relay);
  r.prefix = prefix_of(c.client_address_prefix);
  r.vhosts = {c.vhosts, c.only_default_vhost};
  r.upstream.session = session_of(c);
  r.upstream.session.handshake_timeout = origin_handshake_timeout;
  r.upstream.descriptors = &budget;
  r.upstream.silence_max = std::max(c.recover_wait, r.upstream.quiet_max + r.upstream.answer_max);
  r.play_wait = c.play_wait;
  r.hls_segment = c.hls_segment;
  r.recover_wait = c.recover_wait;
  r.private_hub.gop_cache = false;
  r.private_hub.bytes_max = private_hub_bytes;
  r.retention_hub.strip_set_data_frame = false;
  r.retention_hub.retain = c.retention;
  r.retention_bytes_max = c.retention_bytes;
  r.retention_hub.bytes_max =
      c.retention_bytes + r.backlog_max + 2 * c.message_bytes_max;  // unsent media is not retention
  r.retention_hub.lag_max = std::chrono::hours(1);  // the publisher is stopped before its origin would miss anything
  return r;
}

relay::hls_relay_config hls_of(const proxy_config& c, size_t shards) {
  relay::hls_relay_config h;
  h.trusted = c.trusted_networks;
  h.stale += c.recover_wait;
  h.bytes_max = std::min<size_t>(h.bytes_max, runtime::usable_memory() / hls_memory_share / shards);
  return h;
}

cluster::coordinator_config coordination_of(const proxy_config& c) {
  cluster::coordinator_config k;
  k.proxy_id = runtime::random_id(10);
  runtime::random_bytes({reinterpret_cast<uint8_t*>(&k.seed), sizeof k.seed});
  k.origin_ttl = c.origin_ttl;
  k.play_wait = c.play_wait;
  k.suspect_after = c.origin_suspect_after;
  k.dead_after = c.origin_dead_after;
  k.play_unowned = c.play_unowned == unowned_play::relay ? cluster::play_unowned::relay : cluster::play_unowned::wait;
  if (c.balancer == load_balancer::redis) {
    // An owner's life in a store that others share is longer, so that a stream at rest costs it a command a minute.
    k.stream_ttl = std::chrono::seconds(240);
    k.renew_interval = std::chrono::seconds(80);
  }
  if (c.default_backend.enabled) k.default_backend = default_backend_of(c.default_backend);
  return k;
}

}  // namespace sluice::roles
