#include "relay/shard_status.hpp"

#include "relay/publish_relay.hpp"

namespace sluice::relay {

std::vector<publisher_status> publisher_statuses(const shard_context& shard) {
  std::vector<publisher_status> all;
  all.reserve(shard.publishers.size());
  for (const auto& [key, relay] : shard.publishers)
    all.push_back({key, relay->session(), relay->hub().bytes(), relay->hub().end()});
  return all;
}

}  // namespace sluice::relay
