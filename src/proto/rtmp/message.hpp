#pragma once

#include <cstdint>

#include "base/buffer.hpp"

namespace sluice::rtmp {

/// Message type ids: RTMP 1.0 §5.4 (protocol control) and §7.1.
enum message_type : uint8_t {
  set_chunk_size = 1,
  abort_message = 2,
  acknowledgement = 3,
  user_control = 4,
  window_ack_size = 5,
  set_peer_bandwidth = 6,
  audio = 8,
  video = 9,
  data_amf3 = 15,
  shared_object_amf3 = 16,
  command_amf3 = 17,
  data_amf0 = 18,
  shared_object_amf0 = 19,
  command_amf0 = 20,
  aggregate = 22,
};

/// Bytes left free in front of the payload of every message that a reader delivers, so that a header can be put there
/// without a copy (wire.hpp).
inline constexpr uint32_t message_headroom = 24;

/// One whole message, reassembled.
struct message {
  uint32_t timestamp = 0;  ///< ms, absolute, modulo 2^32
  uint8_t type = 0;        ///< message_type, or one we do not know
  uint32_t stream_id = 0;
  uint32_t chunk_stream_id = 0;
  base::slice payload;  ///< with message_headroom bytes in front, not shared yet
};

inline bool is_media(uint8_t type) { return type == audio || type == video || type == data_amf0 || type == data_amf3; }

}  // namespace sluice::rtmp
