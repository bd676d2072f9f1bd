#include "relay/shard.hpp"

#include <algorithm>
#include <vector>

#include "relay/feed.hpp"
#include "relay/publish_relay.hpp"

namespace sluice::relay {
namespace {

/// Tells each that is entered under `key` now; what one does may end others.
template <typename T, typename F>
void tell_each(const std::unordered_multimap<cluster::stream_key, T*>& entries, const cluster::stream_key& key,
               F&& tell) {
  std::vector<T*> here;
  for (auto [at, end] = entries.equal_range(key); at != end; ++at) here.push_back(at->second);
  for (T* p : here) {
    const auto [at, end] = entries.equal_range(key);
    if (std::any_of(at, end, [p](const auto& entry) { return entry.second == p; })) tell(*p);
  }
}

}  // namespace

void shard_context::owner_changed(const cluster::stream_key& key, const cluster::assignment& to) {
  tell_each(publishers, key, [&](publish_relay& p) { p.on_owner_changed(to); });
  tell_each(pulls, key, [&](pull_feed& p) { p.on_owner_changed(to); });
  tell_each(followers, key, [&](owner_watcher& w) { w.on_owner_changed(to); });
}

void shard_context::move(const cluster::action::move& what) {
  // Of two the one that publishes under that epoch is meant; the first has to say no if there is none.
  publish_relay* meant = nullptr;
  for (auto [at, end] = publishers.equal_range(what.key); at != end; ++at)
    if (meant == nullptr || at->second->epoch() == what.from) meant = at->second;
  if (meant != nullptr) return meant->move(what);
  tell_each(followers, what.key, [&](owner_watcher& w) { w.on_move(what); });
}

}  // namespace sluice::relay
