#include "admin/cluster_text.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <map>
#include <tuple>
#include <utility>

#include "cluster/core/text.hpp"

namespace sluice::admin {
namespace {

namespace json = boost::json;

constexpr size_t text_bytes_max = 300;
constexpr size_t events_max = 256;
/// Two proxies note one event at different times.
constexpr uint64_t same_event_ms = 5000;

int64_t to_ms(base::duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); }

constexpr std::pair<cluster::origin_health, std::string_view> health_names[] = {
    {cluster::origin_health::alive, "alive"},
    {cluster::origin_health::suspect, "suspect"},
    {cluster::origin_health::dead, "dead"}};

std::string_view name_of(cluster::origin_health h) {
  for (const auto& [health, name] : health_names)
    if (health == h) return name;
  return "dead";
}

json::value epoch_json(const cluster::epoch& e) {
  return e == cluster::epoch() ? json::value() : json::value(cluster::text_of(e));
}

json::object proxy_json(const cluster_report::proxy& p) {
  return {{"id", p.id},
          {"version", p.version},
          {"pid", p.pid},
          {"answered", p.answered},
          {"uptime_ms", to_ms(p.uptime)},
          {"sessions", p.sessions}};
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

std::string rfc3339(uint64_t wall_ms) {
  const std::chrono::system_clock::time_point at{std::chrono::milliseconds(wall_ms)};
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z", fmt::gmtime(std::chrono::floor<std::chrono::seconds>(at)),
                     wall_ms % 1000);
}

// -- what another proxy has written, which may be of another version: what is not there or not right counts as nothing

const json::object& object_of(const json::value& v) {
  static const json::object none;
  return v.is_object() ? v.get_object() : none;
}

const json::array& array_of(const json::object& o, std::string_view name) {
  static const json::array none;
  const json::value* v = o.if_contains(name);
  return v != nullptr && v->is_array() ? v->get_array() : none;
}

std::string text_of(const json::object& o, std::string_view name) {
  const json::value* v = o.if_contains(name);
  return v != nullptr && v->is_string() ? std::string(std::string_view(v->get_string())) : std::string();
}

uint64_t number_of(const json::object& o, std::string_view name) {
  const json::value* v = o.if_contains(name);
  if (v == nullptr) return 0;
  if (v->is_uint64()) return v->get_uint64();
  return v->is_int64() && v->get_int64() > 0 ? static_cast<uint64_t>(v->get_int64()) : 0;
}

double real_of(const json::object& o, std::string_view name) {
  const json::value* v = o.if_contains(name);
  return v != nullptr && v->is_number() ? v->to_number<double>() : 0;
}

bool flag_of(const json::object& o, std::string_view name) {
  const json::value* v = o.if_contains(name);
  return v != nullptr && v->is_bool() && v->get_bool();
}

cluster_report::proxy proxy_of(const json::object& o) {
  return {text_of(o, "id"),         text_of(o, "version"),
          text_of(o, "pid"),        std::chrono::milliseconds(number_of(o, "uptime_ms")),
          number_of(o, "sessions"), flag_of(o, "answered")};
}

cluster::cluster_snapshot::origin origin_of(const json::object& o, base::time_point now) {
  cluster::cluster_snapshot::origin out;
  out.id = text_of(o, "id");
  out.server_id = text_of(o, "server");
  out.service = text_of(o, "service");
  out.pid = text_of(o, "pid");
  out.device_id = text_of(o, "device");
  for (const auto& at : array_of(o, "rtmp"))
    if (const auto parsed = at.is_string() ? base::endpoint::parse(std::string_view(at.get_string())) : std::nullopt)
      out.rtmp.push_back(*parsed);
  out.is_sluice = flag_of(o, "sluice");
  const std::string state = text_of(o, "state");
  for (const auto& [health, name] : health_names)
    if (name == state) out.health = health;
  out.heard_at = now - std::chrono::milliseconds(number_of(o, "last_answer_ms"));
  out.streams = number_of(o, "load");
  out.weight = real_of(o, "weight");
  out.capacity = static_cast<uint32_t>(number_of(o, "capacity"));
  out.breaker_open = text_of(o, "breaker") == "open";
  out.draining = flag_of(o, "draining");
  out.to_move = number_of(o, "to_move");
  for (const auto& r : array_of(o, "move_refused"))
    if (r.is_string()) out.move_refused.emplace_back(std::string_view(r.get_string()));
  return out;
}

void merge_origin(cluster_report& into, cluster::cluster_snapshot::origin theirs) {
  auto& all = into.snapshot.origins;
  const auto ours = std::find_if(all.begin(), all.end(), [&](const auto& o) { return o.id == theirs.id; });
  if (ours == all.end()) return all.push_back(std::move(theirs));
  ours->health = std::max(ours->health, theirs.health);
  ours->heard_at = std::max(ours->heard_at, theirs.heard_at);
  ours->streams = std::max(ours->streams, theirs.streams);
  ours->breaker_open = ours->breaker_open || theirs.breaker_open;
  ours->draining = ours->draining || theirs.draining;
  ours->to_move += theirs.to_move;
  std::move(theirs.move_refused.begin(), theirs.move_refused.end(), std::back_inserter(ours->move_refused));
}

void merge_stream(cluster_report& into, std::unordered_map<std::string, size_t>& known, const json::object& o) {
  const std::string name = text_of(o, "name");
  auto key = cluster::parse_key(name);
  if (!key) return;
  auto& figures = into.figures[name];
  figures.viewers += number_of(o, "viewers");
  figures.retained_bytes += number_of(o, "retained_bytes");
  const std::string owner = text_of(o, "owner"), session = text_of(o, "publisher");
  const auto e = cluster::parse_epoch(text_of(o, "epoch")).value_or(cluster::epoch());
  const bool held = flag_of(o, "held"), degraded = flag_of(o, "degraded");
  if (owner.empty() && session.empty() && !held && !degraded) return;  // only watched there
  const auto [at, is_new] = known.try_emplace(name, into.streams.size());
  if (is_new) {
    into.streams.push_back({std::move(*key), owner, e, session, degraded, held});
    return;
  }
  cluster::stream_status& ours = into.streams[at->second];
  if (e > ours.epoch || ours.origin_id.empty()) {
    ours.epoch = e;
    ours.origin_id = owner;
  }
  if (!session.empty()) ours.session = session;
  ours.held = ours.held || held;
  ours.degraded = ours.degraded || degraded;
}

base::result<json::object> parse_object(std::string_view text) {
  json::error_code failure;
  json::value parsed = json::parse(text, failure);
  if (failure || !parsed.is_object()) return base::fail("bad_report", "another proxy's answer is no JSON object");
  return std::move(parsed.get_object());
}

void merge_parsed(cluster_report& into, const json::object& theirs) {
  for (const auto& p : array_of(theirs, "proxies")) {
    auto one = proxy_of(object_of(p));
    const auto known =
        std::find_if(into.proxies.begin(), into.proxies.end(), [&](const auto& x) { return x.id == one.id; });
    if (known == into.proxies.end())
      into.proxies.push_back(std::move(one));
    else if (!known->answered)
      *known = std::move(one);
  }
  for (const auto& o : array_of(theirs, "origins")) merge_origin(into, origin_of(object_of(o), into.now));
  std::unordered_map<std::string, size_t> known;
  for (size_t i = 0; i < into.streams.size(); ++i) known.emplace(into.streams[i].key.str(), i);
  for (const auto& s : array_of(theirs, "streams")) merge_stream(into, known, object_of(s));
  into.snapshot.mass_silence = into.snapshot.mass_silence || flag_of(theirs, "mass_silence");
  into.snapshot.waiting += number_of(theirs, "waiting");
  into.snapshot.streams += number_of(theirs, "published");
  into.snapshot.degraded += number_of(theirs, "degraded");
}

}  // namespace

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

