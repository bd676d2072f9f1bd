#include "proto/proxy/address_prefix.hpp"

#include <algorithm>
#include <array>

namespace sluice::address_prefix {

std::vector<uint8_t> build(const base::ip_address& address) {
  std::vector<uint8_t> out;
  base::byte_writer w(out);
  w.u8(marker);
  w.u16(address.is_v4() ? 4 : 16);
  if (address.is_v4()) {
    w.bytes(address.v4_bytes());
  } else {
    w.bytes(address.bytes());
  }
  return out;
}

base::result<std::optional<prefix>> parse(base::bytes_view bytes) {
  if (bytes.empty()) return std::nullopt;
  if (bytes.front() != marker) return base::fail("bad_address_prefix", "no address prefix");
  base::byte_reader in(bytes.subspan(1));
  const uint16_t length = in.u16();
  if (in.failed()) return std::nullopt;
  if (length != 4 && length != 16) return base::fail("bad_address_prefix", "address of neither 4 nor 16 bytes");
  const auto address = in.bytes(length);
  if (in.failed()) return std::nullopt;
  const size_t consumed = bytes.size() - in.remaining();
  if (length == 4) return prefix{base::ip_address::v4({address[0], address[1], address[2], address[3]}), consumed};
  std::array<uint8_t, 16> sixteen{};
  std::ranges::copy(address, sixteen.begin());
  return prefix{base::ip_address::v6(sixteen), consumed};
}

}  // namespace sluice::address_prefix
