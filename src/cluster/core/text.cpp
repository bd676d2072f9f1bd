#include "cluster/core/text.hpp"

#include <algorithm>
#include <cstdint>

namespace sluice::cluster {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool is_clean_text(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t more = lead < 0x80 ? 0 : lead >> 5 == 6 ? 1 : lead >> 4 == 14 ? 2 : lead >> 3 == 30 ? 3 : SIZE_MAX;
    if (more == SIZE_MAX || text.size() - i - 1 < more) return false;
    uint32_t point = more == 0 ? lead : lead & (0x3Fu >> more);
    for (size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<uint8_t>(text[i + k]);
      if (next >> 6 != 2) return false;
      point = point << 6 | (next & 0x3F);
    }
    constexpr uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    if (point < smallest[more] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
    if (point < 0x20 || (point >= 0x7F && point < 0xA0)) return false;
    i += more + 1;
  }
  return true;
}

std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return out;
}

bool is_fine_id(std::string_view id) {
  constexpr size_t bytes_max = 128;
  return id.size() <= bytes_max && std::all_of(id.begin(), id.end(), [](char c) {
           return c > ' ' && c < 0x7F && std::string_view("{}\"'\\/<>,;&%").find(c) == std::string_view::npos;
         });
}

bool is_fine_label(std::string_view label) {
  constexpr size_t bytes_max = 255;
  return label.size() <= bytes_max && is_clean_text(label);
}

}  // namespace sluice::cluster
