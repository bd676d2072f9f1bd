#include "media/segment_clock.hpp"

#include <algorithm>
#include <cstdlib>

namespace sluice::media {
namespace {

// What a duration, rounded to the nearest second, may be at most.
constexpr int64_t longest_within(uint32_t target_s) { return int64_t{target_s} * 1000 + 499; }

constexpr int32_t distance(uint32_t from, uint32_t to) { return static_cast<int32_t>(to - from); }

}  // namespace

void segment_clock::start(const publication_start& start) {
  *this = {};
  state_.number = start.number;
  state_.discontinuities = start.discontinuities;
  state_.zero_wall_ms = start.wall_ms;  // becomes that of timestamp 0 with the first frame
  state_.target_ms = std::max(start.target_ms, shortest_ms);
  state_.advertised_s = start.advertised_s;
  state_.discontinuity = true;
}

void segment_clock::resume(const segment_state& state) {
  *this = {};
  state_ = state;
  // A peer's figures: nothing that it says may overflow ours.
  constexpr uint64_t begin_ms_max = uint64_t{1} << 48;
  constexpr int64_t wall_ms_max = int64_t{1} << 50;
  constexpr uint32_t target_s_max = 3600;
  state_.begin_ms = state.begin_ms % begin_ms_max;
  state_.zero_wall_ms = std::clamp(state.zero_wall_ms, -wall_ms_max, wall_ms_max);
  state_.target_ms = std::clamp(state.target_ms, shortest_ms, target_s_max * 1000);
  state_.advertised_s = std::min(state.advertised_s, target_s_max);
  running_ = true;
  last_ = static_cast<uint32_t>(state.begin_ms);
}

int64_t segment_clock::position(uint32_t timestamp) const {
  return distance(static_cast<uint32_t>(state_.begin_ms), timestamp);
}

void segment_clock::note(const segment_frame& f) {
  last_ = f.timestamp;
  if (f.video) {
    last_video_ = f.timestamp;
    has_last_video_ = true;
  }
  const int64_t at = position(f.timestamp);
  if (at > furthest_) {
    gap_ = static_cast<uint32_t>(at - furthest_);
    furthest_ = at;
  }
}

bool segment_clock::forced(const segment_frame& f, int64_t elapsed) const {
  const int64_t most =
      state_.advertised_s > 0 ? longest_within(state_.advertised_s) : std::max<int64_t>(longest_ms, state_.target_ms);
  // Video: while the next frame would still be in time. Audio of a stream with video only where that has stopped.
  if (f.video && has_last_video_) return elapsed + std::max(distance(last_video_, f.timestamp), 0) > most;
  if (f.has_video) return elapsed > most;
  return elapsed + std::max(distance(last_, f.timestamp), 0) > most;
}

uint64_t segment_clock::end_ms() const {
  int64_t length = furthest_ + (furthest_ > 0 ? int64_t{gap_} : 0);
  if (state_.advertised_s > 0) length = std::min(length, longest_within(state_.advertised_s));
  return state_.begin_ms + static_cast<uint64_t>(length);
}

uint32_t segment_clock::advertised_at(uint64_t ended_ms) const {
  if (state_.advertised_s > 0) return state_.advertised_s;
  const uint64_t longest = std::max<uint64_t>(state_.target_ms, ended_ms - state_.begin_ms);
  return static_cast<uint32_t>((longest + 999) / 1000);
}

publication_start segment_clock::next_publication() const {
  publication_start next{state_.number, state_.discontinuities, 0, state_.target_ms, state_.advertised_s};
  if (!running_) return next;
  const uint64_t ended_ms = end_ms();
  const bool complete = ended_ms - state_.begin_ms >= shortest_ms;  // else its number begins anew
  if (complete || !state_.discontinuity) ++next.discontinuities;
  if (!complete) return next;
  ++next.number;
  next.advertised_s = advertised_at(ended_ms);
  return next;
}

segment_step segment_clock::open(const segment_frame& f, bool jumped, int64_t elapsed) {
  segment_step step;
  // What came in between counts, but not the time in which nothing came; and never more than was announced.
  step.ended_ms = jumped ? end_ms() : state_.begin_ms + static_cast<uint64_t>(std::max<int64_t>(elapsed, furthest_));
  if (state_.advertised_s > 0) {
    step.ended_ms =
        std::min(step.ended_ms, state_.begin_ms + static_cast<uint64_t>(longest_within(state_.advertised_s)));
  }
  const bool too_short = step.ended_ms - state_.begin_ms < shortest_ms;
  step.what = too_short ? segment_step::outcome::restarts : segment_step::outcome::begins;
  const bool breaks = jumped || f.changed;
  if (!too_short) {
    state_.advertised_s = advertised_at(step.ended_ms);
    ++state_.number;
    state_.discontinuity = false;
  }
  // A number that begins anew was counted when it began first.
  if (breaks && !state_.discontinuity) {
    ++state_.discontinuities;
    state_.discontinuity = true;
  }
  if (jumped) {
    state_.zero_wall_ms += static_cast<int64_t>(step.ended_ms) - int64_t{f.timestamp};  // the date goes on
    state_.begin_ms = f.timestamp;
  } else {
    state_.begin_ms = static_cast<uint64_t>(std::max<int64_t>(0, static_cast<int64_t>(state_.begin_ms) + elapsed));
  }
  step.dts_ms = state_.begin_ms;
  // As after resume(): the next server knows no more than the state.
  furthest_ = 0;
  gap_ = 0;
  has_last_video_ = false;
  note(f);
  return step;
}

segment_step segment_clock::on_frame(const segment_frame& f) {
  const bool may_begin = f.video ? f.keyframe : !f.has_video;
  if (!running_) {
    if (!may_begin) return {};
    running_ = true;
    state_.begin_ms = f.timestamp;
    state_.zero_wall_ms -= int64_t{f.timestamp};
    note(f);
    return {segment_step::outcome::begins, state_.begin_ms, state_.begin_ms};
  }
  const int64_t elapsed = position(f.timestamp);
  const bool jumped = std::abs(int64_t{distance(last_, f.timestamp)}) > longest_ms || elapsed < -int64_t{longest_ms};
  if (jumped || f.changed || (may_begin && elapsed >= int64_t{state_.target_ms}) || forced(f, elapsed)) {
    return open(f, jumped, elapsed);
  }
  note(f);
  const auto dts = static_cast<int64_t>(state_.begin_ms) + elapsed;
  return {segment_step::outcome::joins, static_cast<uint64_t>(std::max<int64_t>(0, dts)), 0};
}

}  // namespace sluice::media
