// The part of hub that knows where the segments of its source begin (HLS): counted in every hub alike, since each is
// told by the one before it.

#include <algorithm>

#include "media/hub.hpp"

namespace sluice::media {

void hub::begin_segments(const publication_start& start) {
  if (cuts_ || cut_later_) return;
  cuts_ = std::make_unique<segment_tracker>();
  cuts_->start(start);
  cuts_start_ = start;
}

std::optional<publication_start> hub::segments_start() const {
  if (!cuts_ || cuts_->running()) return std::nullopt;
  return cuts_start_;
}

std::optional<publication_start> hub::next_segments_start() const {
  if (!cuts_) return std::nullopt;
  return cuts_->clock().next_publication();
}

void hub::cut_header(const frame& f) {
  if (!cuts_ || !part_of(f).sequence_header) return;
  const auto view = f.body().view();
  const auto known = std::ranges::find(*headers_, f.header_slot, &frame::header_slot);
  if (known != headers_->end() && std::ranges::equal(known->body().view(), view)) return;
  cuts_->on_header(f.type == rtmp::video);
}

/// `f` is about to be appended, as message source_next_ of the source.
void hub::cut(const frame& f, uint32_t own_timestamp) {
  bool begins = false;
  if (cut_later_ && source_next_ >= cut_later_->at) {
    // A message that was given up before it came took the segment's begin with it: who needs segments counts anew.
    if (source_next_ == cut_later_->at) {
      cuts_ = std::make_unique<segment_tracker>();
      cuts_->resume(cut_later_->state,
                    std::ranges::any_of(*headers_, [](const frame& h) { return h.type == rtmp::video; }));
      begins = true;
    }
    cut_later_.reset();
  }
  if (!cuts_ || !part_of(f).coded) return;
  const auto step = cuts_->on_frame(f.type == rtmp::video, f.keyframe, own_timestamp);
  begins |= step.what == segment_step::outcome::begins || step.what == segment_step::outcome::restarts;
  if (begins) segments_.push_back({end(), cuts_->state()});
}

const hub::segment_begin* hub::next_segment(uint64_t number) const {
  for (size_t i = 0; i < segments_.size(); ++i)
    if (segments_[i].number >= number) return &segments_[i];
  return nullptr;
}

const segment_state* hub::segment_at(uint64_t number) const {
  const auto* next = next_segment(number);
  return next && next->number == number ? &next->state : nullptr;
}

}  // namespace sluice::media
