#pragma once

#include "runtime/backoff.hpp"

namespace sluice::relay {

using runtime::backoff;

}  // namespace sluice::relay
