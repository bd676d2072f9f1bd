#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.hpp"
#include "base/result.hpp"
#include "roles/config.hpp"

/// The pure part of `sluice run`: command lines, the lines that children report with, and what is printed.
namespace sluice::roles {

/// One line from a child's ready descriptor.
struct ready_line {
  std::string phase;  ///< `api` or `ready`
  std::optional<base::endpoint> rtmp, http, http_api, system_api;
};

/// Error reason: bad_ready_line.
base::result<ready_line> parse_ready_line(std::string_view line);

/// Where the proxy is to listen: as configured, and once it has reported, on its real ports, so that a restarted one
/// comes back to the ports that clients and origins know.
struct proxy_addresses {
  base::endpoint rtmp, http, http_api, webrtc, srt, system_api;

  explicit proxy_addresses(const proxy_config& config);
  void learn(const ready_line& reported);
};

/// `at` as something to connect to: an unspecified address becomes loopback.
base::endpoint reachable(base::endpoint at);

std::vector<std::string> proxy_command(const run_config& config, const proxy_addresses& at, unsigned origins,
                                       int ready_fd);
/// `index` counts from 1; the server id is made of it and the host's name, and stays the same over restarts.
std::vector<std::string> origin_command(const run_config& config, const proxy_addresses& at, std::string_view host_name,
                                        unsigned index);

/// What `run` prints once everything is ready: what to publish and play, with real addresses.
std::string welcome(const run_config& config, const proxy_addresses& at, unsigned origins);

}  // namespace sluice::roles
