#include "roles/proxy_udp.hpp"

#include <mutex>

namespace sluice::roles {

std::optional<proxy_udp::failure> proxy_udp::reserve() {
  if (const auto srt = srt_.reserve(); !srt) return failure{config_.srt, srt.error()};
  if (const auto webrtc = rtc_.reserve(); !webrtc) {
    srt_.release();
    return failure{config_.webrtc, webrtc.error()};
  }
  return std::nullopt;
}

std::optional<proxy_udp::failure> proxy_udp::open() {
  base::result<void> srt;
  std::mutex mutex;
  threads_.run_on_all([&](runtime::shard& s) {
    const auto opened = srt_.open(shards_[s.index()]->srt);
    const std::lock_guard lock(mutex);
    if (!opened) srt = opened;
  });
  srt_.release();
  if (!srt) return failure{config_.srt, srt.error()};
  if (const auto webrtc = rtc_.open(); !webrtc) return failure{config_.webrtc, webrtc.error()};
  return std::nullopt;
}

void proxy_udp::close(std::string_view reason) {
  rtc_.close(reason);
  threads_.run_on_all([&](runtime::shard& s) { shards_[s.index()]->srt.door.shut(reason); });
}

}  // namespace sluice::roles
