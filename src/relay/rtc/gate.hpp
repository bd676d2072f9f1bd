#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/endpoint.hpp"
#include "base/time.hpp"

// What keeps strangers' datagrams cheap. All of it is of a fixed size, whatever comes; one thread; time is an argument.
namespace sluice::relay {

/// So many at once, and then so many a second.
class token_bucket {
 public:
  bool take(double per_second, double burst, base::time_point now);

 private:
  double used_ = 0;  // of the burst
  base::time_point at_{};
};

/// How often each source (counted_source()) may do something. Sources share buckets by a keyed hash: who does not know
/// the seed cannot choose whom he shares one with.
class source_rate {
 public:
  source_rate(uint64_t seed, double per_second, double burst, size_t buckets = 16384)
      : seed_(seed), per_second_(per_second), burst_(burst), buckets_(buckets) {}
  bool take(const base::ip_address& from, base::time_point now);

 private:
  const uint64_t seed_;
  const double per_second_, burst_;
  std::vector<token_bucket> buckets_;
};

/// Names that were looked up in vain, for a while.
class recent_misses {
 public:
  recent_misses(uint64_t seed, base::duration life, size_t entries = 8192)
      : seed_(seed), life_(life), entries_(entries) {}
  bool has(std::string_view name, base::time_point now) const;
  void add(std::string_view name, base::time_point now);
  void remove(std::string_view name);

 private:
  struct entry {
    uint64_t hash = 0;
    base::time_point until{};
  };
  uint64_t hash_of(std::string_view name) const;
  const uint64_t seed_;
  const base::duration life_;
  std::vector<entry> entries_;  // by hash: a newer one takes the place of an older one
};

}  // namespace sluice::relay
