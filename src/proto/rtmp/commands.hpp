#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "proto/amf0/value.hpp"
#include "proto/rtmp/message.hpp"

namespace sluice::rtmp {

/// A command message (RTMP 1.0 §7.2): name, transaction, command object, arguments.
struct command {
  std::string name;
  double transaction = 0;
  std::vector<amf0::value> values;  ///< the command object (null where there is none), then the arguments

  /// The i-th argument behind the command object; null if there are fewer.
  const amf0::value& argument(size_t i) const;
  const amf0::value& object() const;
};

/// Reads a message of type 20, or 17, whose format byte 0 is skipped. Values behind the transaction that cannot be
/// read, and what follows them, are left out. Errors: bad_command, and those of amf0::decode.
base::result<command> parse_command(const message& m);

std::vector<uint8_t> encode_command(std::string_view name, double transaction, const std::vector<amf0::value>& values);

/// The information object of onStatus, `_result` and `_error`.
amf0::object status_object(std::string_view level, std::string_view code, std::string_view description);

/// True if a name may go on into keys, log lines and paths: not longer than `bytes_max` and without control characters.
bool is_clean_name(std::string_view name, size_t bytes_max);

/// E-RTMP v2, the bits of `capsEx` in connect.
inline constexpr uint32_t capability_reconnect = 0x01;

}  // namespace sluice::rtmp
