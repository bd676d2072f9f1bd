#include "load/report.hpp"

#include <algorithm>
#include <cstdio>

namespace sluice::bench {

json_line::json_line(std::string_view event) : text_("{\"event\":\"" + std::string(event) + "\"") {}

json_line& json_line::field(std::string_view name, double value) {
  char number[40];
  std::snprintf(number, sizeof number, "%.6g", value);
  text_ += ",\"" + std::string(name) + "\":" + number;
  return *this;
}

json_line& json_line::field(std::string_view name, uint64_t value) {
  text_ += ",\"" + std::string(name) + "\":" + std::to_string(value);
  return *this;
}

json_line& json_line::field(std::string_view name, std::string_view value) {
  text_ += ",\"" + std::string(name) + "\":\"" + std::string(value) +
           "\"";  // our own literals and strerror(): nothing to escape
  return *this;
}

void json_line::print() {
  std::printf("%s}\n", text_.c_str());
  std::fflush(stdout);
}

void samples::write(json_line& line, std::string_view name) {
  line.field(std::string(name) + "_count", uint64_t{values_.size()});
  if (values_.empty()) return;
  std::sort(values_.begin(), values_.end());
  const auto quantile = [&](double q) {
    return static_cast<double>(
               values_[std::min(values_.size() - 1, static_cast<size_t>(q * static_cast<double>(values_.size())))]) /
           1e6;
  };
  line.field(std::string(name) + "_p50_ms", quantile(0.5)).field(std::string(name) + "_p99_ms", quantile(0.99));
  line.field(std::string(name) + "_p999_ms", quantile(0.999)).field(std::string(name) + "_max_ms", quantile(1));
}

}  // namespace sluice::bench
