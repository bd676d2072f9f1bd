#pragma once

#include "base/log.hpp"
#include "roles/config.hpp"

namespace sluice::roles {

/// Runs a proxy until SIGTERM or SIGINT. Returns the process's exit code: 0 after a clean stop, 1 when an address
/// cannot be bound (the log names its setting).
int run_proxy(const proxy_config& config, base::log_sink& log);

}  // namespace sluice::roles
