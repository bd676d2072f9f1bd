#pragma once

#include <cstddef>
#include <optional>

#include "base/bytes.hpp"
#include "base/endpoint.hpp"
#include "base/result.hpp"

// HAProxy's PROXY protocol, versions 1 and 2 (proxy-protocol.txt, §2.1 and §2.2): the first bytes of a connection name
// the client that a proxy in front of us speaks for. Believe it from trusted networks only.
namespace sluice::proxy_protocol {

inline constexpr size_t v1_bytes_max = 107;                     ///< §2.1, CRLF included
inline constexpr size_t v2_length_max = 2048;                   ///< of what follows the 16 bytes of a version 2 header
inline constexpr size_t header_bytes_max = 16 + v2_length_max;  ///< no header is longer than this

struct header {
  bool local = false;  ///< the proxy's own connection (health check): nobody is spoken for
  /// Absent if local, UNKNOWN or of a family without IP addresses: keep the socket's own addresses then.
  std::optional<base::endpoint> source, destination;
  size_t consumed = 0;  ///< bytes of the header; the client's own follow
};

/// Reads the header that `bytes`, the first of a connection, begin with; nothing while more bytes are needed (call
/// again with all of them). Fails as soon as no header can come of them: bad_proxy_protocol.
base::result<std::optional<header>> parse(base::bytes_view bytes);

/// Whether a connection begins with a header, by the whole of a signature: for protocols that may begin with its first
/// byte, too (HTTP: POST, a blank line). Nothing while more bytes are needed.
std::optional<bool> has_header(base::bytes_view bytes);

}  // namespace sluice::proxy_protocol
