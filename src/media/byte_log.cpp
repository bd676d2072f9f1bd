#include "media/byte_log.hpp"

#include <algorithm>

namespace sluice::media {
namespace {

// Blocks end here even if more waits: the unit in which memory is given back.
constexpr size_t block_bytes_max = 256 * 1024;

run_ref share(std::vector<uint8_t> bytes) { return std::make_shared<const byte_run>(std::move(bytes)); }

}  // namespace

void byte_run::add_body(size_t at, base::slice body) {
  if (body.empty()) return;
  bodies_bytes_ += body.size();
  bodies_.push_back({at, std::move(body)});
}

void byte_run::reserve(size_t text_bytes, size_t bodies) {
  text_.reserve(text_bytes);
  bodies_.reserve(bodies);
}

size_t byte_run::gather(size_t offset, std::span<iovec> out, size_t count, size_t* bytes) const {
  const auto add = [&](const uint8_t* from, size_t size) {
    if (offset >= size) {
      offset -= size;
    } else if (count < out.size()) {
      out[count++] = {const_cast<uint8_t*>(from) + offset, size - offset};
      *bytes += size - offset;
      offset = 0;
    }
  };
  size_t at = 0;
  for (const body& b : bodies_) {
    if (count == out.size()) return count;
    add(text_.data() + at, b.at - at);
    add(b.bytes.data(), b.bytes.size());
    at = b.at;
  }
  add(text_.data() + at, text_.size() - at);
  return count;
}

byte_log::byte_log(hub& source, std::unique_ptr<stream_muxer> muxer, const byte_log_limits& limits,
                   byte_log_driver& driver)
    : hub_(source),
      muxer_(std::move(muxer)),
      limits_(limits),
      driver_(driver),
      reader_(source, *this, reader_start::keyframe) {
  on_frames();  // what the hub keeps for newcomers
}

byte_log::~byte_log() = default;

void byte_log::on_frames() {
  const uint64_t before = end();
  while (const frame* f = reader_.peek()) {
    take(*f, reader_.next_number());
    reader_.pop();
  }
  close_block();
  trim();
  if (end() > before && !std::exchange(pending_, true)) driver_.on_bytes_pending(*this);
}

void byte_log::take(const frame& f, uint64_t number) {
  // Not before there is something to put in: each of thousands of private logs would hold an empty block all the time.
  if (open_.text().capacity() == 0) open_.reserve(likely_text_bytes_, likely_bodies_);
  const auto due = reader_.take_headers();
  const join_point* join = hub_.join_at_or_after(number);
  if (join && join->number == number) {
    close_block();
    std::vector<uint8_t> headers, file_header;
    muxer_->headers(*join->headers, f.timestamp, headers);
    muxer_->file_header(file_header);
    // This log has missed something: so have all its readers.
    if (due && std::exchange(told_, true)) open_.text() = headers;
    next_.join = true;
    next_.headers = share(std::move(headers));
    next_.file_header = share(std::move(file_header));
  }
  const auto at = hub_.limits().gop_cache ? std::nullopt : muxer_->write_around_body(f, open_.text());
  if (at) {
    open_.add_body(*at, f.body());
  } else {
    muxer_->write(f, open_.text());
  }
  next_.arrival = f.arrival;
  if (open_.size() >= block_bytes_max) close_block();
}

void byte_log::close_block() {
  if (open_.size() == 0 && !next_.join) return;
  const bool join = next_.join;
  bytes_ += open_.size();
  likely_text_bytes_ = std::min(open_.text().size(), block_bytes_max);
  likely_bodies_ = open_.bodies();
  next_.bytes = std::make_shared<const byte_run>(std::exchange(open_, {}));
  blocks_.push_back(std::exchange(next_, {}));
  if (!join) return;
  newest_join_ = end() - 1;
  // Who waits begins here, however much more comes at once: a replay is to be had from its beginning.
  for (byte_reader* r : readers_)
    if (r->cursor_ == none) r->begin_at(newest_join_);
}

void byte_log::trim() {
  if (blocks_.empty()) return;
  const auto newest = blocks_.back().arrival;
  uint64_t slowest = end();
  // Where the hub keeps nothing for newcomers nothing is kept here but what those who are here have yet to take.
  const bool for_newcomers = hub_.limits().gop_cache;
  bool awaited = for_newcomers || readers_.empty();
  for (const byte_reader* r : readers_) {
    if (r->cursor_ == none) {
      awaited = true;
    } else {
      slowest = std::min(slowest, r->cursor_);
    }
  }
  if (awaited) slowest = std::min(slowest, newest_join_);
  while (blocks_.size() > (for_newcomers ? 1 : 0)) {
    const bool wanted = first_ >= slowest;
    const bool last = blocks_.size() == 1;
    const bool late = newest - blocks_.front().arrival > limits_.lag_max;
    // A join that has been given up here, having been taken, is no reason to skip what comes after it.
    const bool behind_join = first_ < newest_join_ && (newest_join_ != none || for_newcomers);
    if (wanted && (last || (bytes_ <= limits_.bytes_max && !(late && behind_join)))) return;
    bytes_ -= blocks_.front().bytes->size();
    if (first_ == newest_join_) newest_join_ = none;
    blocks_.pop_front();
    ++first_;
  }
}

bool byte_log::flush(size_t readers_max) {
  if (flush_at_ == 0) pending_ = false;
  for (size_t n = 0; flush_at_ < readers_.size(); ++n) {
    if (n == readers_max) return false;
    readers_[flush_at_++]->owner_.on_bytes();
  }
  flush_at_ = 0;
  // Now, not when more comes: the next log's block then goes where this one's is still in the cache.
  if (!hub_.limits().gop_cache) trim();
  return true;
}

void byte_log::detach(byte_reader& r) {
  // As in hub::detach(): readers leave during a flush too.
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

byte_reader::byte_reader(byte_log& log, byte_reader_owner& owner)
    : log_(log), owner_(owner), slot_(log.readers_.size()) {
  log_.readers_.push_back(this);
}

byte_reader::~byte_reader() { log_.detach(*this); }

void byte_reader::settle() {
  if (cursor_ != byte_log::none && cursor_ < log_.first_) {
    ++drops_;
    cursor_ = byte_log::none;
  }
  if (cursor_ == byte_log::none && log_.ready()) begin_at(log_.newest_join_);
}

void byte_reader::begin_at(uint64_t number) {
  cursor_ = number;
  const byte_block& join = log_.at(number);
  if (!std::exchange(begun_, true)) front_.push_back(join.file_header);
  front_.push_back(join.headers);
}

size_t byte_reader::gather(std::span<iovec> out, size_t* bytes) {
  settle();
  size_t count = 0;
  *bytes = 0;
  for (size_t i = 0; i < front_.size() && count < out.size(); ++i)
    count = front_[i]->gather(i == 0 ? offset_ : 0, out, count, bytes);
  if (cursor_ == byte_log::none) return count;
  for (uint64_t n = cursor_; n < log_.end() && count < out.size(); ++n)
    count = log_.at(n).bytes->gather(0, out, count, bytes);
  return count;
}

void byte_reader::consume(size_t bytes) {
  while (!front_.empty()) {
    const size_t rest = front_.front()->size() - offset_;
    if (bytes < rest) {
      offset_ += bytes;
      return;
    }
    bytes -= rest;
    offset_ = 0;
    front_.erase(front_.begin());
  }
  if (cursor_ == byte_log::none) return;
  while (cursor_ < log_.end()) {
    const run_ref& block = log_.at(cursor_).bytes;
    if (bytes < block->size()) {
      if (bytes == 0) return;
      front_.push_back(block);
      offset_ = bytes;
      ++cursor_;
      return;
    }
    bytes -= block->size();
    ++cursor_;
  }
}

bool byte_reader::has_pending() const {
  if (!front_.empty()) return true;
  return cursor_ == byte_log::none ? log_.ready() : cursor_ < log_.end();
}

}  // namespace sluice::media
