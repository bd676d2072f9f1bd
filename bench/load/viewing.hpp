#pragma once

#include <cstdint>
#include <optional>

#include "load/chunk_scanner.hpp"
#include "load/population.hpp"

namespace sluice::bench {

/// The longest time without a message, also the one that is not over yet.
class longest_pause {
 public:
  void came(int64_t now);
  int64_t now(int64_t at) const { return last_ == 0 ? 0 : at - last_; }
  int64_t longest(int64_t at) const;
  void reset(int64_t now) { last_ = now, longest_ = 0; }

 private:
  int64_t last_ = 0, longest_ = 0;
};

/// What a player makes of the messages that come, by whichever protocol: the first picture, the latency of each, and by
/// the publisher's numbers what is lost or comes twice.
class viewing {
 public:
  /// `up`: whether the first picture has come before. True if this is it.
  bool take(population& all, const scanned_message& m, int64_t opened_at, bool up);
  /// Adds its pauses to the population's samples.
  void report(population& all, int64_t now) const;
  void reset(int64_t now) { pause_.reset(now); }

 private:
  void audit(population& all, uint32_t number);

  std::optional<uint32_t> next_;  // the number that is to come
  longest_pause pause_;
};

}  // namespace sluice::bench
