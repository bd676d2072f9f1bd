#pragma once

#include <optional>

#include "base/endpoint.hpp"
#include "base/result.hpp"

namespace sluice::runtime {

/// The address that this host would send from to reach `to`, without sending anything.
std::optional<base::ip_address> route_source(const base::endpoint& to);

/// Checks that a UDP port can be bound, by binding it for a moment. Error reasons: address_in_use, cannot_bind.
base::result<void> check_udp_port(const base::endpoint& at);

}  // namespace sluice::runtime
