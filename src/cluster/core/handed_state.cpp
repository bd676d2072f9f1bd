#include "cluster/core/handed_state.hpp"

#include <boost/json.hpp>

namespace sluice::cluster {
namespace {

namespace json = boost::json;

constexpr size_t json_depth_max = 16;
constexpr size_t id_bytes_max = 512;
constexpr size_t session_bytes_max = 8192;

std::string text_of(const json::object& from, std::string_view name, size_t bytes_max = id_bytes_max) {
  const auto* value = from.if_contains(name);
  const auto* text = value ? value->if_string() : nullptr;
  return text && text->size() <= bytes_max ? std::string(std::string_view(*text)) : std::string();
}

template <typename F>
void for_each_in(const json::object& from, std::string_view name, F visit) {
  const auto* value = from.if_contains(name);
  if (const auto* list = value ? value->if_array() : nullptr)
    for (const auto& entry : *list) visit(entry);
}

json::object owner_json(const stream_key& key, const owner_record& r) {
  return {{"stream", key.str()},
          {"origin", r.origin_id},
          {"epoch", text_of(r.epoch)},
          {"proxy", r.proxy_id},
          {"started_ms", r.started_ms}};
}

void take_owner(const json::object& from, handed_state& into) {
  const auto key = parse_key(text_of(from, "stream"));
  const auto e = parse_epoch(text_of(from, "epoch"));
  owner_record r;
  r.origin_id = text_of(from, "origin");
  r.proxy_id = text_of(from, "proxy");
  boost::system::error_code missing;
  const auto* started = from.if_contains("started_ms");
  if (started) r.started_ms = started->to_number<uint64_t>(missing);
  if (!key || !e || r.origin_id.empty() || missing) return;
  r.epoch = *e;
  into.owners.emplace_back(*key, std::move(r));
}

void take_session(const json::object& from, handed_state& into) {
  auto key = text_of(from, "key", session_bytes_max);
  auto value = text_of(from, "value", session_bytes_max);
  if (!key.empty() && !value.empty()) into.sessions.emplace_back(std::move(key), std::move(value));
}

}  // namespace

std::string make_handed_state(const handed_state& s) {
  json::array origins, drained, owners, sessions;
  for (const auto& o : s.origins) origins.push_back(json::parse(make_registration_body(o)));
  for (const auto& id : s.drained) drained.emplace_back(id);
  for (const auto& [key, record] : s.owners) owners.push_back(owner_json(key, record));
  for (const auto& [key, value] : s.sessions) sessions.push_back(json::object{{"key", key}, {"value", value}});
  return json::serialize(json::object{{"origins", std::move(origins)},
                                      {"drained", std::move(drained)},
                                      {"owners", std::move(owners)},
                                      {"sessions", std::move(sessions)}});
}

base::result<handed_state> parse_handed_state(std::string_view text, const address_policy& policy) {
  boost::system::error_code failure;
  json::parse_options options;
  options.max_depth = json_depth_max;
  const auto parsed = json::parse({text.data(), text.size()}, failure, {}, options);
  const auto* object = failure ? nullptr : parsed.if_object();
  if (!object) return base::fail("bad_state", "the state of the process before is no JSON object");
  handed_state s;
  for_each_in(*object, "origins", [&](const json::value& entry) {
    if (auto reg = parse_registration(json::serialize(entry), policy)) s.origins.push_back(std::move(*reg));
  });
  for_each_in(*object, "drained", [&](const json::value& entry) {
    const auto* id = entry.if_string();
    if (id && id->size() <= id_bytes_max) s.drained.emplace_back(std::string_view(*id));
  });
  for_each_in(*object, "owners", [&](const json::value& entry) {
    if (const auto* owner = entry.if_object()) take_owner(*owner, s);
  });
  for_each_in(*object, "sessions", [&](const json::value& entry) {
    if (const auto* session = entry.if_object()) take_session(*session, s);
  });
  return s;
}

}  // namespace sluice::cluster
