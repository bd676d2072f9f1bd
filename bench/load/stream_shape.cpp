#include "load/stream_shape.hpp"

#include <cstring>
#include <random>

namespace sluice::bench {
namespace {

/// Of a GOP of two seconds.
struct gop {
  uint64_t frames;
  size_t key_bytes, video_bytes;
  uint32_t frame_bytes_low, frame_bytes_high;
  bool sound;
};
constexpr gop obs_gop{50, 48'000, 350'400, 3'000, 9'000, true};  // 2 s of 1.5 Mb/s, less the audio
constexpr gop light_gop{5, 2'000, 3'200, 290, 310, false};
constexpr gop quiet_gop{20, 5'000, 15'000, 450, 600, false};

const gop& gop_of(weight w) {
  switch (w) {
    case weight::light:
      return light_gop;
    case weight::quiet:
      return quiet_gop;
    case weight::obs:
      break;
  }
  return obs_gop;
}
constexpr int64_t gop_ns = 2'000'000'000;
constexpr size_t header_bytes = 8;     // basic header and message header of type 1
constexpr size_t video_stamp_at = 10;  // FLV tag byte, packet type, composition time; NALU length, NALU header
constexpr size_t audio_stamp_at = 2;   // FLV tag byte, packet type
constexpr char stamp_magic[] = {'S', 'L', 's', 't'};
constexpr size_t time_digits = 16, number_digits = 8;  // four bits a byte, so that nothing looks like a start code
constexpr size_t stamp_bytes = sizeof stamp_magic + time_digits + number_digits;

// What x264 writes for 1280x720, 25 fps, main profile: an FLV video tag with an AVCDecoderConfigurationRecord.
constexpr uint8_t avc_configuration[] = {0x17, 0x00, 0x00, 0x00, 0x00, 0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00,
                                         0x19, 0x67, 0x4d, 0x40, 0x1f, 0xec, 0xa0, 0x28, 0x02, 0xdd, 0x80, 0x88,
                                         0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x01, 0x90, 0x78, 0xc1,
                                         0x8c, 0xb0, 0x01, 0x00, 0x05, 0x68, 0xeb, 0xe3, 0xcb, 0x20};
constexpr uint8_t aac_configuration[] = {0xAF, 0x00, 0x12, 0x10};  // AAC-LC, 44.1 kHz, stereo

void write_digits(uint8_t* p, size_t digits, uint64_t value) {
  for (size_t i = 0; i < digits; ++i) p[i] = static_cast<uint8_t>(0x40 | (value >> (4 * (digits - 1 - i)) & 15));
}

uint64_t read_digits(const uint8_t* p, size_t digits) {
  uint64_t value = 0;
  for (size_t i = 0; i < digits; ++i) value = value << 4 | (p[i] & 15u);
  return value;
}

}  // namespace

int64_t stream_shape::audio_due_ns(uint64_t index) const {
  if (audio_.empty()) return INT64_MAX;
  return static_cast<int64_t>(index * 1024 * 1'000'000'000ull / 44'100);
}

stream_shape::frame stream_shape::make_frame(uint8_t type, bytes body) {
  frame f{.wire = {}, .stamp_at = header_bytes + (type == video ? video_stamp_at : audio_stamp_at)};
  f.wire = {0x44, 0, 0, 0};
  put_u24(f.wire, static_cast<uint32_t>(body.size()));
  f.wire.push_back(type);
  for (size_t at = 0; at < body.size(); at += chunk_size) {
    if (at > 0) f.wire.push_back(0xC4);
    const bytes part = body.subspan(at, std::min<size_t>(chunk_size, body.size() - at));
    f.wire.insert(f.wire.end(), part.begin(), part.end());
  }
  return f;
}

stream_shape::stream_shape(weight w) {
  const gop& shape = gop_of(w);
  frame_ns_ = gop_ns / static_cast<int64_t>(shape.frames);
  std::mt19937 random(20240229);
  const auto size_between = [&](uint32_t low, uint32_t high) { return low + random() % (high - low); };
  // No zero bytes: nothing that looks like a start code.
  const auto fill = [&](std::vector<uint8_t>& body, size_t size) {
    while (body.size() < size) body.push_back(static_cast<uint8_t>(1 + random() % 255));
  };
  std::vector<size_t> sizes{shape.key_bytes};
  size_t others = 0;
  for (uint64_t i = 1; i < shape.frames; ++i)
    others += sizes.emplace_back(size_between(shape.frame_bytes_low, shape.frame_bytes_high));
  for (uint64_t i = 0; i < shape.frames; ++i) {
    const bool key = i == 0;
    const size_t size = key ? shape.key_bytes : sizes[i] * (shape.video_bytes - shape.key_bytes) / others;
    std::vector<uint8_t> body{static_cast<uint8_t>(key ? 0x17 : 0x27), 1, 0, 0, 0};
    put_u32(body, static_cast<uint32_t>(size - 9));
    body.push_back(key ? 0x65 : 0x41);
    fill(body, size);
    video_.push_back(make_frame(video, body));
  }
  for (int i = 0; i < 64 && shape.sound; ++i) {
    std::vector<uint8_t> body{0xAF, 1};
    fill(body, size_between(200, 370));
    audio_.push_back(make_frame(audio, body));
  }
}

std::vector<uint8_t> stream_shape::preamble(uint32_t stream_id) const {
  std::vector<uint8_t> metadata;
  amf_writer w(metadata);
  w.text("@setDataFrame").text("onMetaData").begin_ecma_array(9);
  w.key("width").number(1280).key("height").number(720).key("framerate").number(25).key("videocodecid").number(7);
  w.key("videodatarate").number(1400).key("audiocodecid").number(10).key("audiosamplerate").number(44100);
  w.key("audiodatarate").number(98).key("encoder").text("sluice-bench").end();
  std::vector<uint8_t> out;
  append_message(out, 4, data_amf0, 0, stream_id, metadata, chunk_size);
  append_message(out, 4, video, 0, stream_id, avc_configuration, chunk_size);
  if (!audio_.empty()) append_message(out, 4, audio, 0, stream_id, aac_configuration, chunk_size);
  return out;
}

int64_t stream_shape::due_ns(const stream_position& at) const {
  return std::min(video_due_ns(at.video), audio_due_ns(at.audio));
}

bytes stream_shape::patch(frame& f, uint32_t delta, int64_t stamp_ns, uint64_t number) {
  f.wire[1] = static_cast<uint8_t>(delta >> 16);
  f.wire[2] = static_cast<uint8_t>(delta >> 8);
  f.wire[3] = static_cast<uint8_t>(delta);
  uint8_t* p = f.wire.data() + f.stamp_at;
  std::memcpy(p, stamp_magic, sizeof stamp_magic);
  write_digits(p + sizeof stamp_magic, time_digits, static_cast<uint64_t>(stamp_ns));
  write_digits(p + sizeof stamp_magic + time_digits, number_digits, number);
  return f.wire;
}

bytes stream_shape::next(stream_position& at, int64_t stamp_ns) {
  const bool picture = video_due_ns(at.video) <= audio_due_ns(at.audio);
  const auto timestamp = static_cast<uint32_t>(due_ns(at) / 1'000'000);
  const uint32_t delta = timestamp - at.last_timestamp;
  at.last_timestamp = timestamp;
  const uint64_t number = at.video + at.audio;
  frame& f = picture ? video_[at.video++ % video_.size()] : audio_[at.audio++ % audio_.size()];
  return patch(f, delta, stamp_ns, number);
}

bytes stream_shape::audio_only(stream_position& at, uint32_t timestamp, int64_t stamp_ns) {
  const uint32_t delta = timestamp - at.last_timestamp;
  at.last_timestamp = timestamp;
  const uint64_t number = at.video + at.audio;
  return patch(audio_[at.audio++ % audio_.size()], delta, stamp_ns, number);
}

std::optional<message_stamp> read_stamp(uint8_t type, bytes head) {
  const size_t at = type == video ? video_stamp_at : audio_stamp_at;
  if ((type != video && type != audio) || head.size() < at + stamp_bytes) return {};
  const uint8_t* p = head.data() + at;
  if (std::memcmp(p, stamp_magic, sizeof stamp_magic) != 0) return {};
  p += sizeof stamp_magic;
  return message_stamp{.sent_ns = static_cast<int64_t>(read_digits(p, time_digits)),
                       .number = static_cast<uint32_t>(read_digits(p + time_digits, number_digits))};
}

bool is_coded_picture(uint8_t type, bytes head) {
  return type == video && head.size() > 5 && (head[0] & 15) == 7 && head[1] == 1;
}

}  // namespace sluice::bench
