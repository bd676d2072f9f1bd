#pragma once

#include "media/frame.hpp"
#include "media/segment_clock.hpp"

namespace sluice::media {

/// A segment clock that is fed with a stream's frames: what a hub keeps running, and what whoever makes segments runs
/// too, to the same end.
class segment_tracker {
 public:
  void start(const publication_start& start);
  /// Goes on from a segment's begin; the next frame is its first one. `has_video`: the headers in force name a video
  /// track.
  void resume(const segment_state& state, bool has_video);

  /// A sequence header that is not the same as before. True: it is simply that of the segment under way, whose first
  /// frame of that track has yet to come, and which joins on to nothing. Any other ends the segment.
  bool on_header(bool video);
  /// A frame with media at the publisher's own timestamp. `dropped` too where a new video configuration has not had its
  /// first keyframe.
  segment_step on_frame(bool video, bool keyframe, uint32_t timestamp);

  bool running() const { return clock_.running(); }
  /// The clock as it was when a frame began a segment, and as it is.
  const segment_state& state() const { return clock_.state(); }
  const segment_clock& clock() const { return clock_; }

 private:
  void open();
  segment_clock clock_;
  bool has_video_ = false;
  bool video_changed_ = false, audio_changed_ = false;  // the next frame of this kind begins a segment
  bool video_seen_ = false, audio_seen_ = false;        // frames of the segment under way
};

/// What a message of the first track is, which is the one that goes into segments; nothing for all others.
struct media_part {
  bool sequence_header = false;
  bool coded = false;  ///< holds a frame
};
media_part part_of(const frame& f);

}  // namespace sluice::media
