#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/cluster_api.hpp"
#include "admin/router.hpp"
#include "base/endpoint.hpp"
#include "base/result.hpp"
#include "cluster/core/coordinator.hpp"
#include "cluster/core/registration.hpp"

namespace sluice::admin {

/// What /api/v1/versions tells. `server` and `service` are an origin's, by which a proxy recognises its incarnation.
struct version_info {
  std::string version;  ///< `major.minor.revision`
  std::string pid;
  std::string server, service;  ///< empty for proxies
  std::string proxy_id;         ///< empty for origins
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
                                         std::function<void(base::result<cluster::registration_reply>)> done)>;

/// Why this proxy should get no new clients (`starting`, `stopping`), or empty: it is ready for them.
using unready_reason = std::function<std::string_view()>;

/// The proxy's system API (12025): versions, readiness, register (needs `token` if there is one), metrics, and what
/// is for operators (cluster_api.hpp).
router make_system_api(const version_info& info, cluster::address_policy policy, std::string token, register_sink sink,
                       metrics_source metrics, unready_reason unready, cluster_operations operations);
/// The proxy's HTTP API (11985): versions, readiness; all that it will have beside needs `token`.
router make_proxy_api(const version_info& info, std::string token, unready_reason unready);
/// What an HTTP port for players serves beside media: versions, and `pages`.
router make_site(version_info info, router::pages pages);
/// The files of a folder (or none: empty), and behind them the built-in pages: a file wins over a page of its name.
router::pages make_pages(std::string static_folder);
/// An origin's --api: versions, metrics.
router make_origin_api(version_info info, metrics_source metrics);

}  // namespace sluice::admin
