#include "cluster/core/handed_state.hpp"

#include <cstdint>
#include <cstdlib>

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto got = cluster::parse_handed_state({reinterpret_cast<const char*>(data), size}, {});
  if (!got) return 0;
  // What was accepted says the same when it is passed on.
  const auto again = cluster::parse_handed_state(cluster::make_handed_state(*got), {});
  if (!again || again->origins.size() != got->origins.size() || again->drained != got->drained ||
      again->owners != got->owners) {
    std::abort();
  }
  return 0;
}
