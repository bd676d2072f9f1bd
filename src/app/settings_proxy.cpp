#include "app/setting.hpp"

namespace sluice::app {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::string_view listen_placeholder = "[IP:]PORT";

/// Names and defaults of the SRS proxy; see docs/configuration.md.
void add_listening(setting_table& t, roles::proxy_config& c) {
  constexpr std::string_view group = "Listening";
  const auto add = [&](std::string name, std::string port, std::string_view doc, roles::listen_address& into) {
    t.settings.push_back({group, std::move(name), listen_placeholder, std::move(port), doc, store::listen(into)});
    into.key = t.variable(t.settings.back());
  };
  add("rtmp_server", "11935", "RTMP clients.", c.rtmp);
  add("http_server", "18080", "HTTP-FLV, HTTP-TS and HLS players, and the player page.", c.http);
  add("http_api", "11985", "HTTP API, WHIP and WHEP.", c.http_api);
  add("webrtc_server", "18000", "WebRTC media (UDP); its requests come to the HTTP API.", c.webrtc);
  add("srt_server", "20080", "SRT clients (UDP).", c.srt);
  add("system_api", "12025", "Registration of origins, metrics.", c.system_api);
  t.settings.push_back({group, "upgrade_socket", "FILE", "",
                        "A Unix socket by which the next proxy on this host, started with the same setting, takes all "
                        "ports of this one without a moment in which nobody listens. Empty: none.",
                        store::text(c.upgrade_socket)});
}

void add_limits_and_media(setting_table& t, roles::proxy_config& c) {
  using roles::relay_mode;
  using roles::unowned_play;
  constexpr std::string_view relaying = "Relaying";
  const auto add = [&](setting s) { t.settings.push_back(std::move(s)); };
  add({relaying, "relay", "MODE", "auto",
       "How viewers are served: `per-viewer` (an upstream connection each), `collapse` (one pull a stream), or `auto`: "
       "collapse for Sluice origins, per viewer for others.",
       store::choice<relay_mode>(c.relay, {{"auto", relay_mode::automatic},
                                           {"per-viewer", relay_mode::per_viewer},
                                           {"collapse", relay_mode::collapse}})});
  add({relaying, "play_wait", "DURATION", "10s", "How long a player waits for a stream that nobody publishes.",
       store::duration(c.play_wait, seconds(0), hours(1))});
  add({relaying, "play_unowned", "WHAT", "wait",
       "A play of a stream that nobody published through a proxy: `wait` for one, or `relay` to an origin that may "
       "make "
       "it by itself (SRS ingest, edge).",
       store::choice<unowned_play>(c.play_unowned, {{"wait", unowned_play::wait}, {"relay", unowned_play::relay}})});
  add({relaying, "merge", "DURATION", "0ms",
       "How long data for a viewer may wait to be written together with what follows; 0 writes at once.",
       store::duration(c.merge, seconds(0), seconds(10))});
  add({relaying, "srt_interval", "DURATION", "4ms",
       "While SRT datagrams would wake a thread much more often than this, it looks at them this often instead; 0: "
       "they "
       "always go on at once.",
       store::duration(c.srt_interval, seconds(0), milliseconds(20))});
  add({relaying, "srt_pbkeylen", "0|16|24|32", "0",
       "Key length in bytes that SRT callers are told, for those with a passphrase and no length of their own; 0: none "
       "is told, and they take 16.",
       store::choice<uint16_t>(c.srt_pbkeylen, {{"0", 0}, {"16", 16}, {"24", 24}, {"32", 32}})});
  add({relaying, "webrtc_interval", "DURATION", "2ms", "The same for WebRTC.",
       store::duration(c.webrtc_interval, seconds(0), milliseconds(20))});
  add({relaying, "hls_segment", "DURATION", "2s",
       "The least length of an HLS segment, which begins at a keyframe, of streams published here.",
       store::duration(c.hls_segment, seconds(1), minutes(1))});
  add({relaying, "retention", "DURATION", "4s", "Media of each published stream that is kept for a fail-over.",
       store::duration(c.retention, seconds(0), minutes(1))});
  add({relaying, "retention_bytes", "BYTES", "8MiB", "The most that is kept for one stream; the oldest GOP goes first.",
       store::size(c.retention_bytes, 0, size_t{1} << 30)});

  add({relaying, "recover_wait", "DURATION", "30s",
       "When a stream's origin is lost: how long its publisher and viewers wait for the next one, connected.",
       store::duration(c.recover_wait, seconds(0), hours(1))});

  constexpr std::string_view limits = "Limits";
  add({limits, "message_bytes_max", "BYTES", "8MiB", "A longer RTMP message closes its connection.",
       store::size(c.message_bytes_max, 64 * 1024, 0xffffff)});
  add({limits, "handshake_timeout", "DURATION", "5s", "A client that has not said what it wants by then is closed.",
       store::duration(c.handshake_timeout, milliseconds(100), minutes(5))});
  add({limits, "max_sessions", "N", "0",
       "Sessions at once, of all protocols together; 0: as many as the descriptor limit allows.",
       store::number<size_t>(c.max_sessions, 0, 10'000'000)});
  add({limits, "srt_sessions_per_address", "N", "256", "SRT sessions at once of one client address; 0: no limit.",
       store::number<size_t>(c.srt_sessions_per_address, 0, 10'000'000)});
  add({limits, "player_stall", "DURATION", "20s", "An RTMP or HTTP player that takes nothing for this long is closed.",
       store::duration(c.player_stall, seconds(1), hours(1))});
  add({limits, "shards", "N", "0", "Threads; 0: one for each processor that the process may use.",
       store::number<unsigned>(c.shards, 0, 1024)});
  add({limits, "grace_quit_timeout", "DURATION", "20s", "After SIGTERM, how long sessions may end by themselves.",
       store::duration(c.grace_quit, seconds(0), hours(24))});
  add({limits, "force_quit_timeout", "DURATION", "30s",
       "After SIGTERM, when the process ends in any case; if grace_quit_timeout is more: 10s after that.",
       store::duration(c.force_quit, seconds(0), hours(24))});
}

void add_origins(setting_table& t, roles::proxy_config& c) {
  constexpr std::string_view group = "Origins";
  const auto add = [&](setting s) { t.settings.push_back(std::move(s)); };
  add({group, "origin_server_ttl", "DURATION", "300s", "An origin that has not registered for this long is forgotten.",
       store::duration(c.origin_ttl, seconds(1), hours(24))});
  add({group, "origin_networks", "NETWORKS", "", "Where origins may be, as a list of networks; empty: anywhere.",
       store::networks(c.origin_networks), false, true});
  add({group, "origin_suspect_after", "DURATION", "1s",
       "An origin silent for this long, on every connection, gets no new streams while another one lives.",
       store::duration(c.origin_suspect_after, milliseconds(200), minutes(10))});
  add({group, "origin_dead_after", "DURATION", "2s",
       "An origin silent for this long is given up, and its streams move. One that refuses connections is at once.",
       store::duration(c.origin_dead_after, milliseconds(400), minutes(10))});
  add({group, "wait_origins", "N", "0", "Open the media ports once this many origins have registered, or after 10 s.",
       store::number<unsigned>(c.wait_origins, 0, 10'000)});
  add({group, "default_backend_enabled", "on|off", "off", "Use one fixed origin that need not register.",
       store::on_off(c.default_backend.enabled)});
  add({group, "default_backend_ip", "IP", "127.0.0.1", "Its address.", store::address(c.default_backend.ip)});
  const auto port = [&](std::string name, std::string number, std::string_view doc, setting::setter into) {
    add({group, std::move(name), "PORT", std::move(number), doc, std::move(into)});
  };
  port("default_backend_rtmp", "1935", "Its RTMP port.", store::port(c.default_backend.rtmp));
  port("default_backend_http", "", "Its HTTP port; empty: none.", store::port(c.default_backend.http));
  port("default_backend_api", "1985", "Its HTTP API port.", store::port(c.default_backend.api));
  port("default_backend_rtc", "8000", "Its WebRTC port.", store::port(c.default_backend.rtc));
  port("default_backend_srt", "10080", "Its SRT port.", store::port(c.default_backend.srt));
}

void add_state(setting_table& t, roles::proxy_config& c) {
  constexpr std::string_view group = "Cluster state";
  const auto add = [&](setting s) { t.settings.push_back(std::move(s)); };
  add({group, "load_balancer_type", "TYPE", "memory",
       "Where the cluster's state lives: `memory` (of this process: for one proxy), or `redis` (shared by many). "
       "`mesh` "
       "is not available in this build.",
       [&c](std::string_view text) -> base::result<void> {
         using roles::load_balancer;
         if (text == "mesh") return base::fail("bad_value", "not available in this build; want memory or redis");
         return store::choice<load_balancer>(
             c.balancer, {{"memory", load_balancer::memory}, {"redis", load_balancer::redis}})(text);
       }});
  add({group, "redis_host", "HOST", "127.0.0.1", "Redis server.", store::text(c.redis.host)});
  add({group, "redis_port", "PORT", "6379",
       "Redis port. A `tcp://IP:PORT`, as Kubernetes sets it for a service called proxy-redis, counts as its port.",
       [&c](std::string_view text) {
         if (text.starts_with("tcp://") && text.rfind(':') > 5) text.remove_prefix(text.rfind(':') + 1);
         return store::port(c.redis.port)(text);
       }});
  add({group, "redis_username", "NAME", "", "Redis user (ACL); empty: the default user.",
       store::text(c.redis.username)});
  add({group, "redis_password", "TEXT", "", "Redis password.", store::text(c.redis.password), true});
  add({group, "redis_db", "N", "0", "Redis database.", store::number<unsigned>(c.redis.db, 0, 65535)});
  add({group, "redis_key_prefix", "TEXT", "", "Put before every key: `p` gives `p:srs-proxy-…`.",
       [&c](std::string_view text) -> base::result<void> {
         if (text.find_first_of("{}") != std::string_view::npos)
           return base::fail("bad_value", "want a text without { and }, which have a meaning in the keys of a Cluster");
         return store::text(c.redis.key_prefix)(text);
       }});
  add({group, "redis_tls", "on|off", "off", "Speak TLS with Redis (and with Sentinels), and check its certificate.",
       store::on_off(c.redis.tls)});
  add({group, "redis_ca", "FILE", "", "Certificates that it may be signed with; empty: those that the system trusts.",
       store::text(c.redis.ca_file)});
  add({group, "redis_sentinels", "HOST:PORT,…", "",
       "Sentinels, which are asked where the master is; the Redis server and port above do not count then.",
       store::host_ports(c.redis.sentinels), false, true});
  add({group, "redis_sentinel_master", "NAME", "", "The master's name there; required with Sentinels.",
       store::text(c.redis.sentinel_master)});
  add({group, "redis_cluster", "HOST:PORT,…", "",
       "Some nodes of a Redis Cluster, which know the others; the Redis server and port above do not count then.",
       store::host_ports(c.redis.cluster), false, true});
}

void add_trust(setting_table& t, roles::proxy_config& c) {
  using roles::address_prefix_mode;
  constexpr std::string_view group = "Names and trust";
  const auto add = [&](setting s) { t.settings.push_back(std::move(s)); };
  add({group, "vhosts", "NAMES", "",
       "The virtual hosts there are; any other host is the default one. Empty: every name with a dot.",
       store::texts(c.vhosts), false, true});
  add({group, "only_default_vhost", "on|off", "off", "Every host is the default virtual host.",
       store::on_off(c.only_default_vhost)});
  add({group, "trusted_networks", "NETWORKS", "127.0.0.0/8,::1",
       "Whose word on a client's address is taken: PROXY protocol, the 0xF3 prefix, X-Forwarded-For.",
       store::networks(c.trusted_networks), false, true});
  add({group, "proxy_protocol", "on|off", "off",
       "Accept PROXY protocol v1 and v2 from the trusted networks: RTMP, HTTP and the HTTP API.",
       store::on_off(c.proxy_protocol)});
  add({group, "client_address_prefix", "MODE", "auto",
       "Tell origins the client's address by SRS's 0xF3 prefix: `on`, `off`, or `auto`: Sluice origins only.",
       store::choice<address_prefix_mode>(c.client_address_prefix, {{"auto", address_prefix_mode::automatic},
                                                                    {"on", address_prefix_mode::on},
                                                                    {"off", address_prefix_mode::off}})});
  add({group, "advertise", "IP,…", "", "This proxy's addresses as clients see them; empty: the one they connected to.",
       store::addresses(c.advertise), false, true});
  add({group, "http_api_auth_enabled", "on|off", "off", "Ask for a token on the HTTP API and for registrations.",
       store::on_off(c.auth.enabled)});
  add({group, "http_api_auth_type", "TYPE", "", "`bearer`, the only type; required when enabled.",
       store::text(c.auth.type)});
  add({group, "http_api_auth_token", "TEXT", "", "The token; required when enabled.", store::text(c.auth.token), true});
  add({group, "static_files", "FOLDER", "",
       "A folder of pages for the HTTP server, in place of the built-in ones of the same names.",
       store::text(c.static_files)});
}

}  // namespace

void add_log_settings(setting_table& t, roles::common_config& c) {
  constexpr std::string_view group = "Log";
  t.settings.push_back({group, "log_format", "FORMAT", "text",
                        "Lines for people (`text`) or `json`, on standard error.",
                        store::choice<runtime::log_format>(
                            c.log_format, {{"text", runtime::log_format::text}, {"json", runtime::log_format::json}})});
  t.settings.push_back({group, "log_level", "LEVEL", "info",
                        "The least important lines to write: debug, info, warn or error.",
                        store::choice<base::log_level>(c.log_level, {{"debug", base::log_level::debug},
                                                                     {"info", base::log_level::info},
                                                                     {"warn", base::log_level::warn},
                                                                     {"error", base::log_level::error}})});
}

setting_table proxy_settings(roles::proxy_config& c) {
  setting_table t{"PROXY_", {}};
  add_listening(t, c);
  add_origins(t, c);
  add_limits_and_media(t, c);
  add_trust(t, c);
  add_state(t, c);
  add_log_settings(t, c);
  return t;
}

namespace {

void check_redis(const roles::redis_config& r, std::vector<std::string>& errors) {
  if (r.sentinels.empty() != r.sentinel_master.empty())
    errors.push_back(r.sentinels.empty()
                         ? "PROXY_REDIS_SENTINELS: want the Sentinels of PROXY_REDIS_SENTINEL_MASTER"
                         : "PROXY_REDIS_SENTINEL_MASTER: want the master's name at PROXY_REDIS_SENTINELS");
  if (!r.sentinels.empty() && !r.cluster.empty())
    errors.push_back("PROXY_REDIS_CLUSTER: want none together with PROXY_REDIS_SENTINELS");
  if (!r.cluster.empty() && r.db != 0) errors.push_back("PROXY_REDIS_DB: a Redis Cluster has database 0 only");
  if (!r.username.empty() && r.password.empty())
    errors.push_back("PROXY_REDIS_PASSWORD: want the password of PROXY_REDIS_USERNAME");
  if (!r.ca_file.empty() && !r.tls) errors.push_back("PROXY_REDIS_CA: want PROXY_REDIS_TLS on with it");
}

}  // namespace

std::vector<std::string> check_together(const roles::proxy_config& c) {
  std::vector<std::string> errors;
  if (c.origin_dead_after < c.origin_suspect_after)
    errors.push_back("PROXY_ORIGIN_DEAD_AFTER: want no less than PROXY_ORIGIN_SUSPECT_AFTER");
  if (c.balancer == roles::load_balancer::redis) check_redis(c.redis, errors);
  if (!c.auth.enabled) return errors;
  if (c.auth.type != "bearer") {
    errors.push_back(fmt::format(
        "PROXY_HTTP_API_AUTH_TYPE: \"{}\": want bearer, since PROXY_HTTP_API_AUTH_ENABLED is on", c.auth.type));
  }
  if (c.auth.token.empty()) {
    errors.push_back("PROXY_HTTP_API_AUTH_TOKEN: want a token, since PROXY_HTTP_API_AUTH_ENABLED is on");
  }
  return errors;
}

}  // namespace sluice::app
