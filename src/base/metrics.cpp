#include "base/metrics.hpp"

#include <fmt/format.h>

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

}  // namespace

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
  for (const metrics* part : parts) {
    std::lock_guard lock(part->mutex_);
    for (const auto& [name, f] : part->families_) {
      auto& sum = sums.try_emplace(name, summed{f.help, f.is_gauge, {}}).first->second;
      for (const auto& [labels, value] : f.cells) sum.cells[labels] += value->value();
    }
  }
  std::string out;
  for (const auto& [name, sum] : sums) {
    out += fmt::format("# HELP {} {}\n# TYPE {} {}\n", name, sum.help, name, sum.is_gauge ? "gauge" : "counter");
    for (const auto& [labels, value] : sum.cells) out += fmt::format("{}{} {}\n", name, labels, value);
  }
  return out;
}

}  // namespace sluice::base
