#include "media/reader.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace sluice::media {
namespace {

void append_whole(const rtmp::wire_message& wire, base::send_buffer& out) {
  std::array<iovec, 64> parts;
  for (size_t done = 0; done < wire.size();) {
    size_t taken = 0;
    const size_t count = wire.gather(done, parts, 0, &taken);
    for (size_t i = 0; i < count; ++i) out.append({static_cast<const uint8_t*>(parts[i].iov_base), parts[i].iov_len});
    done += taken;
  }
}

bool is_metadata(const frame& f) { return f.header && f.type != rtmp::audio && f.type != rtmp::video; }

// A header stands at the time of the frame that follows it, not at the time at which it was first sent.
void append_header(const frame& header, uint32_t timestamp, uint32_t stream_id, base::send_buffer& out) {
  append_whole(
      rtmp::wire_message::serialise(base::slice::copy_of(header.body().view(), rtmp::message_headroom), header.type,
                                    timestamp, chunk_stream_of(header.type), stream_id, wire_chunk_size),
      out);
}

}  // namespace

reader::reader(hub& h, reader_owner& owner, reader_start start) : hub_(h), owner_(owner), attached_(h.end()) {
  hub_.attach(*this);
  if (start == reader_start::keyframe) {
    cursor_ = hub_.limits_.gop_cache ? 0 : hub_.flushed_;
    return;
  }
  waiting_ = false;
  cursor_ = hub_.begin();
  if (cursor_ == 0) return;
  if (!hub_.joins_.empty()) {
    const auto& oldest = hub_.joins_.front();
    cursor_ = oldest.number;
    due_headers_ = oldest.headers;
    due_timestamp_ = oldest.timestamp;
  } else if (cursor_ < hub_.end()) {
    due_headers_ = hub_.headers();
    due_timestamp_ = hub_.at(cursor_).timestamp;
  }
}

reader::~reader() { hub_.detach(*this); }

void reader::set_numbered() {
  numbered_ = true;
  joining_ = false;
  if (waiting_ || cursor_ == hub_.begin()) return;
  cursor_ = hub_.begin();
  due_timestamp_ = hub_.at(cursor_).timestamp;
}

void reader::go_on_at(uint64_t number) {
  if (number < hub_.begin() || number > hub_.end() || hub_.begin() == hub_.end()) return;
  cursor_ = number;
  due_headers_ = hub_.headers_at(number);
  due_timestamp_ = hub_.at(std::min(number, hub_.end() - 1)).timestamp;
}

bool reader::joined() {
  if (!waiting_) return true;
  if (resume_ && !resumed()) return false;
  if (!waiting_) return true;
  const auto* join = hub_.newest_join();
  // Who was there before the first keyframe gets the stream from it on, however much has come at once.
  if (join && drops_ == 0 && join->number >= attached_) join = hub_.join_at_or_after(attached_);
  if (!join || join->number < cursor_) return false;
  if (cursor_ > 0 && drops_ > 0) dropped_ += join->number - cursor_;
  join_at(*join);
  return true;
}

void reader::join_at(const join_point& join) {
  cursor_ = join.number;
  waiting_ = false;
  mark_due_ = true;
  if (join.headers != sent_headers_) {
    due_headers_ = join.headers;
    due_timestamp_ = join.timestamp;
  }
}

/// False while the message to go on with may still come. When it has come, or never will, resume_ is empty.
bool reader::resumed() {
  const auto at = hub_.locate(resume_->source, resume_->next);
  if (!at) {
    if (!hub_.live() || hub_.source() == resume_->source) return false;  // nobody publishes yet
    resume_.reset();                                                     // somebody else does: as any newcomer
    return true;
  }
  if (*at >= static_cast<int64_t>(hub_.flushed_)) {
    if (hub_.live() && hub_.source() != resume_->source) resume_.reset();
    return resume_ == nullptr;
  }
  if (*at >= static_cast<int64_t>(hub_.begin())) {
    cursor_ = static_cast<uint64_t>(*at);
    waiting_ = false;
  } else if (const auto* oldest = hub_.join_at_or_after(hub_.begin())) {
    join_at(*oldest);
  } else {
    return false;
  }
  resume_.reset();
  return true;
}

