#pragma once

#include <algorithm>
#include <random>

#include "base/time.hpp"

namespace sluice::runtime {

/// How long to wait before the next try, after `tries` of them: doubled each time, from `first` up to `last`, and
/// shortened at random by up to a half, so that those who lost the same server do not come back together.
inline base::duration backoff(base::duration first, base::duration last, unsigned tries, std::minstd_rand& random) {
  constexpr unsigned doublings_max = 16;
  const auto whole = std::min(first * (int64_t{1} << std::min(tries, doublings_max)), last);
  return whole / 2 +
         std::chrono::duration_cast<base::duration>(whole / 2 * std::uniform_real_distribution<double>(0, 1)(random));
}

}  // namespace sluice::runtime
