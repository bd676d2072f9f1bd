#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "base/endpoint.hpp"
#include "base/log.hpp"

namespace sluice::roles {

using named_endpoints = std::initializer_list<std::pair<std::string_view, base::endpoint>>;

/// Writes one line {"phase":…, name: address …} to the supervisor's descriptor; nothing if it is -1.
void report_phase(int ready_fd, std::string_view phase, named_endpoints addresses);
/// The one line that says that all ports are open, with their real addresses.
void log_ready(base::log_sink& log, named_endpoints addresses);
/// A listener that cannot be opened: names the setting. Returns the exit code.
int cannot_listen(base::log_sink& log, std::string_view key, const base::endpoint& at, std::string_view reason,
                  std::string_view text);

}  // namespace sluice::roles
