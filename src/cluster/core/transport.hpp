#pragma once

#include "cluster/core/coordinator.hpp"

namespace sluice::cluster {

/// Whether an origin serves it. RTMP: always. SRT: it names an endpoint. WebRTC: it names an API, where sessions begin,
/// and a media port; only of origins of others the latter may be left out, as their answers tell it.
bool serves(const origin_registration& origin, transport by);

}  // namespace sluice::cluster
