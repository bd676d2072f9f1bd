#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "cluster/store/server_text.hpp"

using namespace sluice;

/// What any program may have written to the store in place of an origin's record.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto got = cluster::parse_server_json({reinterpret_cast<const char*>(data), size}, {});
  if (!got) {
    if (got.error().text.empty()) std::abort();
    return 0;
  }
  // What was accepted says the same when it is written again.
  const auto again = cluster::parse_server_json(cluster::server_json(got->registration, got->host, got->wall_ms), {});
  if (!again || again->registration.id() != got->registration.id() || again->host != got->host ||
      again->wall_ms != got->wall_ms)
    std::abort();
  return 0;
}
