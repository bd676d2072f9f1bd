#pragma once

#include <cstddef>
#include <cstdint>

namespace sluice::rtmp {

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): fills the random parts of a
/// handshake. They need to differ from session to session, not to be unguessable: RTMP's handshake proves nothing.
class byte_generator {
 public:
  explicit byte_generator(uint64_t seed) : state_(seed) {}

  void fill(uint8_t* out, size_t count) {
    while (count > 0) {
      uint64_t word = next();
      for (size_t i = 0; i < sizeof word && count > 0; ++i, --count) {
        *out++ = static_cast<uint8_t>(word);
        word >>= 8;
      }
    }
  }

 private:
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

}  // namespace sluice::rtmp
