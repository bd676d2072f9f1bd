#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/buffer.hpp"

// draft-sharabayko-srt-01, section 3: every datagram is one packet, with a header of 16 bytes.
//
//   data       |0|         sequence number (31)              |
//              |PP|O|KK|R|  message number (26)              |
//   control    |1|  type (15)           |  subtype (16)      |
//              |  type-specific                              |
//   both       |  timestamp, microseconds of the sender      |
//              |  destination socket id                      |
namespace sluice::srt {

inline constexpr size_t header_bytes = 16;

enum class control_type : uint16_t {
  handshake = 0,
  keepalive = 1,
  ack = 2,
  nak = 3,
  congestion = 4,
  shutdown = 5,
  ackack = 6,
  drop_request = 7,
  peer_error = 8,
  user_defined = 0x7fff,  ///< the subtype is that of an extension of the handshake
};

struct packet {
  bool control = false;
  control_type type{};       ///< of a control packet
  uint16_t subtype = 0;      ///< of a control packet
  uint32_t sequence = 0;     ///< of a data packet, 31 bits
  uint32_t second_word = 0;  ///< type-specific, or message number and flags
  uint32_t timestamp = 0;
  uint32_t destination = 0;  ///< the receiver's socket id; 0 in the first packets of a connection
  base::bytes_view body;
};

/// Nothing if it is shorter than a header.
std::optional<packet> parse_packet(base::bytes_view datagram);

/// Of a packet of header_bytes or more.
void set_timestamp(std::vector<uint8_t>& datagram, uint32_t timestamp);

/// A control packet without information: keep-alive, shutdown. Four bytes of nothing follow, as libsrt sends them.
std::array<uint8_t, header_bytes + 4> plain_control(control_type type, uint32_t destination, uint32_t timestamp);

/// `a` after `b` in the circle of 31-bit sequence numbers.
inline bool is_after(uint32_t a, uint32_t b) { return a != b && ((a - b) & 0x7fff'ffff) < 0x4000'0000; }
inline uint32_t next_sequence(uint32_t s) { return (s + 1) & 0x7fff'ffff; }

/// What a control packet of a running connection may say, given that the one to whom it goes has sent data packets up
/// to `sent` (for acknowledgements and loss reports), and the one who sends it up to `own` (drop requests). Empty if it
/// is fine, else the reason to drop it: bad_length, bad_sequence, unknown_type.
std::string_view fault_of(const packet& p, uint32_t sent, uint32_t own);

}  // namespace sluice::srt
