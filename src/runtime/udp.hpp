#pragma once

#include <optional>
#include <utility>

#include "base/endpoint.hpp"
#include "base/result.hpp"

namespace sluice::runtime {

/// The address that this host would send from to reach `to`, without sending anything.
std::optional<base::ip_address> route_source(const base::endpoint& to);

/// Checks that a UDP port can be bound, by binding it for a moment. Error reasons: address_in_use, cannot_bind.
base::result<void> check_udp_port(const base::endpoint& at);

/// Binds a UDP port that nobody else has, and returns it (with its real number) and a descriptor that keeps it from
/// other processes. Sockets that share the port (udp_options) can be bound from now on; close the descriptor once they
/// are: until then the kernel hands it its share of the peers, and their datagrams are dropped. Error reasons:
/// address_in_use, cannot_bind.
base::result<std::pair<base::endpoint, int>> reserve_udp_port(const base::endpoint& at);

/// Of bind() on a new socket for `at`: with IPV6_V6ONLY as udp_socket wants it. 0 or an errno.
int bind_udp(int fd, const base::endpoint& at);

}  // namespace sluice::runtime
