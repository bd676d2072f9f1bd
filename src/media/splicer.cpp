#include "media/splicer.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace sluice::media {
namespace {

// A replay comes in one burst: what has not matched after this time never will.
constexpr base::duration patience = std::chrono::milliseconds(1500);
// Without a keyframe to go on at, as any newcomer waits (hub).
constexpr base::duration keyframe_patience = std::chrono::seconds(10);
constexpr size_t held_bytes_max = 8u << 20;
constexpr size_t hashed_part = 128;
constexpr size_t message_overhead = 128;  // what one that is held costs beside its body

// Words, not bytes: every message of every viewer who has a pull of his own comes by here.
uint64_t mix(uint64_t h, uint64_t word) {
  h = (h ^ word) * 0x9E3779B97F4A7C15u;
  return h ^ h >> 32;
}

// Two chains side by side: one multiplication needs not wait for the one before it.
uint64_t mix(uint64_t h, base::bytes_view bytes) {
  uint64_t words[2] = {}, chains[2] = {h, ~h};
  for (; bytes.size() >= sizeof words; bytes = bytes.subspan(sizeof words)) {
    std::memcpy(words, bytes.data(), sizeof words);
    chains[0] = mix(chains[0], words[0]);
    chains[1] = mix(chains[1], words[1]);
  }
  words[0] = words[1] = 0;
  if (!bytes.empty()) std::memcpy(words, bytes.data(), bytes.size());
  return mix(mix(chains[0], words[0]), mix(chains[1], words[1]));
}

}  // namespace

uint32_t splicer::hash_of(const rtmp::message& msg) {
  const auto body = msg.payload.view();
  uint64_t h = mix(msg.type, body.size());
  h = mix(h, body.first(std::min(body.size(), hashed_part)));
  if (body.size() > 2 * hashed_part) h = mix(h, body.last(hashed_part));
  return static_cast<uint32_t>(h);
}

void splicer::remember(uint32_t hash, uint32_t timestamp) {
  if (count_ == remembered) {
    first_ = (first_ + 1) % remembered;
    --count_;
  }
  past_[(first_ + count_++) % remembered] = {hash, timestamp};
}

bool splicer::is_unique(size_t i) const {
  size_t alike = 0;
  for (size_t j = 0; j < count_; ++j) alike += past(j).hash == past(i).hash;
  return alike == 1;
}

void splicer::begin(base::time_point now) {
  joining_ = count_ > 0;
  holding_ = late_ = false;
  runs_.fill(0);
  telling_.fill(false);
  held_.clear();
  held_bytes_ = seen_ = 0;
  decide_at_ = now + patience;
}

void splicer::take(hub& h, rtmp::message msg, base::time_point now) {
  const message_kind kind = kind_of(msg);
  const bool media = (msg.type == rtmp::audio || msg.type == rtmp::video) && !kind.header;
  if (!joining_) return deliver(h, std::move(msg), media, now);
  if (kind.header) return h.append_header(std::move(msg), now);
  if (!media) return;
  if (msg.type == rtmp::video) has_video_ = true;
  if (match(msg)) {
    h.resume_source(offset_);
    return;
  }
  if (kind.keyframe || (!has_video_ && !holding_)) {
    held_.clear();
    held_bytes_ = 0;
    holding_ = true;
  }
  if (!holding_) return;
  held_bytes_ += msg.payload.size() + message_overhead;
  held_.push_back(std::move(msg));
  if (late_ || held_bytes_ > held_bytes_max) go_on_unmatched(h, now);
}

void splicer::deliver(hub& h, rtmp::message msg, bool media, base::time_point now) {
  const uint32_t hash = media ? hash_of(msg) : 0;
  if (msg.type == rtmp::video) has_video_ = true;
  h.append(std::move(msg), now);
  if (media) remember(hash, h.at(h.end() - 1).timestamp);
}

void splicer::on_timeout(hub& h, base::time_point now) {
  if (!joining_ || now < decide_at_) return;
  if (holding_ || late_) return go_on_unmatched(h, now);
  late_ = true;
  decide_at_ = now + keyframe_patience;
}

void splicer::go_on_unmatched(hub& h, base::time_point now) {
  ++gaps_;
  joining_ = false;
  const auto headers = h.headers();  // those of this source came already
  h.begin_source(now);
  h.adopt_headers(headers);
  held_bytes_ = 0;
  for (rtmp::message& msg : std::exchange(held_, {})) deliver(h, std::move(msg), true, now);
}

/// Whether `msg` is the last of what was delivered. Advances all places where a run of matches may stand.
bool splicer::match(const rtmp::message& msg) {
  const uint32_t hash = hash_of(msg);
  ++seen_;
  for (size_t i = count_; i-- > 0;) {  // downwards: runs_[i] grows from the old runs_[i - 1]
    if (past(i).hash != hash) {
      runs_[i] = 0;
      telling_[i] = false;
      continue;
    }
    runs_[i] = static_cast<uint8_t>(1 + (i > 0 ? runs_[i - 1] : 0));
    telling_[i] = (i > 0 && telling_[i - 1]) || is_unique(i);
  }
  const size_t last = count_ - 1;
  if (runs_[last] < std::min<size_t>({run_min, count_, seen_}) || !telling_[last]) return false;
  offset_ = past(last).timestamp - msg.timestamp;
  joining_ = false;
  held_.clear();
  return true;
}

}  // namespace sluice::media
