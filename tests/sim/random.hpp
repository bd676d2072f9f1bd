#pragma once

#include <cstdint>

#include "base/time.hpp"

namespace sluice::sim {

/// splitmix64: the same numbers on every machine and standard library, so that a seed names one schedule for good.
class random_source {
 public:
  /// The seed is mixed first: the states of neighbours would be steps of one sequence otherwise.
  explicit random_source(uint64_t seed) : state_(seed) { state_ = next(); }

  uint64_t next() {
    state_ += 0x9E3779B97F4A7C15;
    uint64_t x = state_;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }
  /// 0 … n - 1; n > 0. The bias of the remainder does not matter here.
  int below(int n) { return static_cast<int>(next() % static_cast<uint64_t>(n)); }
  /// a … b, both included.
  int between(int a, int b) { return a + below(b - a + 1); }
  bool chance(int percent) { return below(100) < percent; }
  base::duration between(base::duration a, base::duration b) {
    return b <= a ? a : a + base::duration(next() % static_cast<uint64_t>((b - a).count() + 1));
  }

 private:
  uint64_t state_;
};

}  // namespace sluice::sim
