#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "cluster/core/ownership.hpp"
#include "cluster/core/registration.hpp"

namespace sluice::cluster {

/// What a proxy tells the one that takes its place on the same host, so that this need not wait for heartbeats.
struct handed_state {
  std::vector<origin_registration> origins;  ///< those that live, without their lists of streams
  std::vector<std::string> drained;          ///< server ids
  /// What its own store holds, if that ends with the process.
  std::vector<std::pair<stream_key, owner_record>> owners;
  /// The same of its session_store: keys and values.
  std::vector<std::pair<std::string, std::string>> sessions;
};

/// As JSON: `{"origins":[REGISTRATION…],"drained":["server"…],"owners":[{"stream":"vhost/app/stream","origin":ID,
/// "epoch":"counter.claim_id","proxy":ID,"started_ms":MS}…],"sessions":[{"key":KEY,"value":TEXT}…]}`, a registration as
/// by make_registration_body().
std::string make_handed_state(const handed_state& s);
/// Unknown members are ignored, and entries that are not valid, or not allowed here, left out: what is missing is
/// learned later. Error reason: bad_state (no JSON object).
base::result<handed_state> parse_handed_state(std::string_view text, const address_policy& policy);

}  // namespace sluice::cluster
