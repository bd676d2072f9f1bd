#include "base/endpoint.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace sluice::base {
namespace {

constexpr std::array<uint8_t, 12> mapped_prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<unsigned> parse_number(std::string_view text, unsigned max) {
  unsigned value = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

}  // namespace

ip_address ip_address::v4(std::array<uint8_t, 4> bytes) {
  ip_address a;
  std::copy(mapped_prefix.begin(), mapped_prefix.end(), a.bytes_.begin());
  std::copy(bytes.begin(), bytes.end(), a.bytes_.begin() + 12);
  return a;
}

ip_address ip_address::v6(std::array<uint8_t, 16> bytes) {
  ip_address a;
  a.bytes_ = bytes;
  return a;
}

std::optional<ip_address> ip_address::parse(std::string_view text) {
  if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != text.npos) return std::nullopt;
  const std::string copy(text);
  std::array<uint8_t, 4> four;
  if (inet_pton(AF_INET, copy.c_str(), four.data()) == 1) return v4(four);
  std::array<uint8_t, 16> sixteen;
  if (inet_pton(AF_INET6, copy.c_str(), sixteen.data()) == 1) return v6(sixteen);
  return std::nullopt;
}

bool ip_address::is_v4() const { return std::equal(mapped_prefix.begin(), mapped_prefix.end(), bytes_.begin()); }

bool ip_address::is_loopback() const {
  if (is_v4()) return bytes_[12] == 127;
  return std::all_of(bytes_.begin(), bytes_.end() - 1, [](uint8_t b) { return b == 0; }) && bytes_[15] == 1;
}

bool ip_address::is_unspecified() const {
  const auto first = is_v4() ? bytes_.begin() + 12 : bytes_.begin();
  return std::all_of(first, bytes_.end(), [](uint8_t b) { return b == 0; });
}

bool ip_address::is_link_local() const {
  if (is_v4()) return bytes_[12] == 169 && bytes_[13] == 254;
  return bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool ip_address::is_multicast() const {
  if (is_v4())
    return bytes_[12] >= 224 && (bytes_[12] < 240 || v4_bytes() == std::array<uint8_t, 4>{255, 255, 255, 255});
  return bytes_[0] == 0xff;
}

std::string ip_address::to_string() const {
  char text[INET6_ADDRSTRLEN];
  const bool four = is_v4();
  inet_ntop(four ? AF_INET : AF_INET6, bytes_.data() + (four ? 12 : 0), text, sizeof text);
  return text;
}

std::string endpoint::to_string() const {
  return address.is_v4() ? fmt::format("{}:{}", address.to_string(), port)
                         : fmt::format("[{}]:{}", address.to_string(), port);
}

std::optional<endpoint> endpoint::parse(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == text.npos) return std::nullopt;
  auto host = text.substr(0, colon);
  const auto port = parse_number(text.substr(colon + 1), 65535);
  const bool brackets = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  const auto address = ip_address::parse(host);
  if (!port || !address || (host.find(':') != host.npos) != brackets) return std::nullopt;
  return endpoint{*address, static_cast<uint16_t>(*port)};
}

std::optional<network> network::parse(std::string_view text) {
  const auto slash = text.find('/');
  const auto address = ip_address::parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const unsigned width = text.substr(0, slash).find(':') == text.npos ? 32 : 128;
  if (slash == text.npos) return network{*address, 128};
  const auto prefix = parse_number(text.substr(slash + 1), width);
  if (!prefix) return std::nullopt;
  return network{*address, *prefix + (128 - width)};
}

bool network::contains(const ip_address& a) const {
  const auto& x = address.bytes();
  const auto& y = a.bytes();
  const size_t whole = prefix / 8;
  if (!std::equal(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(whole), y.begin())) return false;
  if (prefix % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - prefix % 8));
  return (x[whole] & mask) == (y[whole] & mask);
}

}  // namespace sluice::base
