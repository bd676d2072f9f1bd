#include "proto/rtmp/chunk_writer.hpp"

#include <algorithm>
#include <cassert>

namespace sluice::rtmp {
namespace {

/// RTMP 1.0 §5.3.1.1: one, two or three bytes.
uint8_t* put_basic_header(uint8_t* p, uint8_t format, uint32_t id) {
  const auto top = static_cast<uint8_t>(format << 6);
  if (id < 64) {
    *p++ = static_cast<uint8_t>(top | id);
  } else if (id < 320) {
    *p++ = top;
    *p++ = static_cast<uint8_t>(id - 64);
  } else {
    *p++ = top | 1;
    *p++ = static_cast<uint8_t>((id - 64) & 0xFF);
    *p++ = static_cast<uint8_t>((id - 64) >> 8);
  }
  return p;
}

uint8_t* put_be(uint8_t* p, uint32_t v, int bytes) {
  while (bytes--) *p++ = static_cast<uint8_t>(v >> (8 * bytes));
  return p;
}

}  // namespace

chunk_headers::chunk_headers(uint8_t type, uint32_t chunk_stream_id, uint32_t stream_id, uint32_t timestamp,
                             uint32_t length) {
  assert(chunk_stream_id >= 2 && chunk_stream_id <= chunk_stream_id_max && length <= 0xFFFFFF);
  const bool extended = timestamp >= extended_timestamp_mark;
  uint8_t* p = put_basic_header(first, 0, chunk_stream_id);
  p = put_be(p, extended ? extended_timestamp_mark : timestamp, 3);
  p = put_be(p, length, 3);
  *p++ = type;
  for (int i = 0; i < 4; ++i) *p++ = static_cast<uint8_t>(stream_id >> (8 * i));  // little-endian, alone in RTMP
  if (extended) p = put_be(p, timestamp, 4);
  first_size = static_cast<uint8_t>(p - first);
  p = put_basic_header(next, 3, chunk_stream_id);
  if (extended) p = put_be(p, timestamp, 4);
  next_size = static_cast<uint8_t>(p - next);
}

void write_message(std::vector<uint8_t>& out, uint8_t type, uint32_t chunk_stream_id, uint32_t stream_id,
                   uint32_t timestamp, base::bytes_view payload, uint32_t chunk_size) {
  assert(chunk_size > 0);
  const chunk_headers headers(type, chunk_stream_id, stream_id, timestamp, static_cast<uint32_t>(payload.size()));
  out.insert(out.end(), headers.first, headers.first + headers.first_size);
  for (;;) {
    const auto chunk = payload.first(std::min<size_t>(payload.size(), chunk_size));
    out.insert(out.end(), chunk.begin(), chunk.end());
    payload = payload.subspan(chunk.size());
    if (payload.empty()) return;
    out.insert(out.end(), headers.next, headers.next + headers.next_size);
  }
}

}  // namespace sluice::rtmp
