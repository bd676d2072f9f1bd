#include "cluster/core/ownership.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace sluice::cluster {

std::string text_of(const epoch& e) { return std::to_string(e.counter) + "." + std::to_string(e.claim_id); }

std::optional<epoch> parse_epoch(std::string_view text) {
  epoch e;
  const char* const end = text.data() + text.size();
  const auto counter = std::from_chars(text.data(), end, e.counter);
  if (counter.ec != std::errc() || counter.ptr == end || *counter.ptr != '.') return std::nullopt;
  const auto claim = std::from_chars(counter.ptr + 1, end, e.claim_id);
  if (claim.ec != std::errc() || claim.ptr != end || e.counter > epoch_counter_max) return std::nullopt;
  return e;
}

uint64_t next_epoch_counter(uint64_t stored, uint64_t highest_seen, uint64_t wall_ms) {
  return std::max({stored + 1, highest_seen + 1, wall_ms});
}

owner_record after_renewal(const owner_record* held, const owner_record& renewal) {
  const bool is_anothers = held != nullptr && held->epoch == renewal.epoch && held->published && !renewal.published &&
                           held->proxy_id != renewal.proxy_id;
  return is_anothers ? *held : renewal;
}

}  // namespace sluice::cluster
