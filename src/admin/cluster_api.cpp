#include "admin/cluster_api.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include "cluster/core/text.hpp"

namespace sluice::admin {
namespace {

namespace json = boost::json;
using runtime::http_request;

constexpr size_t text_bytes_max = 300;

int64_t to_ms(base::duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); }

/// What an origin or a client made up: short, and text.
std::string shown(std::string_view text) {
  std::string out(text.substr(0, text_bytes_max));
  // The cut may have gone through a character.
  while (text.size() > text_bytes_max && !out.empty() && !cluster::is_clean_text(out) &&
         static_cast<unsigned char>(out.back()) >= 0x80)
    out.pop_back();
  if (cluster::is_clean_text(out)) return out;
  for (char& c : out)
    if (c < ' ' || c > '~') c = '?';
  return out;
}

std::string_view name_of(cluster::origin_health h) {
  switch (h) {
    case cluster::origin_health::alive:
      return "alive";
    case cluster::origin_health::suspect:
      return "suspect";
    case cluster::origin_health::dead:
      break;
  }
  return "dead";
}

json::value epoch_json(const cluster::epoch& e) {
  return e == cluster::epoch() ? json::value() : json::value(cluster::text_of(e));
}

json::object proxy_json(const cluster_report::proxy& p) {
  return {
      {"id", p.id}, {"version", p.version}, {"pid", p.pid}, {"uptime_ms", to_ms(p.uptime)}, {"sessions", p.sessions}};
}

json::object origin_json(const cluster::cluster_snapshot::origin& o, base::time_point now) {
  json::array rtmp, refused;
  for (const auto& at : o.rtmp) rtmp.emplace_back(at.to_string());
  for (const auto& r : o.move_refused) refused.emplace_back(shown(r));
  return {{"id", o.id},
          {"server", o.server_id},
          {"service", o.service},
          {"pid", o.pid},
          {"device", o.device_id},
          {"rtmp", std::move(rtmp)},
          {"sluice", o.is_sluice},
          {"state", name_of(o.health)},
          {"last_answer_ms", std::max<int64_t>(0, to_ms(now - o.heard_at))},
          {"load", o.streams},
          {"weight", o.weight},
          {"capacity", o.capacity},
          {"breaker", o.breaker_open ? "open" : "closed"},
          {"draining", o.draining},
          {"to_move", o.to_move},
          {"move_refused", std::move(refused)}};
}

json::object stream_json(const std::string& name, const cluster::stream_status* s, const stream_figures* figures) {
  static const cluster::stream_status unknown;
  if (!s) s = &unknown;
  const auto text = [](const std::string& t) { return t.empty() ? json::value() : json::value(t); };
  return {{"name", name},
          {"owner", text(s->origin_id)},
          {"epoch", epoch_json(s->epoch)},
          {"publisher", text(s->session)},
          {"held", s->held},
          {"degraded", s->degraded},
          {"viewers", figures ? figures->viewers : 0},
          {"retained_bytes", figures ? figures->retained_bytes : 0}};
}

/// A number of a query; `fallback` if it is not there, nothing if it is none.
std::optional<size_t> number_of(const http_request& request, std::string_view name, size_t fallback, size_t max) {
  const auto text = request.query_value(name);
  if (text.empty()) return fallback;
  size_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

void answer_cluster(const cluster_operations& operations, const http_request& request, const router::respond& done) {
  const auto start = number_of(request, "start", 0, SIZE_MAX);
  const auto count = number_of(request, "count", streams_count_default, streams_count_max);
  if (!start || !count)
    return done(json_error(400, fmt::format("start wants a number, count one up to {}", streams_count_max)));
  done(json_body(cluster_body(operations.report(), *start, *count)));
}

/// The keys that `vhost/app/stream`, or `app/stream` of the default virtual host, may mean.
std::vector<cluster::stream_key> keys_of(const std::string& name) {
  std::vector<cluster::stream_key> keys;
  if (std::count(name.begin(), name.end(), '/') > 1)
    if (auto key = cluster::parse_key(name)) keys.push_back(std::move(*key));
  if (auto key = cluster::parse_key(fmt::format("{}/{}", cluster::default_vhost, name)))
    keys.push_back(std::move(*key));
  return keys;
}

std::string rfc3339(uint64_t wall_ms) {
  const std::chrono::system_clock::time_point at{std::chrono::milliseconds(wall_ms)};
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::floor<std::chrono::seconds>(at)),
                     wall_ms % 1000);
}

