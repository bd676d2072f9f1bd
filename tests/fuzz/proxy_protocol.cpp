#include "proto/proxy/proxy_protocol.hpp"

#include <cstdlib>

#include "proto/proxy/address_prefix.hpp"

// A verdict over the first bytes must stand when more come: nothing that is whole or refused may change.
template <typename Parse>
void check_every_prefix(sluice::base::bytes_view bytes, size_t bytes_max, Parse parse) {
  size_t consumed = 0;
  bool refused = false;
  for (size_t size = 0; size <= bytes.size() && size <= bytes_max; ++size) {
    const auto p = parse(bytes.first(size));
    const size_t now = p && *p ? (*p)->consumed : 0;
    if (now > size || (consumed && now != consumed) || (refused && p)) std::abort();
    consumed = now;
    refused = !p;
  }
  if (bytes.size() >= bytes_max && consumed == 0 && !refused) std::abort();  // still waiting at the limit
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice;
  const base::bytes_view bytes(data, size);
  check_every_prefix(bytes, proxy_protocol::header_bytes_max, proxy_protocol::parse);
  if (proxy_protocol::has_header(bytes) == false && proxy_protocol::parse(bytes)) std::abort();
  check_every_prefix(bytes, address_prefix::bytes_max, address_prefix::parse);
  if (const auto p = address_prefix::parse(bytes); p && *p) {
    const auto again = address_prefix::parse(address_prefix::build((*p)->address));
    if (!again || !*again || (*again)->address != (*p)->address) std::abort();
  }
  return 0;
}
