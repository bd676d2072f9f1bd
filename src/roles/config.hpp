#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/endpoint.hpp"
#include "base/log.hpp"
#include "base/time.hpp"
#include "proto/resp/replies.hpp"
#include "runtime/process.hpp"

/// What each role is told at its start. Plain values: src/app fills one of them, once, from the command line, the
/// environment,
/// `.env` and YAML, and hands it on as const; nobody reads the environment anywhere else. The defaults stand in one
/// place, the tables of src/app/settings_*.cpp (and docs/configuration.md, which a test compares with them), so the
/// members here have none. Thread: immutable after start-up, so readable from all. Sizes are in bytes; a size, count or
/// duration of 0 means "no such limit" only where it is said.
namespace sluice::roles {

/// Where to listen, and the name of the setting that says so: an address that cannot be bound is reported under that
/// name.
struct listen_address {
  std::string key;  ///< `PROXY_RTMP_SERVER`
  base::endpoint
      at;  ///< `::` is every address, IPv4 too (0.0.0.0 where the kernel has no IPv6); port 0: the kernel's choice
};

/// What every role has.
struct common_config {
  runtime::log_format log_format{};
  base::log_level log_level{};
  /// An inherited descriptor, or -1. The role writes one JSON line a phase to it and then closes it (see
  /// roles/run.hpp).
  int parent_pid = 0;  ///< of the supervisor, with which the process is to die; 0: it has none
  int ready_fd = -1;
};

/// `relay`: how a stream's viewers are served by a proxy.
enum class relay_mode : uint8_t {
  automatic,   ///< collapse for Sluice origins, per viewer for all others
  per_viewer,  ///< one upstream connection for each viewer
  collapse,    ///< one pull for each stream, fanned out here
};

/// `play_unowned`: what becomes of a play whose stream nobody has published.
enum class unowned_play : uint8_t {
  wait,   ///< it waits for an owner, up to play_wait
  relay,  ///< it goes to the first candidate, which may make the stream by itself (SRS ingest, edge)
};

/// `client_address_prefix`: whether origins get the client's address in front of C0 (0xF3).
enum class address_prefix_mode : uint8_t {
  automatic,  ///< Sluice origins only
  on,
  off,
};

/// `second_publisher`: what becomes of a publish to a stream that has a publisher.
enum class second_publisher_policy : uint8_t { refuse, takeover, takeover_if_idle };

enum class load_balancer : uint8_t { memory, redis };

/// Bearer token of the HTTP API and of the registration of origins.
struct auth_config {
  bool enabled = false;
  std::string type;   ///< "bearer" when enabled
  std::string token;  ///< not empty when enabled
};

/// The one origin that the proxy makes up and keeps alive by itself.
struct default_backend_config {
  bool enabled = false;
  base::ip_address ip;
  uint16_t rtmp = 0;
  std::optional<uint16_t> http;
  std::optional<uint16_t> api;
  std::optional<uint16_t> rtc;
  std::optional<uint16_t> srt;
};

/// Where proxies share their state (load_balancer::redis).
struct redis_config {
  std::string host;
  uint16_t port = 0;
  std::string username, password;  ///< empty: the default user, no password
  unsigned db = 0;
  std::string key_prefix;
  bool tls = false;
  std::string ca_file;                     ///< of TLS; empty: those that the system trusts
  std::vector<resp::host_port> sentinels;  ///< not empty: they are asked where the master is
  std::string sentinel_master;             ///< its name there
  std::vector<resp::host_port> cluster;    ///< not empty: some nodes of a Redis Cluster
};

struct proxy_config : common_config {
  listen_address rtmp;
  listen_address http;  ///< HTTP-FLV, HTTP-TS, HLS, /api/v1/versions and pages
  listen_address http_api;
  listen_address webrtc;      ///< UDP: media of WebRTC clients
  listen_address srt;         ///< UDP
  listen_address system_api;  ///< registration of origins, metrics

  std::string upgrade_socket;  ///< a path, or empty
  load_balancer balancer{};
  redis_config redis;
  base::duration origin_ttl{};
  base::duration grace_quit{};  ///< on SIGTERM: no new work, sessions may end by themselves
  base::duration force_quit{};  ///< then they are closed, and after this much since the signal the process ends
  /// Since the signal, the one that holds: who asks for a longer grace time alone means it.
  base::duration forced_end() const {
    return force_quit >= grace_quit ? force_quit : grace_quit + std::chrono::seconds(10);
  }
  std::string static_files;     ///< a folder, or empty
  auth_config auth;
  default_backend_config default_backend;

