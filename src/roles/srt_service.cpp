#include "roles/srt_service.hpp"

#include <unistd.h>

#include <utility>

#include "runtime/process.hpp"

namespace sluice::roles {
namespace {

// All callers of a shard come by one socket: bursts of many wait in it.
constexpr int socket_bytes = 4 << 20;

std::array<uint8_t, 16> random_key() {
  std::array<uint8_t, 16> key;
  runtime::random_bytes(key);
  return key;
}

relay::srt_limits limits_of(const proxy_config& c, runtime::session_budget& sessions) {
  relay::srt_limits l;
  l.sessions = &sessions;
  l.key_bytes = c.srt_pbkeylen;
  return l;
}

}  // namespace

srt_service::srt_service(const proxy_config& config, runtime::session_budget& sessions)
    : wanted_(config.srt.at),
      at_(wanted_),
      common_(random_key(), limits_of(config, sessions), config.srt_sessions_per_address) {}

base::result<void> srt_service::reserve() {
  auto port = runtime::reserve_udp_port(wanted_);
  if (!port) return tl::unexpected(port.error());
  at_ = port->first;
  reservation_ = port->second;
  return {};
}

base::result<void> srt_service::open(srt_part& part) const {
  const auto opened =
      part.door.listen(at_, {.share_port = true, .receive_bytes = socket_bytes, .send_bytes = socket_bytes});
  if (!opened) return tl::unexpected(opened.error());
  return {};
}

void srt_service::release() {
  if (reservation_ >= 0) ::close(std::exchange(reservation_, -1));
}

}  // namespace sluice::roles
