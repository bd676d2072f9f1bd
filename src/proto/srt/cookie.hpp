#pragma once

#include <array>
#include <cstdint>

#include "base/buffer.hpp"
#include "base/endpoint.hpp"
#include "base/time.hpp"

namespace sluice::srt {

/// SipHash-2-4 (Aumasson, Bernstein 2012).
uint64_t siphash(const std::array<uint8_t, 16>& key, base::bytes_view bytes);

/// The cookies of a listener, which keeps nothing of a caller until he has shown that he receives at the address he
/// names: a hash of address, port and minute under a key that nobody else has. What lasts one minute and was good in
/// the minute before is good still.
class cookie_jar {
 public:
  /// `key`: random; the same for all shards of a port, since a caller's packets may reach another one while they open.
  explicit cookie_jar(const std::array<uint8_t, 16>& key) : key_(key) {}
  uint32_t make(const base::endpoint& caller, base::time_point now) const;
  bool accepts(uint32_t cookie, const base::endpoint& caller, base::time_point now) const;

 private:
  uint32_t of_minute(const base::endpoint& caller, int64_t minute) const;
  std::array<uint8_t, 16> key_;
};

}  // namespace sluice::srt
