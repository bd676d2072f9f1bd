#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::bench {

/// One line of JSON on stdout.
class json_line {
 public:
  explicit json_line(std::string_view event);
  json_line& field(std::string_view name, double value);
  json_line& field(std::string_view name, uint64_t value);
  json_line& field(std::string_view name, std::string_view value);
  void print();

 private:
  std::string text_;
};

/// All the samples of a figure, in nanoseconds; quantiles by sorting.
class samples {
 public:
  void add(int64_t ns) { values_.push_back(ns); }
  void clear() { values_.clear(); }
  size_t size() const { return values_.size(); }
  /// Adds NAME_p50_ms, _p99_ms, _p999_ms, _max_ms and NAME_count.
  void write(json_line& line, std::string_view name);

 private:
  std::vector<int64_t> values_;
};

}  // namespace sluice::bench
