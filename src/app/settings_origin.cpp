#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "app/setting.hpp"
#include "cluster/core/text.hpp"

namespace sluice::app {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

/// Whole http:// URLs, since a register call is a POST to exactly that.
setting::setter urls(std::vector<std::string>& into) {
  return [&into](std::string_view text) -> base::result<void> {
    auto parts = split_list(text);
    for (const auto& part : parts) {
      const auto url = boost::urls::parse_uri(part);
      if (!url || url->scheme() != "http" || url->encoded_host().empty() || url->has_userinfo()) {
        return base::fail("bad_value", "want whole URLs such as http://10.0.0.1:12025/api/v1/srs/register");
      }
      if (const auto port = parse_number(url->port(), 1, 65535); url->has_port() && !url->port().empty() && !port) {
        return base::fail("bad_value", "as the port of a URL: " + port.error().text);
      }
    }
    into = std::move(parts);
    return {};
  };
}

/// What proxies would refuse at each registration is refused at the start.
setting::setter id(std::string& into) {
  return [&into](std::string_view text) -> base::result<void> {
    if (!cluster::is_fine_id(text))
      return base::fail("bad_value", "want 128 visible ASCII characters at most, none of {}\"'\\/<>,;&%");
    into = text;
    return {};
  };
}

setting::setter label(std::string& into) {
  return [&into](std::string_view text) -> base::result<void> {
    if (!cluster::is_fine_label(text)) return base::fail("bad_value", "want 255 bytes of UTF-8 text at most");
    into = text;
    return {};
  };
}

void add_listening(setting_table& t, roles::origin_config& c) {
  constexpr std::string_view group = "Listening";
  const auto add = [&](std::string name, std::string port, std::string_view doc, roles::listen_address& into) {
    t.settings.push_back({group, std::move(name), "[IP:]PORT", std::move(port), doc, store::listen(into)});
    into.key = t.variable(t.settings.back());
  };
  add("rtmp", "1935", "RTMP publishers and players.", c.rtmp);
  add("http", "8080", "HTTP players: HTTP-FLV, HTTP-TS and HLS.", c.http);
  add("api", "1985", "HTTP API and metrics.", c.api);
}

void add_registration(setting_table& t, roles::origin_config& c) {
  constexpr std::string_view group = "Registration";
  const auto add = [&](setting s) { t.settings.push_back(std::move(s)); };
  add({group, "register", "URL", "", "The register call of a proxy, as a whole URL; give one for each proxy.",
       urls(c.register_urls), false, true});
  add({group, "register_interval", "DURATION", "1s", "How often to register.",
       store::duration(c.register_interval, milliseconds(100), minutes(5))});
  add({group, "register_token", "TEXT", "", "The proxies' PROXY_HTTP_API_AUTH_TOKEN.", store::text(c.register_token),
       true});
  add({group, "advertise", "IP", "",
       "The address that proxies are told; empty: the bound one, else that of the route to the proxy.",
       store::address(c.advertise)});
  add({group, "server_id", "ID", "", "A name that stays the same over restarts; empty: host name and RTMP port.",
       id(c.server_id)});
  add({group, "device_id", "ID", "", "A label of your own.", label(c.device_id)});
  add({group, "weight", "N", "1", "Its share of the streams in relation to other origins.",
       store::number<unsigned>(c.weight, 1, 1000)});
  add({group, "capacity", "N", "0", "Publishers at once, above which new ones are refused; 0: no limit.",
       store::number<size_t>(c.capacity, 0, 1'000'000)});
}

void add_streams(setting_table& t, roles::origin_config& c) {
  using roles::second_publisher_policy;
  constexpr std::string_view group = "Streams";
  const auto add = [&](setting s) { t.settings.push_back(std::move(s)); };
  add({group, "second_publisher", "POLICY", "takeover-if-idle",
       "A second publisher of a live stream: `refuse`, `takeover`, or `takeover-if-idle`.",
       store::choice<second_publisher_policy>(c.second_publisher,
                                              {{"refuse", second_publisher_policy::refuse},
                                               {"takeover", second_publisher_policy::takeover},
                                               {"takeover-if-idle", second_publisher_policy::takeover_if_idle}})});
  add({group, "publisher_idle", "DURATION", "3s", "A publisher silent for this long counts as idle.",
       store::duration(c.publisher_idle, milliseconds(100), hours(1))});
  add({group, "gop_cache", "on|off", "on", "Keep the current GOP, so that a player starts at once.",
       store::on_off(c.gop_cache)});
  add({group, "gop_bytes", "BYTES", "8MiB", "A GOP that is larger is not kept.",
       store::size(c.gop_bytes, 0, size_t{1} << 30)});
  add({group, "gop_duration", "DURATION", "20s", "A GOP that is longer is not kept.",
       store::duration(c.gop_duration, seconds(0), minutes(10))});
  add({group, "player_queue_bytes", "BYTES", "16MiB",
       "What may wait for a slow player before it drops to the next keyframe.",
       store::size(c.player_queue_bytes, 64 * 1024, size_t{1} << 30)});
  add({group, "player_queue_duration", "DURATION", "10s", "The same, by the media's time.",
       store::duration(c.player_queue_duration, milliseconds(100), minutes(10))});
  add({group, "player_stall", "DURATION", "20s", "A player that takes nothing for this long is closed.",
       store::duration(c.player_stall, seconds(1), hours(1))});
  add({group, "hls_segment", "DURATION", "2s",
       "The least length of an HLS segment, which begins at a keyframe; of streams that come straight from an encoder.",
       store::duration(c.hls_segment, seconds(1), minutes(1))});
  add({group, "hls_window", "DURATION", "12s", "How much of a stream its HLS playlist shows.",
       store::duration(c.hls_window, seconds(3), minutes(10))});
  add({group, "merge", "DURATION", "0ms",
       "How long data for a player may wait to be written together with what follows; 0 writes at once.",
       store::duration(c.merge, seconds(0), seconds(10))});
}

void add_limits(setting_table& t, roles::origin_config& c) {
  constexpr std::string_view limits = "Limits";
  const auto add = [&](setting s) { t.settings.push_back(std::move(s)); };
  add({limits, "message_bytes_max", "BYTES", "8MiB", "A longer RTMP message closes its connection.",
       store::size(c.message_bytes_max, 64 * 1024, 0xffffff)});
  add({limits, "handshake_timeout", "DURATION", "5s", "A client that has not said what it wants by then is closed.",
       store::duration(c.handshake_timeout, milliseconds(100), minutes(5))});
  add({limits, "max_sessions", "N", "0",
       "Sessions at once, of all protocols together; 0: as many as the descriptor limit allows.",
       store::number<size_t>(c.max_sessions, 0, 10'000'000)});
  add({limits, "grace_quit_timeout", "DURATION", "5s",
       "After SIGTERM, how long players may still take what is queued for them.",
       store::duration(c.grace_quit, seconds(0), hours(24))});

  constexpr std::string_view trust = "Names and trust";
  add({trust, "vhosts", "NAMES", "",
       "The virtual hosts there are; any other host is the default one. Empty: every name with a dot.",
       store::texts(c.vhosts), false, true});
  add({trust, "trusted_networks", "NETWORKS", "127.0.0.0/8,::1",
       "Whose word on a client's address and on epochs is taken: where your proxies are.",
       store::networks(c.trusted_networks), false, true});
}

}  // namespace

setting_table origin_settings(roles::origin_config& c) {
  setting_table t{"SLUICE_ORIGIN_", {}};
  add_listening(t, c);
  add_registration(t, c);
  add_streams(t, c);
  add_limits(t, c);
  add_log_settings(t, c);
  return t;
}

setting_table run_settings(roles::run_config& c) {
  setting_table t{"SLUICE_RUN_", {}};
  t.settings.push_back({"Origins", "origins", "N", "0", "How many origins to start; 0: one for each processor.",
                        store::number<unsigned>(c.origins, 0, 256)});
  t.settings.push_back({"Demonstration", "demo", "on|off", "off",
                        "Have ffmpeg publish a moving test picture with a clock as live/demo; `--demo` alone is `on`.",
                        store::on_off(c.demo), false, false, true});
  return t;
}

}  // namespace sluice::app
