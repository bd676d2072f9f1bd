#include "relay/retained_media.hpp"

#include <utility>

namespace sluice::relay {
namespace {
// The budget that all shards share hears of changes of this size.
constexpr int64_t account_step = 64 * 1024;
}  // namespace

retained_media::retained_media(shard_context& shard)
    : hub(shard.config.retention_hub, shard.prompt_flusher), shard_(shard) {}

retained_media::~retained_media() {
  account(0);
  shard_.prompt_flusher.forget(hub);
}

void retained_media::account(size_t bytes) {
  shard_.retention_cells.bytes.add(static_cast<int64_t>(bytes) - static_cast<int64_t>(accounted_));
  shard_.retention_cells.evicted.add(static_cast<int64_t>(hub.evicted() - std::exchange(evictions_, hub.evicted())));
  if (shard_.config.retention) shard_.config.retention->used.fetch_add(bytes - accounted_, std::memory_order_relaxed);
  accounted_ = bytes;
}

bool retained_media::too_much() const {
  const auto* budget = shard_.config.retention;
  return hub.bytes() > shard_.config.retention_bytes_max ||
         (budget && budget->used.load(std::memory_order_relaxed) > budget->bytes_max);
}

void retained_media::settle() {
  const auto changed = static_cast<int64_t>(hub.bytes()) - static_cast<int64_t>(accounted_);
  if (changed > account_step || changed < -account_step) account(hub.bytes());
  while (too_much() && hub.drop_oldest_group()) account(hub.bytes());
}

}  // namespace sluice::relay
