#include "cluster/core/registration.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

using namespace sluice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto got = cluster::parse_registration({reinterpret_cast<const char*>(data), size}, {});
  if (!got) {
    if (got.error().text.empty() || cluster::http_status_of(got.error()) < 400) std::abort();
    return 0;
  }
  for (const auto* list : {&got->rtmp, &got->http, &got->api, &got->srt, &got->rtc_udp, &got->rtc_tcp}) {
    for (const base::endpoint& at : *list) {
      const base::ip_address& a = at.address;
      if (at.port == 0 || a.is_unspecified() || a.is_link_local() || a.is_multicast()) std::abort();
    }
  }
  // What was accepted says the same when it is passed on.
  const auto again = cluster::parse_registration(cluster::make_registration_body(*got), {});
  if (!again || again->id() != got->id() || again->rtmp != got->rtmp || again->rtc_udp != got->rtc_udp ||
      again->rtc_tcp != got->rtc_tcp || again->srt != got->srt ||
      again->sluice.has_value() != got->sluice.has_value()) {
    std::abort();
  }
  if (got->sluice) {
    // Of a list that does not fit, the first streams.
    const auto& all = got->sluice->streams;
    const auto& kept = again->sluice->streams;
    if (kept.size() > all.size() || !std::equal(kept.begin(), kept.end(), all.begin())) std::abort();
    if (kept.size() == all.size() && again->sluice->whole != got->sluice->whole) std::abort();
  }
  return 0;
}
