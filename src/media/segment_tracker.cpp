#include "media/segment_tracker.hpp"

#include "proto/flv/tag.hpp"

namespace sluice::media {

void segment_tracker::start(const publication_start& start) {
  clock_.start(start);
  has_video_ = false;
  open();
}

void segment_tracker::resume(const segment_state& state, bool has_video) {
  clock_.resume(state);
  has_video_ = has_video;
  open();
}

void segment_tracker::open() { video_changed_ = audio_changed_ = video_seen_ = audio_seen_ = false; }

bool segment_tracker::on_header(bool video) {
  if (video) has_video_ = true;
  const bool fresh = !clock_.running() || clock_.state().discontinuity;
  if (fresh && !(video ? video_seen_ : audio_seen_)) return true;
  (video ? video_changed_ : audio_changed_) = true;
  return false;
}

segment_step segment_tracker::on_frame(bool video, bool keyframe, uint32_t timestamp) {
  if (video && video_changed_ && !keyframe) return {};
  has_video_ = has_video_ || video;
  // A keyframe is the better place for new audio too.
  const bool changed = video ? video_changed_ || (audio_changed_ && keyframe) : audio_changed_;
  const auto step = clock_.on_frame({timestamp, video, keyframe, has_video_, changed && clock_.running()});
  if (step.what == segment_step::outcome::begins || step.what == segment_step::outcome::restarts) open();
  if (step.what != segment_step::outcome::dropped) (video ? video_seen_ : audio_seen_) = true;
  return step;
}

media_part part_of(const frame& f) {
  media_part part;
  if (f.type == rtmp::video) {
    const auto tag = flv::parse_video_tag(f.body().view());
    if (tag && tag->track_id == 0) part = {tag->sequence_header, tag->coded};
  } else if (f.type == rtmp::audio) {
    const auto tag = flv::parse_audio_tag(f.body().view());
    if (tag && tag->track_id == 0) part = {tag->sequence_header, tag->coded};
  }
  return part;
}

}  // namespace sluice::media
