#pragma once

#include <string>

#include "base/log.hpp"
#include "cluster/core/handed_state.hpp"
#include "cluster/store/session_store.hpp"
#include "relay/director.hpp"

namespace sluice::roles {

/// What the next process on this host is told of the cluster. `owners`, `sessions`: of stores that end with this
/// process, else none.
std::string cluster_state(const relay::director& d,
                          std::vector<std::pair<cluster::stream_key, cluster::owner_record>> owners,
                          std::vector<std::pair<std::string, std::string>> sessions);

struct handed_ttls {
  base::duration owners, sessions;
};

/// Tells director and stores what the process before has said (empty: nothing). What cannot be taken is logged and left
/// out: it is learned again. `ttls`: how long a record lives, if nobody renews it here.
void take_cluster_state(const std::string& text, const cluster::address_policy& policy, relay::director& d,
                        cluster::owner_store& store, cluster::session_store& sessions, const handed_ttls& ttls,
                        base::log_sink& log);

}  // namespace sluice::roles
