#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cluster/core/coordinator.hpp"
#include "runtime/loop.hpp"

namespace sluice::relay {

struct probe_outcome {
  bool ok = false;
  std::optional<std::string> incarnation;  ///< `server-service-pid`, if the origin told it
};

/// Asks an origin whether it lives, as `p` says: only an application's answer counts, since the kernel of a stopped
/// process still accepts connections. `done` is called once, never from within.
void probe_origin(runtime::loop& l, const cluster::action::probe& p, std::function<void(probe_outcome)> done);

}  // namespace sluice::relay
