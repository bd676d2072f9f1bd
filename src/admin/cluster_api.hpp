#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "admin/router.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "cluster/core/coordinator.hpp"

namespace sluice::admin {

/// What only the threads that carry a stream know of it.
struct stream_figures {
  size_t viewers = 0;
  size_t retained_bytes = 0;  ///< of its publisher's media
};

/// The cluster as one proxy sees it, or several together (merge_cluster()).
struct cluster_report {
  struct proxy {
    std::string id, version, pid;
    base::duration uptime{};
    size_t sessions = 0;
    bool answered = true;  ///< false: it is known to be there, but did not tell its part of the picture
  };
  std::vector<proxy> proxies;
  base::time_point now;  ///< of the snapshot
  cluster::cluster_snapshot snapshot;
  std::vector<cluster::stream_status> streams;
  std::unordered_map<std::string, stream_figures>
      figures;  ///< by the stream's name; also of streams that are not above
};

/// One stream, and what happened to it, oldest first.
struct stream_story {
  cluster_report report;  ///< of that stream alone
  std::vector<cluster::history_event> events;
};

/// What the routes for operators are made of. Called on the thread of the HTTP server; `done` is called once, now or
/// later, on that thread.
struct cluster_operations {
  std::function<void(std::function<void(cluster_report)> done)> report;
  std::function<void(const cluster::stream_key&, std::function<void(stream_story)> done)> explain;
  /// coordinator::drain().
  std::function<base::result<size_t>(const std::string& server_id, bool on)> drain;
  bool shared = false;  ///< a drain counts at all proxies, and not only at the one that is asked
};

/// Streams in one answer of /api/v1/sluice/cluster, unless `?count=` says fewer or more.
inline constexpr size_t streams_count_default = 100, streams_count_max = 10'000;

/// GET /api/v1/sluice/cluster?start=&count=, GET /api/v1/sluice/explain?stream=, POST and DELETE
/// /api/v1/sluice/origins/{server-id}/drain: see docs/operating.md. For operators (access::operators).
void add_cluster_routes(router& api, cluster_operations operations);

}  // namespace sluice::admin
