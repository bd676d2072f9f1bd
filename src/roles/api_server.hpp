#pragma once

#include <memory>

#include "admin/api.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/http_server.hpp"
#include "runtime/tcp.hpp"
#include "servers/http/front.hpp"

namespace sluice::roles {

/// How many clients an API serves at a time: each of an operator or an origin, or of players who may wait.
enum class api_crowd : uint8_t { few, many };

/// Serves `routes` on `from` (an error there is returned); every request that is refused is logged and counted.
base::result<std::unique_ptr<runtime::http_server>> open_api(runtime::loop& l,
                                                             base::result<runtime::tcp_listeners> from,
                                                             admin::router routes, api_crowd crowd, base::log_sink& log,
                                                             base::metrics& metrics,
                                                             runtime::http_introduction introduction = {});

/// The HTTP port of players. A connection may stay as long as it asks for something now and then (HLS).
base::result<std::unique_ptr<runtime::http_server>> open_media_http(
    runtime::loop& l, base::result<runtime::tcp_listeners> from, runtime::descriptor_budget& descriptors,
    servers::http_front& front, const cluster::vhost_rules& vhosts, base::log_sink& log, base::metrics& metrics,
    runtime::http_introduction introduction = {});

/// Figures of this process, for every role: version, descriptors, resident memory. Written at each scrape.
void note_process(base::metrics& metrics);

/// Gauges of what a proxy thinks of the cluster. Returns how many origins are alive.
size_t note_cluster(base::metrics& metrics, const cluster::cluster_snapshot& s);

/// Figures of one stream, for `/metrics?streams=1`.
void note_stream(base::metrics& into, const std::string& stream, size_t viewers, size_t log_bytes, bool live);

}  // namespace sluice::roles
