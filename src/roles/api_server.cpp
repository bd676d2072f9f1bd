#include "roles/api_server.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

#include "runtime/process.hpp"

namespace sluice::roles {
namespace {

constexpr size_t connections_max = 64, crowd_max = 1024;
// One host, or all behind one address translation, cannot take them all. The origins of `run` share a loopback address.
constexpr size_t connections_per_peer_max = 16, crowd_per_peer_max = 256;

}  // namespace

base::result<std::unique_ptr<runtime::http_server>> open_api(runtime::loop& l,
                                                             base::result<runtime::tcp_listeners> from,
                                                             admin::router routes, api_crowd crowd, base::log_sink& log,
                                                             base::metrics& metrics,
                                                             runtime::http_introduction introduction) {
  if (!from) return tl::unexpected(from.error());
  const auto count = [&metrics](std::string reason) {
    metrics
        .counter("sluice_refused_total", "Clients and requests refused, by reason.",
                 {{"proto", "http"}, {"reason", std::move(reason)}})
        .add();
  };
  runtime::http_server::limits limits;
  limits.connections_max = crowd == api_crowd::many ? crowd_max : connections_max;
  limits.connections_per_peer_max = crowd == api_crowd::many ? crowd_per_peer_max : connections_per_peer_max;
  limits.unbounded_peer = [](const base::ip_address& a) { return a.is_loopback(); };
  limits.introduction = std::move(introduction);
  limits.on_refused = [count](std::string_view reason) { count(std::string(reason)); };
  return runtime::http_server::open(
      l, std::move(*from), limits, log,
      [routes = std::move(routes), &log, count](const runtime::http_request& request,
                                                runtime::http_server::respond respond) {
        routes(request, [&log, count, peer = request.peer, target = request.target,
                         respond = std::move(respond)](runtime::http_response response) {
          if (response.status >= 400) {
            count(fmt::format("status_{}", response.status));
            log.warn(
                "request_refused",
                {{"peer", peer.to_string()}, {"target", target}, {"status", response.status}, {"text", response.body}});
          }
          respond(std::move(response));
        });
      });
}

base::result<std::unique_ptr<runtime::http_server>> open_media_http(
    runtime::loop& l, base::result<runtime::tcp_listeners> from, runtime::descriptor_budget& descriptors,
    servers::http_front& front, const cluster::vhost_rules& vhosts, base::log_sink& log, base::metrics& metrics,
    runtime::http_introduction introduction) {
  if (!from) return tl::unexpected(from.error());
  const auto count = [&metrics](std::string_view reason) {
    metrics
        .counter("sluice_refused_total", "Clients and requests refused, by reason.",
                 {{"proto", "http"}, {"reason", std::string(reason)}})
        .add();
  };
  front.on_refused = [&log, count](const runtime::http_request& request, std::string_view reason,
                                   std::string_view text) {
    count(reason);
    log.warn("request_refused",
             {{"peer", request.peer.to_string()}, {"target", request.target}, {"reason", reason}, {"text", text}});
  };
  runtime::http_server::limits limits;
  limits.connections_max = SIZE_MAX;  // the descriptors bound them
  limits.descriptors = &descriptors;
  limits.introduction = std::move(introduction);
  limits.on_refused = count;
  return runtime::http_server::open(l, std::move(*from), limits, log, servers::make_http_front(front, vhosts));
}

void note_process(base::metrics& metrics) {
  metrics.gauge("sluice_build_info", "Always 1; the label is the version.", {{"version", SLUICE_VERSION}}).set(1);
  metrics.gauge("process_open_fds", "Descriptors in use.").set(static_cast<int64_t>(runtime::descriptors_in_use()));
  long total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  metrics.gauge("process_resident_memory_bytes", "Memory resident.").set(resident * ::sysconf(_SC_PAGESIZE));
}

size_t note_cluster(base::metrics& metrics, const cluster::cluster_snapshot& s) {
  size_t draining = 0, waiting = 0, by_health[3] = {};
  for (const auto& o : s.origins) {
    draining += o.draining;
    if (s.mass_silence && o.health == cluster::origin_health::suspect) waiting += o.streams;
    ++by_health[static_cast<size_t>(o.health)];
  }
  constexpr const char* names[] = {"alive", "suspect", "dead"};
  for (size_t i = 0; i < 3; ++i)
    metrics.gauge("sluice_origins", "Origin servers known, by state.", {{"state", names[i]}})
        .set(static_cast<int64_t>(by_health[i]));
  metrics.gauge("sluice_origins_draining", "Origin servers that get nothing new, at an operator's wish.")
      .set(static_cast<int64_t>(draining));
  metrics
      .gauge("sluice_mass_silence",
             "1 while so many origin servers are silent at once that their streams wait for them instead of moving.")
      .set(s.mass_silence ? 1 : 0);
  metrics.gauge("sluice_mass_silence_streams", "Streams of origin servers that are waited for in a mass silence.")
      .set(static_cast<int64_t>(waiting));
  metrics.gauge("sluice_streams", "Streams published through this proxy.").set(static_cast<int64_t>(s.streams));
  metrics.gauge("sluice_degraded_streams", "Streams published through this proxy that have no origin now.")
      .set(static_cast<int64_t>(s.degraded));
  return by_health[static_cast<size_t>(cluster::origin_health::alive)];
}

void note_stream(base::metrics& into, const std::string& stream, size_t viewers, size_t log_bytes, bool live) {
  const base::metric_labels labels{{"stream", stream}};
  into.gauge("sluice_stream_viewers", "Viewers of the stream here; another shard counts as one.", labels)
      .add(static_cast<int64_t>(viewers));
  into.gauge("sluice_stream_log_bytes", "Media of the stream held here.", labels).add(static_cast<int64_t>(log_bytes));
  into.gauge("sluice_stream_live", "Threads here that have the stream live; 0: it waits for a source.", labels)
      .set(live ? 1 : 0);
}

}  // namespace sluice::roles
