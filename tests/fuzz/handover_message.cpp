#include "runtime/handover_message.hpp"

#include <cstdint>
#include <cstdlib>

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto got = runtime::decode_handover({reinterpret_cast<const char*>(data), size});
  if (!got) {
    if (got.error().text.empty()) std::abort();
    return 0;
  }
  // What was accepted is the only way to say it.
  if (runtime::encode(*got) != std::string_view(reinterpret_cast<const char*>(data), size)) std::abort();
  return 0;
}