base::result<void> merge_cluster(cluster_report& into, std::string_view body) {
  const auto theirs = parse_object(body);
  if (!theirs) return tl::unexpected(theirs.error());
  merge_parsed(into, *theirs);
  return {};
}

json::object stream_object(const std::string& name, const cluster_report& report) {
  const auto known = std::find_if(report.streams.begin(), report.streams.end(),
                                  [&](const cluster::stream_status& s) { return s.key.str() == name; });
  const auto figures = report.figures.find(name);
  return stream_json(name, known == report.streams.end() ? nullptr : &*known,
                     figures == report.figures.end() ? nullptr : &figures->second);
}

json::array event_array(const std::vector<cluster::history_event>& events) {
  json::array list;
  for (const auto& e : events)
    list.push_back(json::object{{"at", rfc3339(e.wall_ms)},
                                {"at_ms", e.wall_ms},
                                {"what", e.what},
                                {"origin", e.origin},
                                {"epoch", epoch_json(e.epoch)},
                                {"reason", shown(e.reason)}});
  return list;
}

std::string story_text(const stream_story& story) {
  return json::serialize(
      json::object{{"report", cluster_body(story.report, 0, 1)}, {"events", event_array(story.events)}});
}

base::result<void> merge_story(stream_story& into, std::string_view text) {
  const auto theirs = parse_object(text);
  if (!theirs) return tl::unexpected(theirs.error());
  if (auto merged = merge_cluster(into.report, text_of(*theirs, "report")); !merged) return merged;
  const size_t ours = into.events.size();
  for (const auto& v : array_of(*theirs, "events")) {
    const json::object& o = object_of(v);
    cluster::history_event e{number_of(o, "at_ms"), text_of(o, "what"), text_of(o, "origin"),
                             cluster::parse_epoch(text_of(o, "epoch")).value_or(cluster::epoch()),
                             text_of(o, "reason")};
    const auto is_same = [&](const cluster::history_event& x) {
      return std::tie(x.what, x.origin, x.epoch) == std::tie(e.what, e.origin, e.epoch) &&
             std::max(x.wall_ms, e.wall_ms) - std::min(x.wall_ms, e.wall_ms) <= same_event_ms;
    };
    const auto end_of_ours = into.events.begin() + static_cast<std::ptrdiff_t>(ours);
    const auto same = std::find_if(into.events.begin(), end_of_ours, is_same);
    if (same == end_of_ours) {
      if (into.events.size() < events_max) into.events.push_back(std::move(e));
    } else if (e.wall_ms < same->wall_ms) {
      *same = std::move(e);  // whoever knew first knows why
    }
  }
  std::stable_sort(into.events.begin(), into.events.end(),
                   [](const auto& a, const auto& b) { return a.wall_ms < b.wall_ms; });
  return {};
}

}  // namespace sluice::admin
