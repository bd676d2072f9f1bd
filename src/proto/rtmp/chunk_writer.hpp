#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"

namespace sluice::rtmp {

/// Timestamps from here on go into the extended field (RTMP 1.0 §5.3.1.3).
inline constexpr uint32_t extended_timestamp_mark = 0xFFFFFF;
/// Of a type 0 chunk header: basic header, message header, extended timestamp.
inline constexpr size_t chunk_header_size_max = 3 + 11 + 4;
inline constexpr uint32_t default_chunk_size = 128;
inline constexpr uint32_t chunk_size_max = 0xFFFFFF;
inline constexpr uint32_t chunk_stream_id_max = 65599;

/// The header of a message's first chunk (type 0) and of those that follow (type 3).
struct chunk_headers {
  uint8_t first[chunk_header_size_max];
  uint8_t next[7];
  uint8_t first_size, next_size;

  /// `chunk_stream_id` is 2 … chunk_stream_id_max, `length` below 2^24.
  chunk_headers(uint8_t type, uint32_t chunk_stream_id, uint32_t stream_id, uint32_t timestamp, uint32_t length);
};

/// Appends one whole message in chunks of `chunk_size` payload bytes; every message starts with a type 0 header, so
/// that it needs nothing of those before it. Chunk stream ids, lengths and chunk sizes out of range are our own bug.
void write_message(std::vector<uint8_t>& out, uint8_t type, uint32_t chunk_stream_id, uint32_t stream_id,
                   uint32_t timestamp, base::bytes_view payload, uint32_t chunk_size);

}  // namespace sluice::rtmp