  relay_mode relay{};
  base::duration play_wait{};
  base::duration recover_wait{};          ///< of publishers and viewers whose origin is lost
  base::duration origin_suspect_after{};  ///< of silence
  base::duration origin_dead_after{};     ///< of silence, no less than origin_suspect_after
  unowned_play play_unowned{};
  std::vector<std::string> vhosts;              ///< when not empty, any other host is `__defaultVhost__`
  bool only_default_vhost = false;              ///< every host is `__defaultVhost__`
  std::vector<base::network> trusted_networks;  ///< whose PROXY protocol, 0xF3 prefix and X-Forwarded-For are believed
  bool proxy_protocol = false;                  ///< expect PROXY protocol v1/v2 from trusted networks
  address_prefix_mode client_address_prefix{};
  std::vector<base::network>
      origin_networks;  ///< where an origin may be; empty: anywhere that is not forbidden by its kind
  std::vector<base::ip_address> advertise;  ///< addresses that clients are told, if not the one that they reached
  base::duration hls_segment{};             ///< the least length of an HLS segment
  uint16_t srt_pbkeylen = 0;                ///< bytes, that callers are told; 0: none are
  base::duration srt_interval{};            ///< between looks at many datagrams; 0: each is a wake-up
  base::duration webrtc_interval{};         ///< likewise
  unsigned shards = 0;                      ///< threads; 0: runtime::usable_cpus()
  base::duration merge{};                   ///< bound on the delay for merging writes to viewers; 0: none
  base::duration retention{};               ///< media kept before the current GOP, per published stream
  size_t retention_bytes = 0;               ///< the bound of that, per stream
  size_t message_bytes_max = 0;             ///< a longer RTMP message closes its connection
  base::duration handshake_timeout{};
  size_t max_sessions = 0;              ///< 0: as many as the descriptor limit allows
  size_t srt_sessions_per_address = 0;  ///< 0: no limit
  base::duration player_stall{};        ///< an RTMP or HTTP player that takes nothing for this long is closed
  unsigned wait_origins = 0;            ///< media ports open when this many origins have registered, or after 10 s
};

struct origin_config : common_config {
  listen_address rtmp;
  listen_address http;  ///< HTTP-FLV, HTTP-TS, HLS
  listen_address api;

  std::vector<std::string> register_urls;  ///< whole URLs of proxies' register calls; may be empty
  base::duration register_interval{};
  std::string register_token;                 ///< sent as a bearer token when not empty
  std::optional<base::ip_address> advertise;  ///< else the bound address, else that of the route to each proxy
  std::string server_id;                      ///< empty: host name and RTMP port
  std::string device_id;                      ///< may be empty
  unsigned weight = 1;                        ///< share of the streams in relation to other origins, 1 … 1000
  size_t capacity = 0;                        ///< publishers at once; 0: no limit

  second_publisher_policy second_publisher{};
  base::duration publisher_idle{};  ///< a publisher silent for this long may be replaced (takeover_if_idle)
  bool gop_cache = false;
  size_t gop_bytes = 0;                    ///< per stream; above it the cache starts anew at the next keyframe
  base::duration gop_duration{};           ///< per stream, likewise
  size_t player_queue_bytes = 0;           ///< above it a player drops to the next keyframe
  base::duration player_queue_duration{};  ///< likewise, by timestamps
  base::duration hls_segment{};            ///< the least length of an HLS segment
  base::duration hls_window{};             ///< how much a playlist shows
  base::duration player_stall{};           ///< a player that takes nothing for this long is closed
  base::duration merge{};                  ///< bound on the delay for merging writes to players; 0: none

  std::vector<std::string> vhosts;              ///< as in proxy_config
  std::vector<base::network> trusted_networks;  ///< as in proxy_config
  size_t message_bytes_max = 0;
  base::duration handshake_timeout{};
  size_t max_sessions = 0;      ///< 0: as many as the descriptor limit allows
  base::duration grace_quit{};  ///< on SIGTERM: players get what is queued, at most for this long
};

/// `sluice run`: a proxy and origins as child processes.
struct run_config : common_config {
  unsigned origins = 0;  ///< 0: runtime::usable_cpus()
  proxy_config proxy;    ///< what the proxy will be told, parsed: for the supervisor to plan with and to print
  std::string program;   ///< the file to execute as `sluice`
  bool demo = false;     ///< have ffmpeg publish a test picture

  /// Further arguments of every child (`--play-wait`, `5s`, …): all that was given to `run` by any source, or has
  /// another default there, without the proxy's listen addresses and the secrets.
  std::vector<std::string> proxy_arguments;
  std::vector<std::string> origin_arguments;
  /// The whole environment of the children (`NAME=value`): that of `run` without the variables that were parsed, and
  /// with the secrets, which must not stand on a command line.
  std::vector<std::string> proxy_environment;
  std::vector<std::string> origin_environment;
  /// The same without any secret: for programs that are not ours.
  std::vector<std::string> foreign_environment;
};

}  // namespace sluice::roles
