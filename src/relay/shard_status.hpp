#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "relay/shard.hpp"

namespace sluice::relay {

/// A publisher of this proxy, as the shard that has its connection sees it.
struct publisher_status {
  cluster::stream_key key;
  std::string session;
  size_t retained_bytes = 0;
  uint64_t number = 0;  ///< of the message that comes next
};

/// The publishers of one shard. On its thread.
std::vector<publisher_status> publisher_statuses(const shard_context& shard);

}  // namespace sluice::relay
