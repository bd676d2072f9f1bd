#pragma once

#include <string_view>

#include "base/metrics.hpp"

namespace sluice::relay {

/// Fail-overs of one shard.
class failover_metrics {
 public:
  explicit failover_metrics(base::metrics& m) : metrics_(m) {}
  void failed_over(std::string_view reason, double seconds) {}
  void gap(uint64_t messages) {}

 private:
  base::metrics& metrics_;
};

}  // namespace sluice::relay
