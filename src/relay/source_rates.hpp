#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <mutex>

#include "base/endpoint.hpp"
#include "base/time.hpp"

namespace sluice::relay {

/// As what a client is counted: an IPv4 address; of IPv6 the network of 64 bits, of which one host may use all
/// addresses (RFC 4291 section 2.5.1).
inline base::ip_address counted_source(const base::ip_address& from) {
  if (from.is_v4()) return from;
  auto bytes = from.bytes();
  std::fill(bytes.begin() + 8, bytes.end(), uint8_t{0});
  return base::ip_address::v6(bytes);
}

/// How often sources ask for something, in a fixed amount of memory: one table of counts for a second. Sources that
/// share a count share its limit, which is why that is far above what one client needs. One thread.
class source_rates {
 public:
  /// `seed`: random, so that nobody chooses whose count he shares.
  source_rates(unsigned per_second, uint64_t seed) : per_second_(per_second), seed_(seed) {}

  bool allow(const base::ip_address& from, base::time_point now) {
    if (now - since_ >= std::chrono::seconds(1)) {
      counts_.fill(0);
      since_ = now;
    }
    auto& count = counts_[slot_of(counted_source(from))];
    if (count >= per_second_) return false;
    ++count;
    return true;
  }

 private:
  static constexpr size_t slots = 4096;
  size_t slot_of(const base::ip_address& a) const {
    uint64_t h = seed_;
    for (const uint8_t byte : a.bytes()) h = (h ^ byte) * 0x100000001b3;
    h ^= h >> 32;
    return static_cast<size_t>((h * 0x9e3779b97f4a7c15) >> 52) % slots;
  }
  const unsigned per_second_;
  const uint64_t seed_;
  base::time_point since_{};
  std::array<uint16_t, slots> counts_{};
};

/// How many sessions each source has, on all shards. Entries are as many as there are sessions. Any thread.
class source_counts {
 public:
  /// `each_max`: 0 means no limit.
  explicit source_counts(size_t each_max) : each_max_(each_max) {}
  bool enter(const base::ip_address& from) {
    const std::lock_guard lock(mutex_);
    size_t& count = counts_[counted_source(from)];
    if (each_max_ > 0 && count >= each_max_) return false;
    ++count;
    return true;
  }
  void leave(const base::ip_address& from) {
    const std::lock_guard lock(mutex_);
    const auto at = counts_.find(counted_source(from));
    if (--at->second == 0) counts_.erase(at);
  }

 private:
  const size_t each_max_;
  std::mutex mutex_;
  std::map<base::ip_address, size_t> counts_;
};

}  // namespace sluice::relay
