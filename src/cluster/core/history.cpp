#include "cluster/core/history.hpp"

#include <algorithm>
#include <utility>

namespace sluice::cluster {

void history::add(const stream_key& key, history_event what) {
  const auto [at, is_new] = logs_.try_emplace(key);
  log& of = at->second;
  if (is_new) {
    of.place = order_.insert(order_.end(), key);
  } else {
    order_.splice(order_.end(), order_, of.place);
  }
  of.events.push_back(std::move(what));
  if (of.events.size() > events_max) of.events.pop_front();
  if (logs_.size() <= streams_max) return;
  logs_.erase(order_.front());
  order_.pop_front();
}

bool history::ends_with(const stream_key& key, const epoch& e) const {
  const auto at = logs_.find(key);
  if (at == logs_.end()) return false;
  const auto& events = at->second.events;
  const auto last =
      std::find_if(events.rbegin(), events.rend(), [](const history_event& one) { return one.epoch != epoch{}; });
  return last != events.rend() && last->epoch == e;
}

std::vector<history_event> history::explain(const stream_key& key) const {
  const auto at = logs_.find(key);
  if (at == logs_.end()) return {};
  return {at->second.events.begin(), at->second.events.end()};
}

}  // namespace sluice::cluster