json::object event_json(const cluster::history_event& e) {
  return {{"at", rfc3339(e.wall_ms)}, {"at_ms", e.wall_ms},           {"what", e.what},
          {"origin", e.origin},       {"epoch", epoch_json(e.epoch)}, {"reason", shown(e.reason)}};
}

void answer_explain(const cluster_operations& operations, const http_request& request, const router::respond& done) {
  const auto name = request.query_value("stream");
  const auto keys = keys_of(name);
  if (keys.empty()) return done(json_error(400, "?stream= wants vhost/app/stream, or app/stream"));
  const auto report = operations.report();
  for (const auto& key : keys) {
    const auto events = operations.explain(key);
    const auto known = std::find_if(report.streams.begin(), report.streams.end(),
                                    [&](const cluster::stream_status& s) { return s.key == key; });
    if (events.empty() && known == report.streams.end()) continue;
    const auto figures = report.figures.find(key.str());
    json::array list;
    for (const auto& e : events) list.push_back(event_json(e));
    return done(json_body(json::serialize(
        json::object{{"code", 0},
                     {"stream", stream_json(key.str(), known == report.streams.end() ? nullptr : &*known,
                                            figures == report.figures.end() ? nullptr : &figures->second)},
                     {"events", std::move(list)}})));
  }
  done(json_error(404, fmt::format("this proxy knows nothing of {}; names: /api/v1/sluice/cluster", shown(name))));
}

void answer_drain(const cluster_operations& operations, std::string_view server_id, bool on,
                  const router::respond& done) {
  const auto to_move = operations.drain(std::string(server_id), on);
  if (!to_move) {
    if (to_move.error().reason != "unknown_origin") return done(json_error(503, to_move.error().text));
    return done(json_error(
        404, fmt::format("no origin has the server id {}; see `server` of /api/v1/sluice/cluster", shown(server_id))));
  }
  done(json_body(
      json::serialize(json::object{{"code", 0}, {"server", server_id}, {"draining", on}, {"to_move", *to_move}})));
}

}  // namespace

std::string cluster_body(const cluster_report& report, size_t start, size_t count) {
  std::map<std::string, const cluster::stream_status*> streams;
  for (const auto& s : report.streams) streams.emplace(s.key.str(), &s);
  for (const auto& [name, figures] : report.figures) streams.try_emplace(name, nullptr);
  json::array proxies, origins, page;
  for (const auto& p : report.proxies) proxies.push_back(proxy_json(p));
  for (const auto& o : report.snapshot.origins) origins.push_back(origin_json(o, report.now));
  auto it = streams.begin();
  std::advance(it, std::min(start, streams.size()));
  for (; it != streams.end() && page.size() < count; ++it) {
    const auto figures = report.figures.find(it->first);
    page.push_back(stream_json(it->first, it->second, figures == report.figures.end() ? nullptr : &figures->second));
  }
  return json::serialize(json::object{{"code", 0},
                                      {"proxies", std::move(proxies)},
                                      {"origins", std::move(origins)},
                                      {"mass_silence", report.snapshot.mass_silence},
                                      {"waiting", report.snapshot.waiting},
                                      {"published", report.snapshot.streams},
                                      {"degraded", report.snapshot.degraded},
                                      {"total", streams.size()},
                                      {"start", start},
                                      {"streams", std::move(page)}});
}

void add_cluster_routes(router& api, cluster_operations operations) {
  const auto shared = std::make_shared<const cluster_operations>(std::move(operations));
  const auto add = [&](const char* method, const char* path, auto answer) {
    api.add({method, path, access::operators,
             [shared, answer](const http_request& request, std::string_view name, const router::respond& done) {
               answer(*shared, request, name, done);
             }});
  };
  add("GET", "/api/v1/sluice/cluster",
      [](const auto& o, const auto& request, auto, const auto& done) { answer_cluster(o, request, done); });
  add("GET", "/api/v1/sluice/explain",
      [](const auto& o, const auto& request, auto, const auto& done) { answer_explain(o, request, done); });
  add("POST", "/api/v1/sluice/origins/{}/drain",
      [](const auto& o, const auto&, auto name, const auto& done) { answer_drain(o, name, true, done); });
  add("DELETE", "/api/v1/sluice/origins/{}/drain",
      [](const auto& o, const auto&, auto name, const auto& done) { answer_drain(o, name, false, done); });
}

}  // namespace sluice::admin
