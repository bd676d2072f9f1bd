#include "relay/rtc/upstream.hpp"

#include <unistd.h>

namespace sluice::relay {

/// Two large keyframes, while the shard is busy elsewhere: the kernel counts twice and more of what a datagram carries.
constexpr int receive_bytes = 1 << 20;

rtc_descriptor::~rtc_descriptor() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (budget_) budget_->give();
}

rtc_relay::upstream::~upstream() {
  if (socket && relay_.here_.descriptors) relay_.here_.descriptors->give();
}

base::result<void> rtc_relay::upstream::open(rtc_relay& relay, local_session& s) {
  auto* descriptors = relay.here_.descriptors;
  if (descriptors && !descriptors->take()) return base::fail("no_descriptors");
  auto up = std::make_unique<upstream>(relay, s);
  auto connected =
      runtime::udp_socket::connect(relay.here_.io, s.session->origin, {.receive_bytes = receive_bytes}, *up);
  if (!connected) {
    if (descriptors) descriptors->give();
    return tl::unexpected(connected.error());
  }
  up->socket = std::move(*connected);
  s.up = std::move(up);
  return {};
}

base::result<void> rtc_relay::upstream::adopt(rtc_relay& relay, local_session& s, rtc_descriptor& from) {
  auto up = std::make_unique<upstream>(relay, s);
  auto adopted = runtime::udp_socket::adopt(relay.here_.io, from.release(), *up);
  if (!adopted) {
    if (auto* descriptors = relay.here_.descriptors) descriptors->give();
    return tl::unexpected(adopted.error());
  }
  up->socket = std::move(*adopted);
  s.up = std::move(up);
  return {};
}

rtc_descriptor rtc_relay::upstream::release() {
  rtc_descriptor out(relay_.here_.descriptors, socket->release());
  socket.reset();
  return out;
}

/// Nobody listens there: the origin's process is gone, or does not serve WebRTC any more.
void rtc_relay::upstream::on_unreachable(runtime::udp_socket&, int error) {
  if (error != ECONNREFUSED || std::exchange(reported_, true)) return;
  relay_.here_.reports.failed(session_.session, "origin_unreachable");
}

}  // namespace sluice::relay
