#pragma once

#include <deque>
#include <list>
#include <unordered_map>
#include <vector>

#include "cluster/core/coordinator.hpp"

namespace sluice::cluster {

/// What has happened to each stream, for `explain`. Bounded: the last events_max of a stream; of streams_max streams,
/// those forgotten first whose last event is the oldest. Part of the coordinator.
class history {
 public:
  static constexpr size_t events_max = 32;
  static constexpr size_t streams_max = 10'000;

  void add(const stream_key& key, history_event what);
  /// The last event of the stream that names an epoch names this one.
  bool ends_with(const stream_key& key, const epoch& e) const;
  std::vector<history_event> explain(const stream_key& key) const;

 private:
  struct log {
    std::deque<history_event> events;  // oldest first
    std::list<stream_key>::iterator place;
  };
  std::unordered_map<stream_key, log> logs_;
  std::list<stream_key> order_;  // by their last events, oldest first
};

}  // namespace sluice::cluster
