#pragma once

#include <cstdint>

// Where the segments of a stream begin, and which numbers they have: a pure function of the stream's frames from a
// segment's begin on, so that every server that knows one segment's state cuts all later ones alike (HLS after a
// fail-over).
namespace sluice::media {

/// A segment as it begins. This is all that a server hands to the next one.
struct segment_state {
  uint64_t number = 0;           ///< EXT-X-MEDIA-SEQUENCE counts these
  uint64_t begin_ms = 0;         ///< DTS of the first frame; the low 32 bits are its timestamp
  int64_t zero_wall_ms = 0;      ///< wall clock (ms since 1970) at begin_ms 0
  uint64_t discontinuities = 0;  ///< discontinuity sequence number
  uint32_t target_ms = 2000;     ///< a segment is at least this long if nothing forces its end; at least 1000
  uint32_t advertised_s = 0;     ///< EXT-X-TARGETDURATION; 0 until the first segment is complete
  bool discontinuity = false;    ///< it does not join on to what was before: other source, codec or timeline
  bool operator==(const segment_state&) const = default;
};

/// How a publication begins. Both of its numbers are the wall clock in seconds, or those that go on from the
/// publication before, of whose last segment this server knows. A published segment lasts at least a second and has one
/// discontinuity at most, so neither of a later publication's numbers is ever below, on any server (of a publisher that
/// sends in real time).
struct publication_start {
  uint64_t number = 0;           ///< of the first segment
  uint64_t discontinuities = 0;  ///< its discontinuity sequence number
  int64_t wall_ms = 0;           ///< wall clock at the first frame
  uint32_t target_ms = 2000;
  uint32_t advertised_s =
      0;  ///< of an older publication in the same playlist, which may not change it (RFC 8216 §6.2.1)
  bool operator==(const publication_start&) const = default;
};

/// What the rule needs to know of a frame.
struct segment_frame {
  uint32_t timestamp = 0;  ///< ms, modulo 2^32
  bool video = false;      ///< else audio
  bool keyframe = false;
  bool has_video = false;  ///< the stream has a video track: then only keyframes may begin a segment
  bool changed = false;    ///< the frame's decoder configuration is another one than before
};

/// What became of a frame.
struct segment_step {
  enum class outcome : uint8_t {
    dropped,   ///< before the first frame that may begin a segment
    joins,     ///< belongs to the segment under way
    begins,    ///< begins a segment: state() is new, and the one before is complete
    restarts,  ///< the segment under way was given up (shorter than a second): its number begins anew with this frame
  };
  outcome what = outcome::dropped;
  uint64_t dts_ms = 0;    ///< on the segment's timeline; never below zero
  uint64_t ended_ms = 0;  ///< begins: where the segment before ended, on its own timeline
};

/// The rule:
/// - A segment begins at a keyframe (of an audio-only stream: at any frame) at least `target_ms` after the one before.
/// - It is forced where the next frame would make the segment longer than EXT-X-TARGETDURATION allows (its duration,
/// rounded,
///   may not exceed it: RFC 8216 §4.3.3.1), or than `longest_ms` while that is not known.
/// - EXT-X-TARGETDURATION is the target or the first segment's length, whichever is longer, rounded up; it never
/// changes.
/// - It is forced, with a discontinuity, by a new decoder configuration and by a jump of the timestamps.
/// No thread of its own, no clock, no memory.
class segment_clock {
 public:
  static constexpr uint32_t longest_ms = 10000;  ///< of a first segment, and how far timestamps may jump
  static constexpr uint32_t shortest_ms = 1000;  ///< of a published segment

  /// A new publication: the next frame that may begin a segment is the first one of `start.number`.
  void start(const publication_start& start);
  /// Goes on from a segment's begin; the next frame is the segment's first one.
  void resume(const segment_state& state);

  segment_step on_frame(const segment_frame& f);
  /// The publisher is gone: where the segment under way ends. Less than shortest_ms after its begin: it is not
  /// published.
  uint64_t end_ms() const;
  /// EXT-X-TARGETDURATION as it is once the segment under way is complete at `ended_ms`.
  uint32_t advertised_at(uint64_t ended_ms) const;
  /// The publisher is gone: how the next publication begins if its segments are to go on with the numbers of this one,
  /// in the same playlist. `wall_ms` is for the caller to set.
  publication_start next_publication() const;

  bool running() const { return running_; }
  /// Of the segment under way.
  const segment_state& state() const { return state_; }

 private:
  int64_t position(uint32_t timestamp) const;
  bool forced(const segment_frame& f, int64_t elapsed) const;
  segment_step open(const segment_frame& f, bool jumped, int64_t elapsed);
  void note(const segment_frame& f);

  segment_state state_;
  bool running_ = false;     // state_ is that of a segment under way
  uint32_t last_ = 0;        // timestamp of the latest frame
  uint32_t last_video_ = 0;  // and of the latest video frame
  bool has_last_video_ = false;
  int64_t furthest_ = 0;  // the latest position of the segment under way, after its begin
  uint32_t gap_ = 0;      // between the last two frames that moved it on
};

}  // namespace sluice::media
