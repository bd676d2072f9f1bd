#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/endpoint.hpp"
#include "base/result.hpp"
#include "cluster/core/registration.hpp"
#include "runtime/http_server.hpp"

namespace sluice::admin {

/// Answers requests by method and path: 404 for an unknown path, 405 (with Allow) for a known one with another method,
/// both as JSON; OPTIONS and HEAD as HTTP wants. With a token, routes that are not open answer 401 without
/// `Authorization: Bearer TOKEN`.
class router {
 public:
  using handler = runtime::http_server::handler;
  struct route {
    std::string method;
    std::string path;  ///< exact; a trailing slash of the request is ignored
    bool open = true;  ///< needs no token
    handler handle;
  };
  /// `token` empty: everything is open.
  explicit router(std::string token = {}) : token_(std::move(token)) {}
  void add(route r) { routes_.push_back(std::move(r)); }
  /// Any thread, once no more routes are added. `respond` is called once, by the route or at once.
  void operator()(const runtime::http_request& request, runtime::http_server::respond respond) const;

 private:
  std::string token_;
  std::vector<route> routes_;
};

/// True if `authorization` (a header's value) carries the token. Takes the same time wherever they differ.
bool bearer_matches(std::string_view authorization, std::string_view token);

/// What /api/v1/versions tells. `server` and `service` are an origin's, by which a proxy recognises its incarnation.
struct version_info {
  std::string version;  ///< `major.minor.revision`
  std::string pid;
  std::string server, service;  ///< empty for proxies
};

/// `{"signature":"Sluice/…","version":"…"}`: ports 11985 and 12025.
std::string proxy_versions_body(const version_info& info);
/// `{"code":0,"server":…,"service":…,"pid":…,"data":{"major":…,"minor":…,"revision":…,"version":…}}`: port 18080 and
/// origins.
std::string origin_versions_body(const version_info& info);

/// Prometheus text; with `per_stream` (`/metrics?streams=1`) also figures labelled by stream.
using metrics_source = std::function<std::string(bool per_stream)>;
/// Called with each well-formed registration; answers now or later, once, on the server's thread.
using register_sink = std::function<void(cluster::origin_registration registration, const base::endpoint& peer,
                                         std::function<void(base::result<void>)> done)>;

/// The proxy's system API (12025): versions, register (needs `token` if there is one), metrics.
router make_system_api(version_info info, cluster::address_policy policy, std::string token, register_sink sink,
                       metrics_source metrics);
/// The proxy's HTTP API (11985): versions; all that it will have beside needs `token`.
router make_proxy_api(version_info info, std::string token);
/// The proxy's HTTP server (18080), as long as it serves no media: versions.
router make_proxy_http(version_info info);
/// An origin's --api: versions, metrics.
router make_origin_api(version_info info, metrics_source metrics);

/// `{"code":STATUS,"error":"…"}`
runtime::http_response json_error(int status, std::string_view text);

}  // namespace sluice::admin
