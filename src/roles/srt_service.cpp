#include "roles/srt_service.hpp"

#include <unistd.h>

#include <algorithm>
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

relay::srt_limits limits_of(const proxy_config& c, size_t shards) {
  relay::srt_limits l;
  if (c.max_sessions > 0) l.sessions_max = std::max<size_t>(1, c.max_sessions / shards);
  return l;
}

}  // namespace

srt_service::srt_service(const proxy_config& config, size_t shards)
    : wanted_(config.srt.at), common_(random_key(), limits_of(config, shards), config.srt_sessions_per_address) {}

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
