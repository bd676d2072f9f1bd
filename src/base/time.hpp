#pragma once

#include <chrono>
#include <cstdint>

namespace sluice::base {

/// The clock of every sans-IO part. It has no now(): time is an argument, supplied by the runtime or by a test.
struct monotonic_clock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<monotonic_clock>;
  static constexpr bool is_steady = true;
};

using time_point = monotonic_clock::time_point;
using duration = monotonic_clock::duration;

/// "Never": later than every deadline.
inline constexpr time_point never = time_point::max();

}  // namespace sluice::base
