#pragma once

#include <string>
#include <string_view>

#include "cluster/core/registration.hpp"

namespace sluice::cluster {

/// The value of a server key: what SRS's Go proxies write and read (ip, device_id, server_id, service_id, pid, rtmp,
/// http, api, srt, rtc, update_at), and beside it what only Sluice knows: the object `sluice` of the registration,
/// without streams, and `sluice_host`, the network in which its addresses are meant.
std::string server_json(const origin_registration& registration, std::string_view host, uint64_t wall_ms);

struct stored_server {
  origin_registration registration;
  std::string host;      ///< empty: written by a Go proxy
  uint64_t wall_ms = 0;  ///< when, by the clock of whoever wrote it; 0: it does not tell
};
/// Errors as parse_registration().
base::result<stored_server> parse_server_json(std::string_view text, const address_policy& policy);

}  // namespace sluice::cluster
