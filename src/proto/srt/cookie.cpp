#include "proto/srt/cookie.hpp"

#include <algorithm>
#include <bit>
#include <chrono>

namespace sluice::srt {
namespace {

uint64_t word_of(base::bytes_view bytes) {
  uint64_t word = 0;
  for (size_t i = 0; i < bytes.size(); ++i) word |= uint64_t{bytes[i]} << (8 * i);
  return word;
}

struct sip_state {
  std::array<uint64_t, 4> v;
  void round() {
    v[0] += v[1];
    v[1] = std::rotl(v[1], 13) ^ v[0];
    v[0] = std::rotl(v[0], 32);
    v[2] += v[3];
    v[3] = std::rotl(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = std::rotl(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = std::rotl(v[1], 17) ^ v[2];
    v[2] = std::rotl(v[2], 32);
  }
  void take(uint64_t word) {
    v[3] ^= word;
    round();
    round();
    v[0] ^= word;
  }
};

int64_t minute_of(base::time_point now) {
  return std::chrono::duration_cast<std::chrono::minutes>(now.time_since_epoch()).count();
}

}  // namespace

uint64_t siphash(const std::array<uint8_t, 16>& key, base::bytes_view bytes) {
  const uint64_t k0 = word_of(base::bytes_view(key).first(8)), k1 = word_of(base::bytes_view(key).last(8));
  sip_state s{{k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261, k1 ^ 0x7465646279746573}};
  const uint64_t length = uint64_t{bytes.size()} << 56;
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) s.take(word_of(bytes.first(8)));
  s.take(word_of(bytes) | length);
  s.v[2] ^= 0xff;
  for (int i = 0; i < 4; ++i) s.round();
  return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

uint32_t cookie_jar::of_minute(const base::endpoint& caller, int64_t minute) const {
  std::array<uint8_t, 26> what;
  const auto& address = caller.address.bytes();
  auto at = std::copy(address.begin(), address.end(), what.begin());
  *at++ = static_cast<uint8_t>(caller.port >> 8);
  *at++ = static_cast<uint8_t>(caller.port);
  for (int i = 0; i < 8; ++i) *at++ = static_cast<uint8_t>(minute >> (8 * i));
  // A caller's induction has the cookie 0.
  return std::max<uint32_t>(1, static_cast<uint32_t>(siphash(key_, what)));
}

uint32_t cookie_jar::make(const base::endpoint& caller, base::time_point now) const {
  return of_minute(caller, minute_of(now));
}

bool cookie_jar::accepts(uint32_t cookie, const base::endpoint& caller, base::time_point now) const {
  const int64_t minute = minute_of(now);
  return cookie == of_minute(caller, minute) || cookie == of_minute(caller, minute - 1);
}

}  // namespace sluice::srt
