#include "roles/proxy_udp.hpp"

#include <mutex>

namespace sluice::roles {
namespace {

// Between attempts to have the ports that the process before gives up.
constexpr base::duration retry_delay = std::chrono::milliseconds(50);
// That process needs a moment for it; if it takes longer, something else has them.
constexpr base::duration complain_after = std::chrono::seconds(1), complain_interval = std::chrono::seconds(30);

}  // namespace

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

void proxy_udp::take(std::function<void(const std::optional<failure>&)> done) {
  taken_ = std::move(done);
  next_complaint_ = control_.now() + complain_after;
  try_to_take();
}

void proxy_udp::try_to_take() {
  const auto missing = reserve();
  if (!missing) return taken_(open());
  if (const auto now = control_.now(); now >= next_complaint_) {
    next_complaint_ = now + complain_interval;
    log_.warn("udp_waiting", {{"key", missing->listen.key},
                              {"address", missing->listen.at.to_string()},
                              {"reason", missing->why.reason},
                              {"text", missing->why.text}});
  }
  retry_.arm_after(retry_delay);
}

void proxy_udp::close(std::string_view reason) {
  stop_waiting();
  rtc_.close(reason);
  threads_.run_on_all([&](runtime::shard& s) { shards_[s.index()]->srt.door.shut(reason); });
}

}  // namespace sluice::roles
