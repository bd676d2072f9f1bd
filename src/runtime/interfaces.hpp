#pragma once

#include <optional>

#include "base/endpoint.hpp"

namespace sluice::runtime {

/// The first IPv4 address of the network interface of this host that has `address`; nothing if there is none, or no
/// such interface. Link-local ones do not count. Any thread.
std::optional<base::ip_address> v4_beside(const base::ip_address& address);

}  // namespace sluice::runtime
