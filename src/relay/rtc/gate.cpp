#include "relay/rtc/gate.hpp"

#include <algorithm>

#include "base/buffer.hpp"
#include "relay/source_rates.hpp"

namespace sluice::relay {
namespace {

/// FNV-1a, keyed at both ends, with a last mixing (of MurmurHash3): the low bits choose a bucket.
uint64_t keyed_hash(uint64_t seed, base::bytes_view bytes) {
  uint64_t h = 0xCBF29CE484222325 ^ seed;
  for (const uint8_t b : bytes) h = (h ^ b) * 0x100000001B3;
  h ^= seed;
  h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD;
  h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53;
  return h ^ h >> 33;
}

}  // namespace

bool token_bucket::take(double per_second, double burst, base::time_point now) {
  const double since = std::chrono::duration<double>(now - at_).count();
  used_ = std::max(0.0, used_ - std::max(0.0, since) * per_second);
  at_ = now;
  if (used_ + 1 > burst) return false;
  used_ += 1;
  return true;
}

bool source_rate::take(const base::ip_address& from, base::time_point now) {
  const auto source = counted_source(from);
  return buckets_[keyed_hash(seed_, source.bytes()) % buckets_.size()].take(per_second_, burst_, now);
}

uint64_t recent_misses::hash_of(std::string_view name) const { return keyed_hash(seed_, base::as_bytes(name)); }

bool recent_misses::has(std::string_view name, base::time_point now) const {
  const uint64_t h = hash_of(name);
  const entry& e = entries_[h % entries_.size()];
  return e.hash == h && e.until > now;
}

void recent_misses::add(std::string_view name, base::time_point now) {
  const uint64_t h = hash_of(name);
  entries_[h % entries_.size()] = {h, now + life_};
}

void recent_misses::remove(std::string_view name) {
  const uint64_t h = hash_of(name);
  entry& e = entries_[h % entries_.size()];
  if (e.hash == h) e = {};
}

}  // namespace sluice::relay
