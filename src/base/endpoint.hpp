#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::base {

/// An IPv4 or IPv6 address as a value; IPv4 is kept in mapped form (::ffff:a.b.c.d), so the two never compare equal by
/// accident and both fit one type.
class ip_address {
 public:
  ip_address() = default;  ///< `::`
  static ip_address v4(std::array<uint8_t, 4> bytes);
  static ip_address v6(std::array<uint8_t, 16> bytes);  ///< a mapped address becomes IPv4
  /// Dotted quad or RFC 4291 text, without brackets, zone or port.
  static std::optional<ip_address> parse(std::string_view text);

  bool is_v4() const;
  bool is_loopback() const;
  bool is_unspecified() const;  ///< 0.0.0.0 or ::
  bool is_link_local() const;   ///< 169.254/16 or fe80::/10
  bool is_multicast() const;    ///< 224/4 or ff00::/8 (and 255.255.255.255)
  const std::array<uint8_t, 16>& bytes() const { return bytes_; }
  std::array<uint8_t, 4> v4_bytes() const { return {bytes_[12], bytes_[13], bytes_[14], bytes_[15]}; }
  std::string to_string() const;
  auto operator<=>(const ip_address&) const = default;

 private:
  std::array<uint8_t, 16> bytes_{};
};

struct endpoint {
  ip_address address;
  uint16_t port = 0;
  /// `1.2.3.4:80`, `[::1]:80`.
  std::string to_string() const;
  /// The inverse of to_string(); the address is required.
  static std::optional<endpoint> parse(std::string_view text);
  auto operator<=>(const endpoint&) const = default;
};

/// An address range in CIDR form (`10.0.0.0/8`, `fd00::/8`, or a single address).
struct network {
  ip_address address;
  unsigned prefix = 128;  ///< bits of the 128-bit form
  static std::optional<network> parse(std::string_view text);
  bool contains(const ip_address& a) const;
};

}  // namespace sluice::base
