#include "media/hub.hpp"

#include <algorithm>

#include "media/reader.hpp"

namespace sluice::media {
namespace {

constexpr size_t headers_max = 16;
// Where no keyframe can be waited for (audio only, or video that never sends one) a newcomer starts at a mark made this
// often.
constexpr base::duration mark_interval = std::chrono::seconds(1);
constexpr base::duration keyframe_patience = std::chrono::seconds(10);

// What a frame holds in memory: its bytes, its place in the log, and its block's overhead.
size_t cost(const frame& f) { return f.wire.size() + sizeof(frame) + 64; }

void put_header(header_set& set, const frame& f) {
  const auto same =
      std::find_if(set.begin(), set.end(), [&](const frame& h) { return h.header_slot == f.header_slot; });
  if (same != set.end()) {
    *same = f;
  } else if (set.size() < headers_max) {
    // Metadata first: players read codec hints from it before any sequence header.
    set.insert(f.type == rtmp::data_amf0 || f.type == rtmp::data_amf3 ? set.begin() : set.end(), f);
  }
}

uint32_t to_ms(base::duration d) {
  return static_cast<uint32_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

}  // namespace

hub::hub(const hub_limits& limits, hub_driver& driver)
    : limits_(limits), driver_(driver), headers_(std::make_shared<header_set>()) {}

hub::~hub() = default;

void hub::append(rtmp::message msg, base::time_point now) {
  if (headers_left_ > 0) {
    --headers_left_;
    return append_header(std::move(msg), now);
  }
  if (skip_ > 0) {
    --skip_;
    return;
  }
  take(std::move(msg), now);
}

void hub::take(rtmp::message msg, base::time_point now) {
  const uint32_t original = msg.timestamp;
  frame f = make_frame(std::move(msg), original + offset_, now, limits_.strip_set_data_frame);
  const bool media = f.type == rtmp::audio || f.type == rtmp::video;
  if (rebase_pending_) {
    // The new source counts from a zero of its own; players have seen the old one's. The timeline goes on by the time
    // that passed.
    const bool fixes_offset = media && !f.header;
    if (fixes_offset) {
      offset_ = last_timestamp_ + std::max(1u, to_ms(now - last_arrival_)) - original;
      rebase_pending_ = false;
      span_pending_ = !source_.empty();  // from here on with another offset
    }
    const uint32_t timestamp = fixes_offset ? original + offset_ : last_timestamp_;
    f = make_frame({timestamp, f.type, 0, 0, f.body()}, timestamp, now, false);
  }
  if (media && !f.header && !rebase_pending_) note_time(f);
  if (span_pending_) open_pending_span();
  if (media && !f.header) cut(f, original - sender_offset_);
  ++source_next_;
  push(std::move(f));
}

// The last timestamp is the latest: of two tracks one is behind, but a source that jumps back has begun anew.
void hub::note_time(const frame& f) {
  constexpr int32_t interleaving_max_ms = 10'000;
  const auto step = static_cast<int32_t>(f.timestamp - last_timestamp_);
  if (!timed_ || step > 0 || step < -interleaving_max_ms) last_timestamp_ = f.timestamp;
  timed_ = true;
  last_arrival_ = f.arrival;
}

void hub::append_replica(const frame& f, uint64_t number) {
  if (number < end()) return;  // seen already
  if (number > end()) {
    // A hole, made by the home hub's limits: what came before is of no use to a decoder any more.
    while (!frames_.empty()) pop_front();
    first_ = flushed_ = number;
  }
  live_ = true;
  last_arrival_ = f.arrival;
  last_timestamp_ = f.timestamp;
  push(f);
}

void hub::adopt_headers(std::shared_ptr<const header_set> headers) { headers_ = std::move(headers); }

void hub::push(frame f) {
  if (f.header) note_header(f);
  note_join(f, end());
  bytes_ += cost(f);
  newest_arrival_ = f.arrival;
  if (frames_.empty()) front_arrival_ = f.arrival;
  frames_.push_back(std::move(f));
  // The bound holds at all times, not only after a flush: a source that outruns the driver must not grow the log.
  while (bytes_ > limits_.bytes_max && frames_.size() > 1) {
    ++evicted_;
    pop_front();
  }
  if (!std::exchange(pending_, true)) driver_.on_frames_pending(*this);
}

void hub::note_header(const frame& f) {
  cut_header(f);
  auto next = std::make_shared<header_set>(*headers_);
  put_header(*next, f);
  headers_ = std::move(next);
}

std::shared_ptr<const header_set> hub::headers_at(uint64_t number) const {
  size_t j = joins_.size();
  while (j > 0 && joins_[j - 1].number > number) --j;
  // Without a join point before it, the log tells only if it has not given up its beginning.
  if (j == 0 && first_ > 0) return headers_;
  auto set = j > 0 ? std::make_shared<header_set>(*joins_[j - 1].headers) : std::make_shared<header_set>();
  for (uint64_t n = j > 0 ? joins_[j - 1].number : first_; n < std::min(number, end()); ++n)
    if (at(n).header) put_header(*set, at(n));
  return set;
}

void hub::note_join(const frame& f, uint64_t number) {
  if (f.type == rtmp::video && !f.header) has_video_ = true;
  bool join = f.keyframe;
  if (join) {
    had_keyframe_ = true;
    last_keyframe_ = f.arrival;
  } else if (f.type == rtmp::audio && !f.header) {
    // A start without a keyframe shows a broken picture: only for want of a better one.
    const bool hopeless =
        !has_video_ || (had_keyframe_ ? f.arrival - last_keyframe_ >= std::max(keyframe_patience, limits_.age_max)
                                      : f.arrival - source_since_ >= keyframe_patience);
    join = hopeless && (joins_.empty() || f.arrival - joins_.back().arrival >= mark_interval);
  }
  if (!join) return;
  joins_.push_back({number, f.timestamp, f.arrival, headers_});
  floor_holds_ = false;
}

const join_point* hub::newest_join() const {
  // Only what has been flushed can be read: a newer join point comes with the next flush.
  for (size_t i = joins_.size(); i-- > 0;)
    if (joins_[i].number < flushed_) return &joins_[i];
  return nullptr;
}

const join_point* hub::join_at_or_after(uint64_t number) const {
  for (size_t i = 0; i < joins_.size(); ++i)
    if (joins_[i].number >= number) return joins_[i].number < flushed_ ? &joins_[i] : nullptr;
  return nullptr;
}

bool hub::flush(size_t readers_max) {
  if (flush_at_ == 0) {
    flushed_ = end();
    pending_ = false;
  }
  for (size_t n = 0; flush_at_ < readers_.size(); ++n) {
    if (n == readers_max) return false;
    readers_[flush_at_++]->owner_.on_frames();
  }
  flush_at_ = 0;
  // The log's front is cold memory: it is touched only when something may go.
  if (!nothing_to_trim()) trim();
  return true;
}

// True if the floor of the last trim, set by a join point, still holds, the log does not reach below it, and its oldest
// frame is young.
bool hub::nothing_to_trim() const {
  return floor_holds_ && first_ >= floor_ && newest_arrival_ - front_arrival_ <= limits_.age_max + limits_.retain;
}

void hub::trim() {
  if (held_) return;
  uint64_t floor = flushed_;
  if (const auto* join = limits_.gop_cache ? newest_join() : nullptr) floor = std::min(floor, join->number);
  if (limits_.retain > base::duration::zero() && !joins_.empty()) {
    size_t j = joins_.size() - 1;
    while (j > 0 && joins_.back().arrival - joins_[j].arrival < limits_.retain) --j;
    floor = std::min(floor, joins_[j].number);
  }
  floor_ = floor;
  floor_holds_ = floor < flushed_ && !joins_.empty() && joins_.back().number < flushed_;
  uint64_t slowest = floor;
  for (const reader* r : readers_)
    if (!r->waiting_) slowest = std::min(slowest, r->cursor_ + (r->offset_ > 0 ? 1 : 0));
  const auto newest = frames_.empty() ? base::time_point{} : frames_.back().arrival;
  while (!frames_.empty()) {
    const auto age = newest - frames_.front().arrival;
    const bool lagged_for = first_ >= slowest && age <= limits_.lag_max;
    // Without keyframes there is no GOP to retain: then it is the time that counts.
    const bool retained = joins_.empty() && age < limits_.retain;
    if (first_ >= floor ? age <= limits_.age_max + limits_.retain : lagged_for || retained) break;
    if (first_ >= floor) ++evicted_;
    pop_front();
  }
}

bool hub::drop_oldest_group() {
  if (joins_.size() < 2) return false;
  const uint64_t next = joins_[1].number;
  for (const reader* r : readers_)
    if (!r->waiting_ && r->cursor_ < next) return false;
  while (first_ < next) {
    ++evicted_;
    pop_front();
  }
  return true;
}

void hub::pop_front() {
  bytes_ -= cost(frames_.front());
  frames_.pop_front();
  ++first_;
  if (!frames_.empty()) front_arrival_ = frames_.front().arrival;
  if (flushed_ < first_) flushed_ = first_;
  while (!joins_.empty() && joins_.front().number < first_) joins_.pop_front();
  while (!segments_.empty() && segments_.front().number < first_) segments_.pop_front();
  while (spans_.size() > 1 && spans_[1].begin <= first_) spans_.erase(spans_.begin());
}

void hub::attach(reader& r) {
  r.slot_ = readers_.size();
  readers_.push_back(&r);
}

void hub::detach(reader& r) {
  // Readers leave during a flush too: keep those already shown in front of flush_at_, without a hole.
  size_t hole = r.slot_;
  const auto move_to_hole = [&](size_t from) {
    if (from == hole) return;
    readers_[hole] = readers_[from];
    readers_[hole]->slot_ = hole;
    hole = from;
  };
  if (hole < flush_at_) move_to_hole(--flush_at_);
  move_to_hole(readers_.size() - 1);
  readers_.pop_back();
}

}  // namespace sluice::media
