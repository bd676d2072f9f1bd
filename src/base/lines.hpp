#pragma once

#include <string_view>

namespace sluice::base {

/// Walks the lines of a text. A line ends in LF or CRLF, the last one perhaps in nothing; its end belongs to `whole`.
class line_walk {
 public:
  explicit line_walk(std::string_view text) : rest_(text) {}
  bool next() {
    if (rest_.empty()) return false;
    const size_t at = rest_.find('\n');
    whole = rest_.substr(0, at == std::string_view::npos ? at : at + 1);
    rest_.remove_prefix(whole.size());
    line = whole;
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return true;
  }
  std::string_view whole, line;

 private:
  std::string_view rest_;
};

}  // namespace sluice::base
