#include "relay/shard_status.hpp"

namespace sluice::relay {

std::vector<publisher_status> publisher_statuses(const shard_context&) { return {}; }

}  // namespace sluice::relay