void reader::catch_up() {
  if (waiting_ || cursor_ >= hub_.begin()) return;
  // The log has moved past this reader: on from the newest keyframe, with the headers that hold there.
  ++drops_;
  waiting_ = true;
  mark_due_ = true;
  dropped_ += hub_.begin() - cursor_;
  cursor_ = hub_.begin();
}

void reader::prepare(base::send_buffer& prelude) {
  if (!at_boundary()) return;
  catch_up();
  if (!joined()) return;
  if (numbered_) return prepare_numbered(prelude);
  if (due_headers_) {
    for (const auto& header : *due_headers_) {
      joining_ &= is_metadata(header);
      append_header(header, joining_ ? 0 : due_timestamp_, stream_id_, prelude);
    }
    sent_headers_ = std::exchange(due_headers_, nullptr);
  }
  if (joining_) prepare_joining(prelude);
}

/// Metadata that is a frame of the log, such as the origin sent it to the only viewer of this hub.
void reader::prepare_joining(base::send_buffer& prelude) {
  for (; cursor_ < shown_end(); ++cursor_) {
    const frame& f = hub_.at(cursor_);
    joining_ = is_metadata(f);
    if (!joining_) return;
    append_header(f, 0, stream_id_, prelude);
  }
}

/// A mark before the frame at the cursor, if its number is not what the receiver counts to.
void reader::prepare_numbered(base::send_buffer& prelude) {
  if (cursor_ >= shown_end()) return;
  const source_span* span = hub_.span_of(cursor_);
  if (!span || (!mark_due_ && span->begin == marked_span_ && !span->source.empty())) return;
  mark m;
  if (span->source.empty()) {
    m.headers = 1;
  } else {
    m.source = span->source;
    m.next = span->first + (cursor_ - span->begin);
    m.offset = span->offset;
    // A receiver to whom this is new counts segments from there on.
    const auto* segment = hub_.next_segment(cursor_);
    if (segment && segment->number < hub_.span_end(cursor_)) {
      m.segment = mark::segment_begin{span->first + (segment->number - span->begin), segment->state};
    } else if (span->source == hub_.source()) {
      m.segments_start = hub_.segments_start();
    }
    if (due_headers_) m.headers = static_cast<uint32_t>(due_headers_->size());
    mark_due_ = false;
    marked_span_ = span->begin;
  }
  const auto said = encode_mark(m);
  append_whole(rtmp::wire_message::serialise(base::slice::copy_of(said, rtmp::message_headroom), rtmp::data_amf0,
                                             hub_.at(cursor_).timestamp, chunk_stream_of(rtmp::data_amf0), stream_id_,
                                             wire_chunk_size),
               prelude);
  if (!due_headers_ || span->source.empty()) return;
  for (const auto& header : *due_headers_) append_header(header, due_timestamp_, stream_id_, prelude);
  sent_headers_ = std::exchange(due_headers_, nullptr);
}

/// Up to where frames may be gathered in one go, starting at frame `from`, which is the one at the cursor or, while
/// that is half sent, the next: a numbered receiver is told of each span before its first frame.
uint64_t reader::gather_end(uint64_t from) const {
  if (!numbered_) return shown_end();
  const source_span* span = hub_.span_of(from);
  if (!span) return shown_end();
  if (span->source.empty()) return from == cursor_ ? std::min(shown_end(), from + 1) : from;
  if (mark_due_ || span->begin != marked_span_) return from;
  return std::min(shown_end(), hub_.span_end(from));
}

bool reader::skipped(const frame& f) const {
  if (paused_) return true;
  if (f.type == rtmp::audio) return !audio_;
  if (f.type == rtmp::video) return !video_;
  return false;
}

// gather() and consume() walk the same frames by the same rule; `needs_key` is the one thing that changes on the way.
static bool passes(const frame& f, bool skipped, bool& needs_key) {
  if (f.header) return true;  // what comes after a pause cannot be decoded without
  if (skipped) return false;
  if (f.type != rtmp::video || !needs_key) return true;
  if (f.keyframe) needs_key = false;
  return f.keyframe;
}

