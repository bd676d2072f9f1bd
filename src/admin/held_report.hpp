#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/time.hpp"
#include "cluster/core/registration.hpp"

namespace sluice::admin {

/// What one proxy has been told of the streams that this origin holds, and what the next heartbeat tells it: changes,
/// and every `whole_interval`, at first, or when asked for, the whole list. A list that is too long for one heartbeat
/// goes in parts, those with a publisher first. Pure.
class held_report {
 public:
  static constexpr base::duration whole_interval = std::chrono::seconds(10);
  /// Bytes that the streams of one heartbeat may take, about.
  static constexpr size_t bytes_max = 900'000;

  struct part {
    std::vector<cluster::held_stream> streams;
    bool whole = false;  ///< it is the whole list
    bool last = false;   ///< it ends a list that was told in one or more parts
  };

  explicit held_report(size_t streams_max = cluster::held_streams_max) : streams_max_(streams_max) {}

  /// The next heartbeat begins a whole list.
  void want_whole() { whole_due_ = true; }
  /// For a heartbeat that is sent now. `held`: what this origin holds.
  part next(std::vector<cluster::held_stream> held, base::time_point now);
  /// The proxy took that heartbeat, the last that next() was called for. If it ended a whole list, returns when the
  /// first part of that was sent, else base::never.
  base::time_point accepted(const part& p, base::time_point now);

 private:
  const size_t streams_max_;
  std::unordered_map<std::string, cluster::held_stream> known_;  // to the proxy
  std::unordered_set<std::string> listed_;                       // in the whole list under way
  bool whole_due_ = true;
  bool listing_ = false;
  base::time_point listing_since_{};
  base::time_point whole_at_{};  // when the last whole list was taken
};

}  // namespace sluice::admin
