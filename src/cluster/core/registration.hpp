#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.hpp"
#include "base/result.hpp"
#include "cluster/core/ownership.hpp"

namespace sluice::cluster {

/// A stream that a Sluice origin holds.
struct held_stream {
  std::string name;      ///< `vhost/app/stream`
  cluster::epoch epoch;  ///< the highest that it has accepted for it, zero: none
  bool published = false;
  bool operator==(const held_stream&) const = default;
};

/// What only a Sluice origin says of itself (the object `sluice`); its presence tells it from stock origins.
struct sluice_info {
  struct load_figures {
    uint32_t streams = 0;       ///< streams with a publisher
    uint32_t sessions = 0;      ///< client connections
    std::optional<double> cpu;  ///< share of one core, 0 … 1
  };
  std::string version;
  uint32_t period_ms = 0;  ///< of its heartbeats; 0: not said
  load_figures load;
  double weight = 1;      ///< relative share of streams, 0.01 … 1000
  uint32_t capacity = 0;  ///< streams that it takes at most; 0: no limit
  /// What changed since the last heartbeat that this proxy took (a stream that is held no more has `published` false
  /// and epoch zero), or all that it holds if `whole`. At most held_streams_max. In JSON: `"whole":true,
  /// "streams":[{"name":"vhost/app/stream","epoch":"counter.claim_id","published":true},…]`; `epoch` and `published`
  /// may be left out when zero and false.
  std::vector<held_stream> streams;
  bool whole = false;
  /// Counts the heartbeats of this incarnation, to whomever they go; 0: not said. Each tells how things were when it
  /// was sent; `since` names the heartbeat after which changes are listed (0 if whole). With these, lists that come by
  /// several ways, late, twice or with gaps are put together rightly.
  uint64_t beat = 0, since = 0;
};
inline constexpr size_t held_streams_max = 8000;

/// One origin server, as told by POST /api/v1/srs/register.
struct origin_registration {
  std::string ip;         ///< text of `address`
  std::string device_id;  ///< may be empty
  std::string server;     ///< stable over restarts
  std::string service;    ///< changes at each restart
  std::string pid;
  base::ip_address address;
  std::vector<base::endpoint> rtmp;  ///< never empty when parsed
  std::vector<base::endpoint> http, api, srt, rtc_udp, rtc_tcp;
  std::optional<sluice_info> sluice;

  /// `server-service-pid`: names this incarnation.
  std::string id() const { return server + "-" + service + "-" + pid; }
};

/// Which addresses an origin may name. Link-local, multicast and unspecified ones are always refused, loopback never.
struct address_policy {
  std::vector<base::network> allowed;  ///< empty: every address that is not forbidden
};

inline constexpr size_t registration_body_bytes_max = 1 << 20;
inline constexpr size_t registration_endpoints_max = 16;  ///< per protocol

/// Parses and checks the body. Unknown members are ignored. Error reasons: bad_registration (the text names the field:
/// `empty ip`, `bad rtmp endpoint` …), forbidden_address. http_status_of() gives the status to answer.
base::result<origin_registration> parse_registration(std::string_view body, const address_policy& policy);

/// The status for an error of parse_registration() or of the registry.
int http_status_of(const base::error& error);

/// The body that a Sluice origin sends; parse_registration() reads it back to an equal value. Streams that do not fit
/// registration_body_bytes_max, or are more than held_streams_max, are left out; then it says `whole` no more.
std::string make_registration_body(const origin_registration& registration);

}  // namespace sluice::cluster
