#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::resp {

/// Appends a command as an array of bulk strings: the form that carries every byte.
void write_command(std::vector<uint8_t>& out, std::span<const std::string> command);
/// The size of that.
size_t command_bytes(std::span<const std::string> command);

inline constexpr uint16_t slot_count = 16384;

/// The Cluster slot of a key: CRC16 (XMODEM) modulo 16384, of what stands between the first `{` and the next `}` if
/// that is not empty (Redis Cluster specification, "Hash tags").
uint16_t key_slot(std::string_view key);

}  // namespace sluice::resp
