#pragma once

#include <array>
#include <cstdint>
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
                          bounds_s)),
        gaps_(m.counter("sluice_viewer_gaps_total", "Times that a pull went on with messages missing.")),
        missing_(
            m.counter("sluice_viewer_gap_messages_total", "Messages that pulls missed, as far as they are counted.")) {}

  /// A publisher goes on at another origin (or at the next incarnation of the same). `reason` is a literal: gone,
  /// silent, moved …; `seconds` since the loss was noticed.
  void failed_over(std::string_view reason, double seconds) {
    metrics_
        .counter("sluice_failover_total", "Publishers that went on at another origin, by why they had to.",
                 {{"reason", std::string(reason)}})
        .add();
    took_.observe(seconds);
  }

  /// A pull goes on with a gap; of so many messages, 0: not known.
  void gap(uint64_t messages) {
    gaps_.add();
    missing_.add(static_cast<int64_t>(messages));
  }

 private:
  static constexpr std::array<double, 12> bounds_s{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30};
  base::metrics& metrics_;
  base::metric_histogram& took_;
  base::metric_cell& gaps_;
  base::metric_cell& missing_;
};

}  // namespace sluice::relay
