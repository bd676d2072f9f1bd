#pragma once

#include <vector>

#include "golden/golden.hpp"
#include "media/bridge/hls_stream.hpp"
#include "unit/media/support.hpp"

namespace sluice::media::test {

inline frame frame_of(const packet& p) { return make_frame(message_of(p), p.timestamp, {}, true); }

inline packet joined(uint8_t type, bytes head, const bytes& rest) {
  head.insert(head.end(), rest.begin(), rest.end());
  return {type, 0, head};
}
/// Sequence headers that decoders take: H.264 1080p, AAC-LC 44.1 kHz stereo.
inline packet avc_header(const char* record = "codec/h264_high_1080p.avcc.hex") {
  return joined(rtmp::video, {0x17, 0, 0, 0, 0}, sluice::test::golden(record));
}
inline packet aac_header(uint8_t second = 0x10) { return {rtmp::audio, 0, {0xAF, 0, 0x12, second}}; }
/// Enhanced RTMP sequence headers.
inline packet enhanced_video(std::string_view fourcc, const bytes& record) {
  bytes head{0x90};
  base::byte_writer(head).text(fourcc);
  return joined(rtmp::video, head, record);
}
inline packet enhanced_audio(std::string_view fourcc, const bytes& record) {
  bytes head{0x90};
  base::byte_writer(head).text(fourcc);
  return joined(rtmp::audio, head, record);
}

/// Video at 25 frames/s with a keyframe every `gop_ms`, sound every 20 ms.
inline all live(uint32_t from, uint32_t ms, uint32_t gop_ms = 2000) {
  all packets;
  for (uint32_t t = 0; t < ms; t += 20) {
    if (t % 40 == 0) packets.push_back(t % gop_ms == 0 ? key(from + t, t) : inter(from + t, t));
    packets.push_back(sound(from + t, t));
  }
  return packets;
}

}  // namespace sluice::media::test
