#include "cluster/core/ownership.hpp"

#include <algorithm>

namespace sluice::cluster {

uint64_t next_epoch_counter(uint64_t stored, uint64_t highest_seen, uint64_t wall_ms) {
  return std::max({stored + 1, highest_seen + 1, wall_ms});
}

}  // namespace sluice::cluster
