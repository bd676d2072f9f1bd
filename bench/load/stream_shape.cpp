#include "load/stream_shape.hpp"

#include <cstring>
#include <random>

namespace sluice::bench {
namespace {

constexpr uint64_t frames_per_gop = 50;
constexpr int64_t frame_ns = 40'000'000;
constexpr size_t key_frame_bytes = 48'000;
constexpr size_t gop_video_bytes = 350'400;  // 2 s of 1.5 Mb/s, less the audio
constexpr size_t header_bytes = 8;           // basic header and message header of type 1
constexpr size_t video_stamp_at = 10;        // FLV tag byte, packet type, composition time; NALU length, NALU header
constexpr size_t audio_stamp_at = 2;         // FLV tag byte, packet type
constexpr char stamp_magic[] = {'S', 'L', 's', 't'};
constexpr size_t stamp_bytes = sizeof stamp_magic + 16;

// What x264 writes for 1280x720, 25 fps, main profile: an FLV video tag with an AVCDecoderConfigurationRecord.
constexpr uint8_t avc_configuration[] = {0x17, 0x00, 0x00, 0x00, 0x00, 0x01, 0x4d, 0x40, 0x1f, 0xff, 0xe1, 0x00,
                                         0x19, 0x67, 0x4d, 0x40, 0x1f, 0xec, 0xa0, 0x28, 0x02, 0xdd, 0x80, 0x88,
                                         0x00, 0x00, 0x03, 0x00, 0x08, 0x00, 0x00, 0x03, 0x01, 0x90, 0x78, 0xc1,
                                         0x8c, 0xb0, 0x01, 0x00, 0x05, 0x68, 0xeb, 0xe3, 0xcb, 0x20};
constexpr uint8_t aac_configuration[] = {0xAF, 0x00, 0x12, 0x10};  // AAC-LC, 44.1 kHz, stereo

int64_t audio_due_ns(uint64_t index) { return static_cast<int64_t>(index * 1024 * 1'000'000'000ull / 44'100); }
int64_t video_due_ns(uint64_t index) { return static_cast<int64_t>(index) * frame_ns; }

}  // namespace

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

stream_shape::stream_shape() {
  std::mt19937 random(20240229);
  const auto size_between = [&](uint32_t low, uint32_t high) { return low + random() % (high - low); };
  // No zero bytes: nothing that looks like a start code.
  const auto fill = [&](std::vector<uint8_t>& body, size_t size) {
    while (body.size() < size) body.push_back(static_cast<uint8_t>(1 + random() % 255));
  };
  std::vector<size_t> sizes{key_frame_bytes};
  size_t others = 0;
  for (uint64_t i = 1; i < frames_per_gop; ++i) others += sizes.emplace_back(size_between(3'000, 9'000));
  for (uint64_t i = 0; i < frames_per_gop; ++i) {
    const bool key = i == 0;
    const size_t size = key ? key_frame_bytes : sizes[i] * (gop_video_bytes - key_frame_bytes) / others;
    std::vector<uint8_t> body{static_cast<uint8_t>(key ? 0x17 : 0x27), 1, 0, 0, 0};
    put_u32(body, static_cast<uint32_t>(size - 9));
    body.push_back(key ? 0x65 : 0x41);
    fill(body, size);
    video_.push_back(make_frame(video, body));
  }
  for (int i = 0; i < 64; ++i) {
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
  append_message(out, 4, audio, 0, stream_id, aac_configuration, chunk_size);
  return out;
}

int64_t stream_shape::due_ns(const stream_position& at) {
  return std::min(video_due_ns(at.video), audio_due_ns(at.audio));
}

bytes stream_shape::patch(frame& f, uint32_t delta, int64_t stamp_ns) {
  f.wire[1] = static_cast<uint8_t>(delta >> 16);
  f.wire[2] = static_cast<uint8_t>(delta >> 8);
  f.wire[3] = static_cast<uint8_t>(delta);
  uint8_t* p = f.wire.data() + f.stamp_at;
  std::memcpy(p, stamp_magic, sizeof stamp_magic);
  for (size_t i = 0; i < 16; ++i)
    p[sizeof stamp_magic + i] = static_cast<uint8_t>(0x40 | (stamp_ns >> (60 - 4 * i) & 15));
  return f.wire;
}

bytes stream_shape::next(stream_position& at, int64_t stamp_ns) {
  const bool picture = video_due_ns(at.video) <= audio_due_ns(at.audio);
  const auto timestamp = static_cast<uint32_t>(due_ns(at) / 1'000'000);
  const uint32_t delta = timestamp - at.last_timestamp;
  at.last_timestamp = timestamp;
  frame& f = picture ? video_[at.video++ % video_.size()] : audio_[at.audio++ % audio_.size()];
  return patch(f, delta, stamp_ns);
}

bytes stream_shape::audio_only(stream_position& at, uint32_t timestamp, int64_t stamp_ns) {
  const uint32_t delta = timestamp - at.last_timestamp;
  at.last_timestamp = timestamp;
  return patch(audio_[at.audio++ % audio_.size()], delta, stamp_ns);
}

std::optional<int64_t> read_stamp(uint8_t type, bytes head) {
  const size_t at = type == video ? video_stamp_at : audio_stamp_at;
  if ((type != video && type != audio) || head.size() < at + stamp_bytes) return {};
  const uint8_t* p = head.data() + at;
  if (std::memcmp(p, stamp_magic, sizeof stamp_magic) != 0) return {};
  uint64_t stamp = 0;
  for (size_t i = 0; i < 16; ++i) stamp = stamp << 4 | (p[sizeof stamp_magic + i] & 15u);
  return static_cast<int64_t>(stamp);
}

bool is_coded_picture(uint8_t type, bytes head) {
  return type == video && head.size() > 5 && (head[0] & 15) == 7 && head[1] == 1;
}

}  // namespace sluice::bench
