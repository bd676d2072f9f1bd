#include <cstdlib>

#include "base/bytes.hpp"
#include "media/bridge/hls_stream.hpp"

namespace {

using namespace sluice;

void check(bool ok) {
  if (!ok) std::abort();
}

// Boxes add up, as deep as they nest here.
void check_boxes(base::bytes_view in) {
  base::byte_reader r(in);
  while (r.remaining() > 0) {
    const uint32_t size = r.u32();
    const auto type = r.text(4);
    check(size >= 8);
    const auto content = r.bytes(size - 8);
    check(!r.failed());
    if (type == "moof" || type == "traf" || type == "moov" || type == "trak" || type == "mdia") check_boxes(content);
  }
}

}  // namespace

// The input is a stream: records of time step (2 bytes, signed, in ms), type and flags (1), size (1), body. Whatever
// comes, the window keeps its limits, the target duration, and the order of its numbers.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  media::hls_settings settings;
  settings.format = media::container::fmp4;
  settings.bytes_max = 4096;
  settings.segment_bytes_max = 1024;
  settings.segments_max = 8;
  media::hls_window window("s", settings, media::make_segment_muxer);
  window.begin_publication(1000, 0, 2000);
  base::byte_reader in({data, size});
  uint32_t timestamp = 0;
  uint64_t number = 0, revision = 0;
  while (in.remaining() >= 4) {
    timestamp += static_cast<uint32_t>(static_cast<int16_t>(in.u16()));
    const uint8_t kind = in.u8(), length = in.u8();
    const auto body = in.bytes(std::min<size_t>(length, in.remaining()));
    if (kind & 0x40) timestamp += 20000;
    if (kind & 0x80) window.begin_publication(window.next_number(), 5, 2000);
    rtmp::message m;
    m.type = kind & 1 ? rtmp::video : kind & 2 ? rtmp::data_amf0 : rtmp::audio;
    m.payload = base::slice::copy_of(body, rtmp::message_headroom);
    window.add(media::make_frame(std::move(m), timestamp, {}, true));
    check(window.pending_bytes() <= settings.segment_bytes_max);
    if (window.revision() == revision) continue;
    revision = window.revision();
    check(window.next_number() > number || number == 0);
    number = window.next_number();
    if (const auto file = window.segment(number - 1)) check_boxes(base::as_bytes(*file->bytes));
    check(!window.master_playlist("m").empty());
  }
  window.end(true);
  return 0;
}
