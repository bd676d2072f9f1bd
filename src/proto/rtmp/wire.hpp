#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/buffer.hpp"
#include "proto/rtmp/message.hpp"

namespace sluice::rtmp {

/// A message in the form in which it goes to any number of peers: serialised once, into the headroom of its own
/// payload.
///
///   headroom: ... | continuation (1 or 5 B) | type 0 header (12 or 16 B) | payload
///
/// Every message starts with a type 0 chunk, so it depends on nothing that a peer got before; payload beyond
/// `chunk_size` follows in type 3 chunks whose header is `continuation` (RTMP 1.0 §5.3.1; the extended timestamp is
/// repeated in them, §5.3.1.3).
class wire_message {
 public:
  wire_message() = default;
  /// Writes the headers in front of `payload`, whose block must have message_headroom and not be shared yet.
  static wire_message serialise(base::slice payload, uint8_t type, uint32_t timestamp, uint32_t chunk_stream_id,
                                uint32_t stream_id, uint32_t chunk_size);

  /// Bytes on the wire, headers included.
  size_t size() const;
  /// Appends to `out`, from its index `count` on, the parts of the wire form from byte `offset` on, and returns the new
  /// count; stops at out.size(). *taken gets the bytes covered.
  size_t gather(size_t offset, std::span<iovec> out, size_t count, size_t* taken) const;
  const base::slice& payload() const { return payload_; }

 private:
  base::slice payload_;
  uint32_t chunk_size_ = 0;
  uint8_t header_size_ = 0;
  uint8_t continuation_size_ = 0;
};

}  // namespace sluice::rtmp
