#include "cluster/core/ownership.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace sluice::cluster {

std::string to_string(const epoch& e) { return fmt::format("{}.{}", e.counter, e.claim_id); }

std::optional<epoch> parse_epoch(std::string_view text) {
  epoch e;
  const auto read = [&](uint64_t& number, char stop) {
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (failure != std::errc() || end == text.data()) return false;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    if (stop == '\0') return text.empty();
    if (!text.starts_with(stop)) return false;
    text.remove_prefix(1);
    return true;
  };
  if (!read(e.counter, '.') || !read(e.claim_id, '\0')) return std::nullopt;
  return e;
}

uint64_t next_epoch_counter(uint64_t stored, uint64_t highest_seen, uint64_t wall_ms) {
  return std::max({stored + 1, highest_seen + 1, wall_ms});
}

}  // namespace sluice::cluster
