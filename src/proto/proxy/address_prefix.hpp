#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "base/endpoint.hpp"
#include "base/result.hpp"

// The client's address in front of RTMP's C0, as SRS's proxy sends it to an origin:
//   0xF3 | length (2 bytes, big endian) | address (4 bytes IPv4; 16 bytes IPv6, which only Sluice understands)
namespace sluice::address_prefix {

inline constexpr uint8_t marker = 0xF3;  ///< RTMP itself begins with a version, 3
inline constexpr size_t bytes_max = 3 + 16;

struct prefix {
  base::ip_address address;
  size_t consumed = 0;
};

std::vector<uint8_t> build(const base::ip_address& address);
/// Reads the prefix at the start of a connection whose first byte is `marker`; nothing while more bytes are needed.
/// Error: bad_address_prefix.
base::result<std::optional<prefix>> parse(base::bytes_view bytes);

}  // namespace sluice::address_prefix
