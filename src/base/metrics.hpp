#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::base {

/// One number. Written by the thread that owns the `metrics` it came from, read by any.
class metric_cell {
 public:
  void add(int64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void set(int64_t n) { value_.store(n, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<int64_t> value_{0};
};

/// How long something took, in buckets. Written by the thread that owns the `metrics` it came from, read by any.
class metric_histogram {
 public:
  /// `bounds_s`: upper bounds in seconds, ascending; a literal array.
  explicit metric_histogram(std::span<const double> bounds_s) : bounds_s_(bounds_s), counts_(bounds_s.size() + 1) {}
  void observe(double seconds);

 private:
  friend class metrics;
  const std::span<const double> bounds_s_;
  std::vector<metric_cell> counts_;  // of each bucket alone; the last is above all bounds
  metric_cell sum_ns_;
};

using metric_labels = std::vector<std::pair<std::string_view, std::string>>;

/// The metrics of one thread. `counter` and `gauge` find or make a cell: keep the reference on hot paths. Names and
/// helps are string literals; label values are escaped when rendered. At most 1,000 cells per name, the rest share one
/// with the label values "other".
class metrics {
 public:
  metric_cell& counter(std::string_view name, std::string_view help, const metric_labels& labels = {});
  metric_cell& gauge(std::string_view name, std::string_view help, const metric_labels& labels = {});
  /// Rendered as NAME_bucket, NAME_sum (seconds) and NAME_count. `bounds_s` as in metric_histogram, the same wherever
  /// that name is used.
  metric_histogram& histogram(std::string_view name, std::string_view help, std::span<const double> bounds_s);

  /// Prometheus text format 0.0.4 of the sum over all `parts`. Any thread.
  static std::string render(std::span<const metrics* const> parts);

 private:
  struct family {
    std::string_view help;
    bool is_gauge;
    std::map<std::string, metric_cell*> cells;  // by rendered labels
  };
  metric_cell& cell(std::string_view name, std::string_view help, bool is_gauge, const metric_labels& labels);
  mutable std::mutex mutex_;
  std::map<std::string_view, family> families_;
  std::deque<metric_cell> storage_;
  struct named_histogram {
    named_histogram(std::string_view h, std::span<const double> bounds_s) : help(h), cells(bounds_s) {}
    std::string_view help;
    metric_histogram cells;
  };
  std::map<std::string_view, named_histogram> histograms_;
};

}  // namespace sluice::base
