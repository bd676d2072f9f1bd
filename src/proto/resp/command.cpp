#include "proto/resp/command.hpp"

#include <fmt/format.h>

#include <array>
#include <iterator>

namespace sluice::resp {
namespace {

constexpr uint16_t crc16_polynomial = 0x1021;

constexpr auto crc16_table = [] {
  std::array<uint16_t, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    unsigned crc = byte << 8;
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 0x8000) != 0 ? crc << 1 ^ crc16_polynomial : crc << 1;
    table[byte] = static_cast<uint16_t>(crc);
  }
  return table;
}();

uint16_t crc16(std::string_view text) {
  unsigned crc = 0;
  for (const char c : text) crc = (crc << 8 ^ crc16_table[(crc >> 8 ^ static_cast<uint8_t>(c)) & 0xFF]) & 0xFFFF;
  return static_cast<uint16_t>(crc);
}

size_t decimal_digits(size_t n) {
  size_t digits = 1;
  for (; n >= 10; n /= 10) ++digits;
  return digits;
}

}  // namespace

void write_command(std::vector<uint8_t>& out, std::span<const std::string> command) {
  fmt::format_to(std::back_inserter(out), "*{}\r\n", command.size());
  for (const auto& part : command) {
    fmt::format_to(std::back_inserter(out), "${}\r\n", part.size());
    out.insert(out.end(), part.begin(), part.end());
    out.push_back('\r');
    out.push_back('\n');
  }
}

size_t command_bytes(std::span<const std::string> command) {
  size_t bytes = 1 + decimal_digits(command.size()) + 2;
  for (const auto& part : command) bytes += 1 + decimal_digits(part.size()) + 2 + part.size() + 2;
  return bytes;
}

uint16_t key_slot(std::string_view key) {
  if (const size_t open = key.find('{'); open != std::string_view::npos) {
    const size_t close = key.find('}', open + 1);
    if (close != std::string_view::npos && close > open + 1) key = key.substr(open + 1, close - open - 1);
  }
  return crc16(key) % slot_count;
}

}  // namespace sluice::resp
