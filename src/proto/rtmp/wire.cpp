#include "proto/rtmp/wire.hpp"

#include <algorithm>
#include <cassert>

#include "proto/rtmp/chunk_writer.hpp"

namespace sluice::rtmp {

wire_message wire_message::serialise(base::slice payload, uint8_t type, uint32_t timestamp, uint32_t chunk_stream_id,
                                     uint32_t stream_id, uint32_t chunk_size) {
  assert(chunk_size > 0);
  // Longer basic headers than those of one and two bytes would not fit into the headroom.
  assert(chunk_stream_id >= 2 && chunk_stream_id < 320);
  const chunk_headers headers(type, chunk_stream_id, stream_id, timestamp, static_cast<uint32_t>(payload.size()));
  wire_message m;
  m.chunk_size_ = chunk_size;
  m.header_size_ = headers.first_size;
  m.continuation_size_ = headers.next_size;
  const size_t needed = size_t{headers.first_size} + headers.next_size;
  if (payload.headroom() < needed || !payload.block().unique()) {
    payload = base::slice::copy_of(payload.view(), message_headroom);
  }
  uint8_t* p = payload.headroom_end() - needed;
  p = std::copy_n(headers.next, headers.next_size, p);
  std::copy_n(headers.first, headers.first_size, p);
  m.payload_ = std::move(payload);
  return m;
}

size_t wire_message::size() const {
  if (chunk_size_ == 0) return 0;  // default-constructed
  const size_t chunks = std::max<size_t>(1, (payload_.size() + chunk_size_ - 1) / chunk_size_);
  return header_size_ + payload_.size() + (chunks - 1) * continuation_size_;
}

size_t wire_message::gather(size_t offset, std::span<iovec> out, size_t count, size_t* taken) const {
  *taken = 0;
  if (offset >= size()) return count;
  const uint8_t* const payload = payload_.data();
  const auto put = [&](const uint8_t* from, size_t bytes) {
    out[count++] = {const_cast<uint8_t*>(from), bytes};
    *taken += bytes;
  };
  // Header and first chunk lie together; after them, pairs of a continuation (the same bytes each time) and a chunk.
  const size_t lead = header_size_ + std::min<size_t>(chunk_size_, payload_.size());
  size_t at = chunk_size_;  // in the payload: where the next chunk starts
  size_t skip = 0;          // bytes of its continuation and of itself that are before `offset`
  if (offset < lead) {
    if (count == out.size()) return count;
    put(payload - header_size_ + offset, lead - offset);
  } else {
    const size_t stride = size_t{continuation_size_} + chunk_size_;
    at += (offset - lead) / stride * chunk_size_;
    skip = (offset - lead) % stride;
  }
  for (; at < payload_.size() && count < out.size(); at += chunk_size_) {
    const size_t chunk = std::min<size_t>(chunk_size_, payload_.size() - at);
    if (skip < continuation_size_) {
      put(payload - header_size_ - continuation_size_ + skip, continuation_size_ - skip);
      skip = continuation_size_;
      if (count == out.size()) return count;
    }
    const size_t inside = skip - continuation_size_;
    put(payload + at + inside, chunk - inside);
    skip = 0;
  }
  return count;
}

}  // namespace sluice::rtmp
