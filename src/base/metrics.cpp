#include "base/metrics.hpp"

#include <fmt/format.h>

#include <tuple>

namespace sluice::base {
namespace {

constexpr size_t cells_per_name_max = 1000;

// Prometheus exposition format: backslash, double quote and line feed are escaped in label values.
std::string render_labels(const metric_labels& labels, bool other) {
  std::string out;
  for (const auto& [key, value] : labels) {
    out += out.empty() ? "{" : ",";
    out += fmt::format("{}=\"", key);
    for (char c : other ? std::string("other") : value) {
      if (c == '\\' || c == '"') out += '\\';
      if (c == '\n') {
        out += "\\n";
      } else {
        out += c;
      }
    }
    out += '"';
  }
  return out.empty() ? out : out + "}";
}

/// The sum of one histogram's parts.
struct histogram_sum {
  std::string_view help;
  std::span<const double> bounds_s;
  std::vector<int64_t> counts;
  int64_t sum_ns = 0;
};

std::string render_histogram(std::string_view name, const histogram_sum& h) {
  auto out = fmt::format("# HELP {} {}\n# TYPE {} histogram\n", name, h.help, name);
  int64_t below = 0;
  for (size_t i = 0; i < h.counts.size(); ++i) {
    below += h.counts[i];
    const auto bound = i < h.bounds_s.size() ? fmt::format("{}", h.bounds_s[i]) : std::string("+Inf");
    out += fmt::format("{}_bucket{{le=\"{}\"}} {}\n", name, bound, below);
  }
  return out + fmt::format("{}_sum {}\n{}_count {}\n", name, static_cast<double>(h.sum_ns) / 1e9, name, below);
}

}  // namespace

void metric_histogram::observe(double seconds) {
  size_t i = 0;
  while (i < bounds_s_.size() && seconds > bounds_s_[i]) ++i;
  counts_[i].add();
  sum_ns_.add(static_cast<int64_t>(seconds * 1e9));
}

metric_histogram& metrics::histogram(std::string_view name, std::string_view help, std::span<const double> bounds_s) {
  std::lock_guard lock(mutex_);
  const auto found = histograms_.find(name);
  if (found != histograms_.end()) return found->second.cells;
  return histograms_
      .emplace(std::piecewise_construct, std::forward_as_tuple(name), std::forward_as_tuple(help, bounds_s))
      .first->second.cells;
}

metric_cell& metrics::cell(std::string_view name, std::string_view help, bool is_gauge, const metric_labels& labels) {
  std::lock_guard lock(mutex_);
  auto& f = families_.try_emplace(name, family{help, is_gauge, {}}).first->second;
  auto key = render_labels(labels, false);
  if (auto found = f.cells.find(key); found != f.cells.end()) return *found->second;
  if (f.cells.size() >= cells_per_name_max) {
    key = render_labels(labels, true);
    if (auto found = f.cells.find(key); found != f.cells.end()) return *found->second;
  }
  return *f.cells.emplace(std::move(key), &storage_.emplace_back()).first->second;
}

metric_cell& metrics::counter(std::string_view name, std::string_view help, const metric_labels& labels) {
  return cell(name, help, false, labels);
}

metric_cell& metrics::gauge(std::string_view name, std::string_view help, const metric_labels& labels) {
  return cell(name, help, true, labels);
}

std::string metrics::render(std::span<const metrics* const> parts) {
  struct summed {
    std::string_view help;
    bool is_gauge;
    std::map<std::string, int64_t> cells;
  };
  std::map<std::string_view, summed> sums;
  std::map<std::string_view, histogram_sum> histograms;
  for (const metrics* part : parts) {
    std::lock_guard lock(part->mutex_);
    for (const auto& [name, f] : part->families_) {
      auto& sum = sums.try_emplace(name, summed{f.help, f.is_gauge, {}}).first->second;
      for (const auto& [labels, value] : f.cells) sum.cells[labels] += value->value();
    }
    for (const auto& [name, h] : part->histograms_) {
      const auto& cells = h.cells;
      auto& sum = histograms.try_emplace(name, histogram_sum{h.help, cells.bounds_s_, {}}).first->second;
      sum.counts.resize(sum.bounds_s.size() + 1);
      for (size_t i = 0; i < sum.counts.size() && i < cells.counts_.size(); ++i)
        sum.counts[i] += cells.counts_[i].value();
      sum.sum_ns += cells.sum_ns_.value();
    }
  }
  std::string out;
  for (const auto& [name, sum] : sums) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, sum.help, name, sum.is_gauge ? "gauge" : "counter");
    for (const auto& [labels, value] : sum.cells) out += fmt::format("{}{} {}\n", name, labels, value);
  }
  for (const auto& [name, h] : histograms) out += render_histogram(name, h);
  return out;
}

}  // namespace sluice::base
