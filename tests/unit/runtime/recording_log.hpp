#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"

namespace sluice::runtime {

/// Keeps every line: `event key=value …`.
class recording_log final : public base::log_sink {
 public:
  bool enabled(base::log_level) const override { return true; }
  void write(base::log_level, std::string_view event, std::span<const base::log_field> fields) override {
    std::string line(event);
    for (const auto& f : fields) line += " " + std::string(f.key) + "=" + f.value;
    lines.push_back(line);
  }
  bool has(std::string_view text) const { return count(text) > 0; }
  size_t count(std::string_view text) const {
    return static_cast<size_t>(
        std::ranges::count_if(lines, [&](const auto& l) { return l.find(text) != std::string::npos; }));
  }
  std::string all() const {
    std::string text;
    for (const auto& l : lines) text += l + "\n";
    return text;
  }
  std::vector<std::string> lines;
};

}  // namespace sluice::runtime
