#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "load/wire.hpp"

namespace sluice::bench {

/// Where a publisher is in the stream.
struct stream_position {
  uint64_t video = 0, audio = 0;  ///< frames sent
  uint32_t last_timestamp = 0;    ///< ms
};

/// How heavy a stream is.
enum class weight : uint8_t {
  /// OBS's: 1.5 Mb/s, H.264 1280x720 at 25 fps in GOPs of 2 s (keyframes 48 KB, the others 3 to 9 KB) and AAC at
  /// 44.1 kHz (43 frames/s of 200 to 370 B).
  obs,
  /// For crowds: 2.5 pictures a second in GOPs of 2 s (keyframes 2 KB, the others 300 B), no sound.
  light,
  /// 60 kb/s: 10 pictures a second in GOPs of 2 s (keyframes 5 KB, the others 500 B), no sound. Publishers whose number
  /// has no divisor in common with the GOP's 20 pictures never send at the same time.
  quiet,
};

/// A synthetic stream; valid FLV bodies with a random payload. All messages are kept in the form in which they go to
/// the wire (type 1 headers on chunk stream 4, chunks of 4,096 bytes), so a publisher patches three fields and writes:
/// the load costs a few microseconds a message. Deterministic.
class stream_shape {
 public:
  static constexpr uint32_t chunk_size = 4096;

  explicit stream_shape(weight w = weight::obs);

  /// onMetaData and the two configuration records.
  std::vector<uint8_t> preamble(uint32_t stream_id) const;

  /// When the next message is due, in nanoseconds after the stream's start.
  int64_t due_ns(const stream_position& at) const;
  /// The next message's wire bytes, stamped with `stamp_ns` and its number; moves `at` on. Valid until the next call.
  bytes next(stream_position& at, int64_t stamp_ns);
  /// The same for a stream that has fallen asleep: no picture, one audio frame whose timestamp is `timestamp`.
  bytes audio_only(stream_position& at, uint32_t timestamp, int64_t stamp_ns);

 private:
  struct frame {
    std::vector<uint8_t> wire;
    size_t stamp_at;
  };
  static frame make_frame(uint8_t type, bytes body);
  static bytes patch(frame& f, uint32_t delta, int64_t stamp_ns, uint64_t number);
  int64_t video_due_ns(uint64_t index) const { return static_cast<int64_t>(index) * frame_ns_; }
  int64_t audio_due_ns(uint64_t index) const;

  int64_t frame_ns_;
  std::vector<frame> video_, audio_;
};

/// What a publisher wrote into the head of a media message.
struct message_stamp {
  int64_t sent_ns = 0;
  uint32_t number = 0;  ///< of the message in its stream, from 0
};
std::optional<message_stamp> read_stamp(uint8_t type, bytes head);
/// Whether this is a coded picture: an FLV video body of AVC NALUs, not a configuration record.
bool is_coded_picture(uint8_t type, bytes head);

}  // namespace sluice::bench
