#include <cstdlib>
#include <string>

#include "proto/sdp/description.hpp"

using namespace sluice;

namespace {

void check(bool ok) {
  if (!ok) std::abort();
}

size_t lines_with(std::string_view text, std::string_view prefix) {
  size_t n = text.starts_with(prefix) ? 1 : 0;
  for (size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1))
    if (text.substr(at + 1).starts_with(prefix)) ++n;
  return n;
}

}  // namespace

// A description that may come in still may with our candidates in it, and then names no other address.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const base::endpoint ours[] = {*base::endpoint::parse("203.0.113.9:18000"),
                                 *base::endpoint::parse("[2001:db8::9]:18000")};
  const auto d = sdp::parse(text);
  const auto fragment = sdp::parse_fragment(text);
  check(!d || fragment);
  const auto replaced = sdp::replace_candidates(text, ours, true);
  const auto dropped = sdp::drop_candidates(text);
  check(lines_with(dropped, "a=candidate:") == 0);
  check(dropped.size() <= text.size());
  check(lines_with(replaced, "a=candidate:") % 2 == 0);
  check(sdp::replace_candidates(replaced, ours, true) == replaced);
  if (!d) return 0;
  const bool offered = sdp::check_offer(*d).has_value();
  if (replaced.size() > sdp::bytes_max) return 0;
  const auto again = sdp::parse(replaced);
  check(again && again->sections.size() == d->sections.size());
  check(again->first_ufrag() == d->first_ufrag() && again->first_password() == d->first_password());
  check(sdp::check_offer(*again).has_value() == offered);
  if (again->candidate) check(*again->candidate == ours[0]);
  return 0;
}
