#include "relay/shard.hpp"

#include "relay/feed.hpp"
#include "relay/publish_relay.hpp"

namespace sluice::relay {

void shard_context::owner_changed(const cluster::stream_key& key, const cluster::assignment& to) {
  if (const auto at = publishers.find(key); at != publishers.end()) at->second->on_owner_changed(to);
  // One that goes to another origin may end others.
  std::vector<pull_feed*> here;
  for (auto [at, end] = pulls.equal_range(key); at != end; ++at) here.push_back(at->second);
  for (pull_feed* p : here) {
    const auto [at, end] = pulls.equal_range(key);
    if (std::any_of(at, end, [p](const auto& entry) { return entry.second == p; })) p->on_owner_changed(to);
  }
}

void shard_context::move(const cluster::action::move& what) {
  if (const auto at = publishers.find(what.key); at != publishers.end()) at->second->move(what);
}

}  // namespace sluice::relay
