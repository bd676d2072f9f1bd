#include "roles/listeners.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sluice::roles {
namespace {

constexpr std::string_view reserved_suffix = "_reserved";

bool is_known(std::string_view name) {
  constexpr std::array<std::string_view, 6> names{"rtmp",     "http",          "rtmp_reserved",
                                                  "http_api", "http_reserved", "system_api"};
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

base::result<void> listeners::adopt(std::vector<runtime::handed_socket> handed) {
  for (auto& socket : handed) {
    if (!is_known(socket.name)) {
      log_.warn("upgrade_unknown_socket",
                {{"name", socket.name}, {"text", "the process before served a port that this version does not"}});
    } else if (socket.name.ends_with(reserved_suffix)) {
      handed_reservations_[socket.name] = std::move(socket.fd);
    } else {
      auto listener = runtime::tcp_listener::adopt(std::move(socket.fd));
      if (!listener) return tl::unexpected(listener.error());
      handed_[socket.name].push_back(std::move(*listener));
    }
  }
  return {};
}

listeners::listening listeners::handed(const std::string& name, const listen_address& at) {
  auto node = handed_.extract(name);
  if (node.empty()) return runtime::tcp_listeners();
  for (const auto& socket : node.mapped()) {
    const auto real = socket.local();
    if (real.address == at.at.address && (at.at.port == 0 || at.at.port == real.port)) continue;
    return base::fail("other_address", fmt::format("the process before listens on {}: only a restart changes {}",
                                                   real.to_string(), at.key));
  }
  return std::move(node.mapped());
}

base::result<base::endpoint> listeners::reserve(const std::string& name, const listen_address& at) {
  auto sockets = handed(name, at);
  if (!sockets) return tl::unexpected(sockets.error());
  shared_port port;
  port.of_shards.resize(shards_);
  if (sockets->empty()) {
    const auto reserved = runtime::reserve_port(at.at);
    if (!reserved) return tl::unexpected(reserved.error());
    port.at = reserved->first;
    port.reservation = runtime::descriptor(reserved->second);
  } else {
    port.at = sockets->front().local();
    port.reservation = std::move(handed_reservations_[name + std::string(reserved_suffix)]);
    for (size_t i = 0; i < sockets->size(); ++i) port.of_shards[i % shards_].push_back(std::move((*sockets)[i]));
  }
  return (shared_[name] = std::move(port)).at;
}

listeners::listening listeners::of_shard(const std::string& name, size_t shard) {
  auto& port = shared_.at(name);
  if (port.of_shards[shard].empty()) return runtime::listen_on(port.at, {.share_port = true});
  return std::move(port.of_shards[shard]);
}

listeners::listening listeners::alone(const std::string& name, const listen_address& at) {
  auto sockets = handed(name, at);
  return sockets && sockets->empty() ? runtime::listen_on(at.at, {}) : std::move(sockets);
}

std::vector<runtime::handover_offer::socket> listeners::reservations() const {
  std::vector<runtime::handover_offer::socket> out;
  for (const auto& [name, port] : shared_)
    if (port.reservation.is_open()) out.push_back({name + std::string(reserved_suffix), port.reservation.fd()});
  return out;
}

}  // namespace sluice::roles
