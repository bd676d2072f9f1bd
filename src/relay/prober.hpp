#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cluster/core/coordinator.hpp"
#include "runtime/loop.hpp"

namespace sluice::relay {

struct probe_outcome {
  cluster::probe_answer answer = cluster::probe_answer::silent;
  std::optional<std::string> incarnation;  ///< `server-service-pid`, if the origin told it
};
using probe_done = std::function<void(probe_outcome)>;
/// To be kept until the outcome is known; may be dropped in `done`.
using probe_under_way = std::shared_ptr<void>;

inline constexpr unsigned redials_max = 3;
inline constexpr base::duration redial_pause = std::chrono::milliseconds(20);

/// Asks an origin whether it lives, by a handshake or its API, as `p` says: only an application's answer counts, since
/// the kernel of a stopped process still accepts connections. One of several targets will do; it is gone if all refuse.
/// A target that accepts and hangs up is asked again, redials_max times: a full server hangs up, too, and the port of a
/// killed process may outlive its connections for a moment. Only a port that refuses says that nobody is there. `done`
/// is called once, never from within, unless the probe is dropped before.
[[nodiscard]] probe_under_way probe_origin(runtime::loop& l, const cluster::action::probe& p, probe_done done);

}  // namespace sluice::relay
