#pragma once

#include <vector>

#include "relay/shard.hpp"

namespace sluice::relay::test {

/// A shard's context, as roles/proxy.cpp makes it.
inline shard_context make_context(unsigned index, runtime::loop& l, base::log_sink& log, base::metrics& metrics,
                                  const relay_config& config, director& control, servers::hub_flusher& flusher,
                                  servers::hub_flusher& prompt, const std::vector<feed_set*>& all) {
  return {.index = index,
          .loop = l,
          .log = log,
          .metrics = metrics,
          .config = config,
          .control = control,
          .flusher = flusher,
          .prompt_flusher = prompt,
          .upstream_cells = upstream_metrics(metrics),
          .retention_cells = retention_metrics(metrics),
          .failover_cells = failover_metrics(metrics),
          .all = all};
}

}  // namespace sluice::relay::test