size_t reader::gather_wire(const rtmp::wire_message& wire, size_t offset, std::span<iovec> out, size_t count,
                           size_t* taken) {
  // RTMP 1.0 §5.3.1.2.1: bytes 8 to 11 of a type 0 header with a one-byte basic header are the message stream id,
  // little-endian.
  constexpr size_t id_at = 8;
  patched_header header;
  if (stream_id_ == wire_stream_id || offset >= header.size()) return wire.gather(offset, out, count, taken);
  *taken = 0;
  if (count + 1 >= out.size()) return count;
  const size_t end = wire.gather(offset, out, count + 1, taken);
  const size_t patched = header.size() - offset;
  iovec& whole = out[count + 1];
  std::memcpy(header.data() + offset, whole.iov_base, patched);
  for (size_t i = 0; i < 4; ++i) header[id_at + i] = static_cast<uint8_t>(stream_id_ >> (8 * i));
  patched_->push_back(header);
  out[count] = {patched_->back().data() + offset, patched};
  whole = {static_cast<uint8_t*>(whole.iov_base) + patched, whole.iov_len - patched};
  return end;
}

size_t reader::gather(std::span<iovec> out, size_t* bytes, bool rest_only) {
  size_t count = 0;
  *bytes = 0;
  if (stream_id_ != wire_stream_id) {
    patched_ = std::make_unique<std::vector<patched_header>>();
    patched_->reserve(out.size());  // the parts point into it
  }
  const auto add = [&](const rtmp::wire_message& wire, size_t offset) {
    size_t taken = 0;
    count = gather_wire(wire, offset, out, count, &taken);
    *bytes += taken;
    return offset + taken == wire.size();
  };
  uint64_t n = cursor_;
  if (offset_ > 0) {
    if (!add(partial_, offset_)) return count;
    ++n;
  }
  if (rest_only || waiting_ || n < hub_.begin()) return count;
  bool needs_key = video_needs_key_;
  const uint64_t end = gather_end(n);
  for (; n < end && count < out.size(); ++n) {
    const frame& f = hub_.at(n);
    if (passes(f, skipped(f), needs_key) && !add(f.wire, 0)) break;
  }
  // Nothing wanted up to here: what is skipped must not hold the log, nor be found again when it is wanted.
  if (count == 0) cursor_ = n;
  return count;
}

void reader::consume(size_t bytes) {
  if (offset_ > 0) {
    const size_t rest = partial_.size() - offset_;
    if (bytes < rest) {
      offset_ += bytes;
      return;
    }
    bytes -= rest;
    offset_ = 0;
    partial_ = {};
    ++cursor_;
  }
  if (waiting_ || cursor_ < hub_.begin()) return;
  for (; cursor_ < shown_end(); ++cursor_) {
    const frame& f = hub_.at(cursor_);
    bool needs_key = video_needs_key_;
    if (!passes(f, skipped(f), needs_key)) continue;
    if (bytes == 0) return;
    video_needs_key_ = needs_key;
    if (bytes < f.wire.size()) {
      offset_ = bytes;
      partial_ = f.wire;
      return;
    }
    bytes -= f.wire.size();
  }
}

std::vector<uint8_t> reader::rest() {
  std::vector<uint8_t> bytes;
  std::array<iovec, 64> parts;
  while (offset_ > 0) {
    size_t taken = 0;
    const size_t count = gather(parts, &taken, true);
    for (size_t i = 0; i < count; ++i) {
      const auto* part = static_cast<const uint8_t*>(parts[i].iov_base);
      bytes.insert(bytes.end(), part, part + parts[i].iov_len);
    }
    consume(taken);
  }
  return bytes;
}

bool reader::has_pending() const {
  if (offset_ > 0) return true;
  return waiting_ ? hub_.newest_join() != nullptr : cursor_ < shown_end();
}

const frame* reader::peek() {
  catch_up();
  if (!joined()) return nullptr;
  return cursor_ < hub_.flushed_ ? &hub_.at(cursor_) : nullptr;
}

void reader::pop() { ++cursor_; }

std::shared_ptr<const header_set> reader::take_headers() {
  if (due_headers_) sent_headers_ = due_headers_;
  return std::exchange(due_headers_, nullptr);
}

void reader::want_video(bool on) {
  if (on && !video_) video_needs_key_ = true;
  video_ = on;
}

void reader::pause(bool on) {
  if (!on && paused_) video_needs_key_ = true;
  paused_ = on;
}

size_t reader::backlog() const {
  size_t bytes = offset_ > 0 ? partial_.size() - offset_ : 0;
  for (uint64_t n = std::max(cursor_ + (offset_ > 0), hub_.begin()); n < std::min(hub_.end(), end_); ++n)
    bytes += hub_.at(n).wire.size();
  return bytes;
}

}  // namespace sluice::media
