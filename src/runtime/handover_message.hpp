#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace sluice::runtime {

/// What two processes tell each other while one takes the sockets of the other (socket_handover.hpp): one packet of a
/// Unix socket of kind SOCK_SEQPACKET.
///
///     sluice-handover 1 sockets\n
///     name rtmp\n                 fields, in order; a key may come again
///     \n
///     …                           body, may be empty
///
/// Who does not know a field ignores it; a kind that is not known is an error of its receiver. The number is raised
/// when that does not do.
struct handover_message {
  std::string kind;  ///< lower case letters
  /// Keys of lower case letters and `_`; values without line feed and NUL.
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;

  /// The first field of that key, or empty.
  std::string_view field(std::string_view key) const;
  bool operator==(const handover_message&) const = default;
};

inline constexpr int handover_version = 1;
inline constexpr size_t handover_packet_bytes_max = 64 * 1024;
inline constexpr size_t handover_fields_max = 256;

/// Values are made fit: a line feed or NUL in them becomes a blank. At most handover_packet_bytes_max if fields and
/// body are, together with 64 bytes.
std::string encode(const handover_message& m);
/// Error reasons: bad_message, other_version.
base::result<handover_message> decode_handover(std::string_view packet);

}  // namespace sluice::runtime
