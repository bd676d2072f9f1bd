#pragma once

#include <array>
#include <string>
#include <string_view>

#include "base/metrics.hpp"

namespace sluice::relay {

/// What fail-overs cost, on one shard.
class failover_metrics {
 public:
  explicit failover_metrics(base::metrics& m)
      : metrics_(m),
        took_(m.histogram("sluice_failover_seconds",
                          "Publishers whose origin was lost: from the loss noticed to the next origin's consent.",
                          bounds_s)) {}

  /// A publisher goes on at another origin (or at the next incarnation of the same). `reason` is a literal: gone,
  /// silent, moved …; `seconds` since the loss was noticed.
  void failed_over(std::string_view reason, double seconds) {
    metrics_
        .counter("sluice_failover_total", "Publishers that went on at another origin, by why they had to.",
                 {{"reason", std::string(reason)}})
        .add();
    took_.observe(seconds);
  }

 private:
  static constexpr std::array<double, 12> bounds_s{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30};
  base::metrics& metrics_;
  base::metric_histogram& took_;
};

}  // namespace sluice::relay
