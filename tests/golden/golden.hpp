#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

// Golden vectors: bytes of known origin, under tests/golden. Each .hex file names its source in a comment line.
namespace sluice::test {

/// Bytes of hexadecimal text; blanks are skipped, and lines that begin with '#'.
inline std::vector<uint8_t> hex(std::string_view text) {
  std::vector<uint8_t> bytes;
  int high = -1;
  bool comment = false;
  for (char c : text) {
    if (c == '\n') comment = false;
    if (c == '#') comment = true;
    if (comment || c == ' ' || c == '\n') continue;
    const auto digit = std::string_view("0123456789abcdef").find(c >= 'A' && c <= 'F' ? static_cast<char>(c + 32) : c);
    if (digit == std::string_view::npos) throw std::invalid_argument("not a hexadecimal digit");
    if (high < 0) {
      high = static_cast<int>(digit);
    } else {
      bytes.push_back(static_cast<uint8_t>(high << 4 | static_cast<int>(digit)));
      high = -1;
    }
  }
  if (high >= 0) throw std::invalid_argument("odd number of digits");
  return bytes;
}

/// The file `name` below tests/golden, decoded if it ends in .hex.
inline std::vector<uint8_t> golden(const std::string& name) {
  std::ifstream in(std::filesystem::path(SLUICE_GOLDEN_DIR) / name, std::ios::binary);
  if (!in) throw std::runtime_error("no golden file " + name);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (name.ends_with(".hex")) return hex(bytes);
  return {bytes.begin(), bytes.end()};
}

}  // namespace sluice::test
