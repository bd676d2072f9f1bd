#pragma once

#include <vector>

#include "cluster/store/memory_store.hpp"
#include "relay/shard.hpp"
#include "unit/servers/support.hpp"

namespace sluice::relay::test {

/// What a shard of a proxy has, on the test's own loop with its control; for parts that are tested by themselves.
struct lone_shard {
  explicit lone_shard(runtime::loop& l, const cluster::coordinator_config& coordination = {})
      : control(l, coordination, store, log, metrics),
        flusher(l, base::duration::zero()),
        context{.index = 0,
                .loop = l,
                .log = log,
                .metrics = metrics,
                .config = relays,
                .control = control,
                .flusher = flusher,
                .prompt_flusher = flusher,
                .upstream_cells = upstream_metrics(metrics),
                .retention_cells = retention_metrics(metrics),
                .failover_cells = failover_metrics(metrics),
                .all = all} {}

  relay_config relays;
  servers::test::memory_log log;
  base::metrics metrics;
  cluster::memory_store store{[] { return runtime::loop::monotonic_now(); }};
  director control;
  servers::hub_flusher flusher;
  std::vector<feed_set*> all;
  shard_context context;
};

}  // namespace sluice::relay::test
