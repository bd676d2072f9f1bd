#include <cstdlib>

#include "proto/amf0/value.hpp"

// Whatever decodes must encode, and what was encoded must decode to the same bytes again.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  const auto values = amf0::decode_all({data, size});
  if (!values) return 0;
  std::vector<uint8_t> once;
  amf0::encode_all(*values, once);
  const auto again = amf0::decode_all(once);
  if (!again) std::abort();
  std::vector<uint8_t> twice;
  amf0::encode_all(*again, twice);
  if (once != twice) std::abort();
  for (const auto& v : *values) {
    (void)v.find("videocodecid");
    (void)v.number_or(0);
    (void)v.string_or("");
  }
  return 0;
}
