#include "cluster/core/placement.hpp"

#include <algorithm>
#include <cmath>

namespace sluice::cluster {
namespace {

/// The finaliser of splitmix64: every input bit reaches every output bit.
uint64_t mixed(uint64_t x) {
  x ^= x >> 30;
  x *= 0xBF58476D1CE4E5B9;
  x ^= x >> 27;
  x *= 0x94D049BB133111EB;
  x ^= x >> 31;
  return x;
}

struct ranked {
  double score;
  size_t index;
};

}  // namespace

uint64_t hash64(std::string_view text, uint64_t seed) {
  constexpr uint64_t golden = 0x9E3779B97F4A7C15;
  uint64_t h = mixed(seed + golden) ^ text.size() * golden;
  while (!text.empty()) {
    // Bytes are joined by shifts, not by memcpy: the value must not depend on the byte order of the machine.
    uint64_t word = 0;
    const size_t take = std::min<size_t>(text.size(), 8);
    for (size_t i = 0; i < take; ++i) word |= static_cast<uint64_t>(static_cast<uint8_t>(text[i])) << (8 * i);
    h = mixed((h ^ word) + golden);
    text.remove_prefix(take);
  }
  return mixed(h);
}

double rendezvous_score(std::string_view key, const candidate& c) {
  const uint64_t h = hash64(key, hash64(c.server_id));
  // -weight / ln(u) with u uniform in (0, 1): each origin wins its weight's share.
  const double u = (static_cast<double>(h >> 12) + 0.5) * 0x1p-52;
  return -c.weight / std::log(u);
}

std::optional<size_t> pick_origin(std::string_view key, std::span<const candidate> candidates,
                                  std::span<const std::string> exclude, const placement_rules& rules) {
  uint64_t streams = 0;
  double weights = 0;
  std::vector<ranked> rank;
  rank.reserve(candidates.size());
  for (size_t i = 0; i < candidates.size(); ++i) {
    const candidate& c = candidates[i];
    if (c.capacity != 0 && c.streams >= c.capacity) continue;
    if (std::find(exclude.begin(), exclude.end(), c.origin_id) != exclude.end()) continue;
    streams += c.streams;
    weights += c.weight;
    rank.push_back({rendezvous_score(key, c), i});
  }
  if (rank.empty()) return std::nullopt;
  // Two incarnations of one server id have equal scores: the id decides, so that every proxy decides alike.
  std::sort(rank.begin(), rank.end(), [&](const ranked& a, const ranked& b) {
    return a.score != b.score ? a.score > b.score : candidates[a.index].origin_id < candidates[b.index].origin_id;
  });
  if (!rules.use_load) return rank.front().index;

  const double mean = static_cast<double>(streams + 1) / weights;
  auto has_room = [&](size_t i) {
    const candidate& c = candidates[i];
    return static_cast<double>(c.streams) + 1 <= std::ceil(rules.balance_max * mean * c.weight);
  };
  auto load = [&](size_t i) { return static_cast<double>(candidates[i].streams) / candidates[i].weight; };
  if (rank.size() > 1 && load(rank[1].index) < load(rank[0].index) && has_room(rank[1].index)) return rank[1].index;
  for (const ranked& r : rank) {
    if (has_room(r.index)) return r.index;
  }
  // Not reached: an origin at or below the mean has room. Rounding of odd weights is no reason to refuse a stream,
  // though.
  return rank.front().index;
}

}  // namespace sluice::cluster
