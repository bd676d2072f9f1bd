#include "relay/publication_ends.hpp"

namespace sluice::relay {

void publication_ends::ended(const cluster::stream_key& key, const media::publication_start& next,
                             base::time_point now) {
  const std::lock_guard lock(mutex_);
  auto [at, is_new] = entries_.try_emplace(key);
  if (!is_new) order_.erase(at->second.place);
  order_.push_back(&at->first);  // nodes stay where they are
  at->second = {next, now, std::prev(order_.end())};
  while (entries_.size() > streams_max || entries_.at(*order_.front()).at + kept_ < now) {
    const auto oldest = entries_.find(*order_.front());
    order_.pop_front();
    entries_.erase(oldest);
  }
}

std::optional<media::publication_start> publication_ends::find(const cluster::stream_key& key,
                                                               base::time_point now) const {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(key);
  if (at == entries_.end() || at->second.at + kept_ < now) return std::nullopt;
  return at->second.next;
}

void publication_ends::forget(const cluster::stream_key& key) {
  const std::lock_guard lock(mutex_);
  const auto at = entries_.find(key);
  if (at == entries_.end()) return;
  order_.erase(at->second.place);
  entries_.erase(at);
}

}  // namespace sluice::relay
