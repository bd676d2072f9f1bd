#pragma once

#include <vector>

#include "cluster/store/memory_store.hpp"
#include "unit/relay/context.hpp"
#include "unit/servers/support.hpp"

namespace sluice::relay::test {

/// What a shard of a proxy has, on the test's own loop with its control; for parts that are tested by themselves.
struct lone_shard {
  explicit lone_shard(runtime::loop& l, const cluster::coordinator_config& coordination = {})
      : control(l, coordination, store, log, metrics),
        flusher(l, base::duration::zero()),
        context(make_context(0, l, log, metrics, relays, control, flusher, flusher, all)) {}

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
