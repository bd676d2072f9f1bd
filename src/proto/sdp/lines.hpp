#pragma once

#include <string_view>

#include "base/lines.hpp"

namespace sluice::sdp {

using base::line_walk;

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
