#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/time.hpp"

namespace sluice::relay {

/// When the last byte came from one origin on any connection: nanoseconds of the monotonic clock, 0: none yet.
using origin_line = std::atomic<int64_t>;

/// A byte came from the origin now. Any thread. Two that write at once are of one age: which of them stays is no
/// matter.
inline void note_heard(origin_line& line, base::time_point now) {
  line.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

/// The lines of all origins: sessions of every shard write theirs at each read, the control thread looks at them before
/// it judges. One per director.
class origin_lines {
 public:
  /// Any thread. Made by the first who asks.
  std::shared_ptr<origin_line> of(const std::string& origin_id);
  /// Control thread: calls `heard` for each line that has moved since the last time.
  void for_each_new(const std::function<void(const std::string& origin_id, base::time_point when)>& heard);
  /// Control thread: lets go of the lines that nobody else holds, of origins that are not `known` any more.
  void forget(const std::function<bool(const std::string& origin_id)>& known);
  size_t size() const;

 private:
  struct entry {
    std::shared_ptr<origin_line> line = std::make_shared<origin_line>(0);
    int64_t told = 0;
  };
  mutable std::mutex mutex_;
  std::map<std::string, entry> entries_;
};

}  // namespace sluice::relay
