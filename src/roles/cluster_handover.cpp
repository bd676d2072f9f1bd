#include "roles/cluster_handover.hpp"

namespace sluice::roles {

std::string cluster_state(const relay::director& d,
                          std::vector<std::pair<cluster::stream_key, cluster::owner_record>> owners,
                          std::vector<std::pair<std::string, std::string>> sessions) {
  cluster::handed_state s;
  s.origins = d.registrations();
  for (const auto& o : d.snapshot().origins)
    if (o.draining) s.drained.push_back(o.server_id);
  s.owners = std::move(owners);
  s.sessions = std::move(sessions);
  return cluster::make_handed_state(s);
}

void take_cluster_state(const std::string& text, const cluster::address_policy& policy, relay::director& d,
                        cluster::owner_store& store, cluster::session_store& sessions, const handed_ttls& ttls,
                        base::log_sink& log) {
  if (text.empty()) return;
  auto state = cluster::parse_handed_state(text, policy);
  if (!state) {
    log.warn("upgrade_state_lost", {{"reason", state.error().reason}, {"text", state.error().text}});
    return;
  }
  const size_t origins = state->origins.size(), owners = state->owners.size();
  for (auto& o : state->origins) d.registration(std::move(o));
  for (const auto& server : state->drained) d.drain(server, true);
  // Only where this store has nothing, or something older.
  for (auto& [key, record] : state->owners)
    store.submit({0, cluster::store_request::kind::renew, std::move(key), {}, std::move(record), ttls.owners},
                 [](const cluster::store_reply&) {});
  for (const auto& [key, value] : state->sessions) sessions.put(key, value, ttls.sessions);
  log.info("upgrade_state", {{"origins", origins}, {"owners", owners}, {"sessions", state->sessions.size()}});
}

}  // namespace sluice::roles
