#pragma once

#include <string_view>

namespace sluice::sdp {

/// Walks the lines of a text. A line ends in CRLF (RFC 8866 §5) or, as parsers should accept, in LF; its end belongs to
/// `whole`.
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

/// Takes the next word off `text`; empty at its end.
inline std::string_view take_word(std::string_view& text) {
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) {
    text = {};
    return {};
  }
  const size_t end = text.find(' ', begin);
  const auto word = text.substr(begin, end == std::string_view::npos ? end : end - begin);
  text = end == std::string_view::npos ? std::string_view{} : text.substr(end);
  return word;
}

}  // namespace sluice::sdp
