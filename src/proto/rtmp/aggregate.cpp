#include "proto/rtmp/aggregate.hpp"

#include <algorithm>

#include "base/bytes.hpp"

namespace sluice::rtmp {

base::result<void> split_aggregate(const message& whole, message_sink& sink) {
  base::byte_reader in(whole.payload.view());
  bool first = true;
  uint32_t shift = 0;
  while (in.remaining() > 0) {
    // A part is an FLV tag: type, size, time (24 bits, then the 8 above them), stream id, payload; then its size once
    // more, which some senders leave out behind the last part.
    const uint8_t type = in.u8();
    const uint32_t size = in.u24();
    uint32_t time = in.u24();
    time |= uint32_t{in.u8()} << 24;
    in.skip(3);
    const auto payload = in.bytes(size);
    if (in.failed()) return base::fail("bad_aggregate", "an aggregate message ends inside a part");
    in.skip(std::min<size_t>(4, in.remaining()));
    if (first) shift = whole.timestamp - time;
    first = false;
    if (!is_media(type)) continue;
    message part;
    part.timestamp = time + shift;
    part.type = type;
    part.stream_id = whole.stream_id;
    part.chunk_stream_id = whole.chunk_stream_id;
    part.payload = base::slice::copy_of(payload, message_headroom);
    if (auto ok = sink.on_message(std::move(part)); !ok) return ok;
  }
  return {};
}

}  // namespace sluice::rtmp
