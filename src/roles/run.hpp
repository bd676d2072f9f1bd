#pragma once

#include "base/log.hpp"
#include "roles/config.hpp"

namespace sluice::roles {

/// `sluice run`: starts a proxy and, once its system API listens, the origins, all as child processes; restarts what
/// dies, with back-off; prints what to publish and play when the proxy is ready; on SIGTERM or SIGINT stops the proxy,
/// then the origins (a second signal kills at once). Returns 0 after that, 1 when a child ends by itself with code 1 at
/// its first start: what it was told is wrong.
///
/// A child that gets `--ready-fd N` writes lines of JSON to descriptor N and then closes it. The proxy, when its system
/// API listens and before any media port does, `{"phase":"api","system_api":"127.0.0.1:12025"}`; every role, when all
/// its ports are open,
/// `{"phase":"ready",…}` with its real listen addresses by name (proxy: rtmp, http, http_api, system_api; origin: rtmp,
/// api).
///
/// Call it from the main thread of a process without other children: they are killed when that thread ends, however it
/// ends.
int run_cluster(const run_config& config, base::log_sink& log);

}  // namespace sluice::roles
