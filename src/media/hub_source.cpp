// The part of hub that knows its source: where a publication begins and goes on, and what its messages are called.

#include <algorithm>
#include <utility>

#include "media/hub.hpp"
#include "media/reader.hpp"

namespace sluice::media {
namespace {

// Each is a jump in the numbers or a new publication; a source that makes more within one log loses the oldest frames.
constexpr size_t spans_max = 64;

}  // namespace

void hub::begin_source(base::time_point now, std::string id) {
  live_ = true;
  ++sources_;
  source_begin_ = end();
  source_since_ = now;
  has_video_ = false;
  joins_.clear();
  floor_holds_ = false;
  headers_ = std::make_shared<header_set>();
  had_keyframe_ = false;
  source_ = std::move(id);
  source_next_ = 0;
  span_pending_ = !source_.empty();
  skip_ = headers_left_ = sender_offset_ = 0;
  cuts_.reset();
  cut_later_.reset();
  const bool seen = !readers_.empty() && timed_;
  rebase_pending_ = seen;
  if (!seen) {
    offset_ = 0;
    timed_ = false;
    trim();
  }
}

void hub::end_source() { live_ = false; }

void hub::follow_source() {
  ++sources_;
  source_begin_ = end();
  has_video_ = had_keyframe_ = false;
  joins_.clear();
  floor_holds_ = false;
  headers_ = std::make_shared<header_set>();
}

mark_outcome hub::on_mark(const mark& m, bool fresh, base::time_point now) {
  headers_left_ = m.headers;
  if (m.source.empty()) return {};
  mark_outcome outcome;
  if (m.source != source_) {
    outcome.other_source = true;
    begin_source(now, m.source);
    headers_left_ = m.headers;
    source_next_ = m.next;
    sender_offset_ = m.offset;
    cut_later_ = m.segment;
    if (m.segments_start) begin_segments(*m.segments_start);
    return outcome;
  }
  live_ = true;
  skip_ = 0;
  // Another sender may have another offset to the publisher's time; what readers see goes on as it was. The same sender
  // changes it when its own timeline takes a step.
  if (fresh && !rebase_pending_) offset_ += sender_offset_ - m.offset;
  if (!fresh && m.offset != sender_offset_) span_pending_ = true;
  sender_offset_ = m.offset;
  if (m.next < source_next_) {
    skip_ = source_next_ - m.next;
  } else if (m.next > source_next_) {
    outcome.missing = m.next - source_next_;
    source_next_ = m.next;
    span_pending_ = true;
  }
  return outcome;
}

void hub::open_span(const std::string& source, uint64_t first) {
  // A frame without a name is of no use to numbered readers: it goes with its span.
  while (spans_.size() >= spans_max) {
    ++evicted_;
    pop_front();
  }
  spans_.push_back({end(), source, first, source.empty() ? 0 : offset_ + sender_offset_});
}

void hub::open_pending_span() {
  span_pending_ = false;
  open_span(source_, source_next_);
}

void hub::resume_source(uint32_t offset) {
  live_ = true;
  rebase_pending_ = false;
  offset_ = offset;
}

void hub::append_header(rtmp::message msg, base::time_point now) {
  // The sender begins before the end of what is here: so do the headers, and what followed them is not sent again.
  if (skip_ > 0) return;
  const uint32_t timestamp = timed_ ? last_timestamp_ : msg.timestamp + offset_;
  const frame f =
      make_frame({msg.timestamp, msg.type, 0, 0, std::move(msg.payload)}, timestamp, now, limits_.strip_set_data_frame);
  const auto view = f.body().view();
  for (const frame& h : *headers_) {
    const auto known = h.body().view();
    if (h.header_slot == f.header_slot && std::equal(known.begin(), known.end(), view.begin(), view.end())) return;
  }
  if (!source_.empty()) {
    if (spans_.empty() || !spans_.back().source.empty()) open_span({}, 0);
    span_pending_ = true;
  }
  push(f);
}

const source_span* hub::span_of(uint64_t number) const {
  for (size_t i = spans_.size(); i-- > 0;)
    if (spans_[i].begin <= number) return &spans_[i];
  return nullptr;
}

uint64_t hub::span_end(uint64_t number) const {
  if (spans_.empty() || spans_.back().begin <= number) return UINT64_MAX;
  uint64_t end = UINT64_MAX;
  for (size_t i = spans_.size(); i-- > 0 && spans_[i].begin > number;) end = spans_[i].begin;
  return end;
}

std::optional<int64_t> hub::locate(std::string_view source, uint64_t number) const {
  std::optional<int64_t> oldest;
  auto next = static_cast<int64_t>(UINT64_MAX >> 1);
  for (size_t i = spans_.size(); i-- > 0; next = static_cast<int64_t>(spans_[i].begin)) {
    const source_span& s = spans_[i];
    if (s.source != source) continue;
    oldest = static_cast<int64_t>(s.begin) + static_cast<int64_t>(number) - static_cast<int64_t>(s.first);
    // A number between two runs is missing: on with the later run.
    if (number >= s.first) return std::min(*oldest, next);
  }
  return oldest;
}

}  // namespace sluice::media
