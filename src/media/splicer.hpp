#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/time.hpp"
#include "media/hub.hpp"

namespace sluice::media {

/// Joins what an origin without numbered links (stock SRS, nginx-rtmp) sends to what another one sent before, so that
/// nothing comes twice: finds the last messages that were delivered in what comes now, by type, length and hash, never
/// by timestamp (SRS rebases those for each player), and goes on behind them, shifted to the time they were delivered
/// at. Without a match it goes on at the next keyframe, in the hub's own continuation of the timeline. For one hub and
/// its one source at a time.
class splicer {
 public:
  /// A new connection takes over. What comes is held back until it is clear where it belongs.
  void begin(base::time_point now);
  bool joining() const { return joining_; }
  /// A message of the source, in order: appends to `h` what belongs there.
  void take(hub& h, rtmp::message msg, base::time_point now);
  /// While joining(): it is decided by then at the latest, by take() or on_timeout().
  base::time_point deadline() const { return joining_ ? decide_at_ : base::never; }
  void on_timeout(hub& h, base::time_point now);
  /// Joins without a match: each is a gap that viewers may have seen.
  uint64_t gaps() const { return gaps_; }

  static constexpr size_t remembered = 64;
  /// So many messages in a row must match, or all that came, one of them unlike all others remembered: silence looks
  /// alike.
  static constexpr unsigned run_min = 3;

 private:
  struct print {
    uint32_t hash = 0;       // of type, length and parts of the body
    uint32_t timestamp = 0;  // as delivered
  };
  static uint32_t hash_of(const rtmp::message& msg);
  void remember(uint32_t hash, uint32_t timestamp);
  const print& past(size_t i) const { return past_[(first_ + i) % remembered]; }
  bool is_unique(size_t i) const;
  bool match(const rtmp::message& msg);
  void deliver(hub& h, rtmp::message msg, bool media, base::time_point now);
  void go_on_unmatched(hub& h, base::time_point now);

  std::array<print, remembered> past_;
  size_t first_ = 0, count_ = 0;
  std::array<uint8_t, remembered> runs_{};  // runs_[i]: how many in a row matched, ending at past(i)
  std::array<bool, remembered> telling_{};  // and one of them was unique
  std::vector<rtmp::message> held_;         // from the newest keyframe on
  size_t held_bytes_ = 0;
  size_t seen_ = 0;      // messages since begin()
  uint32_t offset_ = 0;  // to what is delivered, from the source's timestamps
  base::time_point decide_at_{};
  bool joining_ = false, has_video_ = false, holding_ = false;
  bool late_ = false;  // no match, and no keyframe yet to go on at
  uint64_t gaps_ = 0;
};

}  // namespace sluice::media
