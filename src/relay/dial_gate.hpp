#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>

#include "runtime/loop.hpp"

namespace sluice::relay {

struct dial_gate_limits {
  unsigned per_second = 500;  ///< of one shard towards one origin
  unsigned burst = 100;
};

enum class dial_class : uint8_t { publisher, viewer };

/// Spreads the dials of a storm: when an origin with a thousand streams dies, those that take them over must not fall
/// under the connects. Per origin a token bucket; publishers go first, since nothing can be viewed before. Only dials
/// that replace a lost connection go through it. Bounded by the sessions that ask. One thread.
class dial_gate {
 public:
  dial_gate(runtime::loop& l, const dial_gate_limits& limits);

  /// Calls `dial` when it is its turn, from within if that is now; not if `alive` has expired by then.
  void ask(const std::string& origin_id, dial_class who, std::weak_ptr<bool> alive, std::function<void()> dial);
  size_t waiting() const;

 private:
  struct waiter {
    std::weak_ptr<bool> alive;
    std::function<void()> dial;
  };
  struct bucket {
    double tokens;
    base::time_point filled_at;
    std::deque<waiter> publishers, viewers;
  };
  void fill(bucket& b);
  void on_timer();

  runtime::loop& loop_;
  const dial_gate_limits limits_;
  std::unordered_map<std::string, bucket> buckets_;  // of origins with a dial within the last second
  runtime::timer timer_;
  bool serving_ = false;  // somebody waits: the timer is set to the next turn
};

}  // namespace sluice::relay
