#include "cluster/core/placement.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace sluice::cluster {
namespace {

struct fleet {
  explicit fleet(size_t count) {
    for (size_t i = 0; i < count; ++i) add("origin-" + std::to_string(i));
  }
  void add(const std::string& server) { servers.push_back(server); }
  /// Candidates with the given loads; ids equal the server ids.
  std::vector<candidate> candidates(const std::map<std::string, uint64_t>& streams = {}) const {
    std::vector<candidate> out;
    for (const std::string& s : servers) out.push_back({s, s, streams.contains(s) ? streams.at(s) : 0});
    return out;
  }
  std::vector<std::string> servers;
};

std::string key(int i) { return "__defaultVhost__/live/stream-" + std::to_string(i); }

class balance : public testing::TestWithParam<size_t> {};

TEST_P(balance, busiest_is_near_the_mean) {
  const fleet origins(GetParam());
  std::map<std::string, uint64_t> streams;
  constexpr int count = 10'000;
  for (int i = 0; i < count; ++i) {
    const auto candidates = origins.candidates(streams);
    const auto picked = pick_origin(key(i), candidates, {});
    ASSERT_TRUE(picked);
    ++streams[std::string(candidates[*picked].origin_id)];
  }
  uint64_t busiest = 0;
  for (const auto& [id, n] : streams) busiest = std::max(busiest, n);
  EXPECT_LE(static_cast<double>(busiest), 1.25 * count / static_cast<double>(GetParam()));
  EXPECT_EQ(streams.size(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(fleets, balance, testing::Values(4, 10, 100));

TEST(placement, weights_share_the_streams) {
  std::map<std::string, uint64_t> streams;
  for (int i = 0; i < 9'000; ++i) {
    const std::vector<candidate> candidates = {{"a", "a", streams["a"], 1}, {"b", "b", streams["b"], 2}};
    ++streams[std::string(candidates[*pick_origin(key(i), candidates, {})].origin_id)];
  }
  EXPECT_NEAR(static_cast<double>(streams["b"]), 6'000, 600);
}

TEST(placement, without_loads_it_is_a_function_of_the_key) {
  const fleet origins(10);
  auto shuffled = origins.candidates({{"origin-3", 1000}});
  std::reverse(shuffled.begin(), shuffled.end());
  const auto plain = origins.candidates();
  std::map<std::string_view, int> won;
  for (int i = 0; i < 10'000; ++i) {
    const auto a = pick_origin(key(i), plain, {}, {.use_load = false});
    const auto b = pick_origin(key(i), shuffled, {}, {.use_load = false});
    ASSERT_EQ(plain[*a].server_id, shuffled[*b].server_id);
    ++won[plain[*a].server_id];
  }
  for (const auto& [id, n] : won) EXPECT_NEAR(n, 1000, 150) << id;
}

TEST(placement, an_added_origin_moves_only_what_it_wins) {
  const fleet before(10);
  fleet after = before;
  after.add("origin-new");
  int moved = 0;
  for (int i = 0; i < 10'000; ++i) {
    const auto was = before.servers[*pick_origin(key(i), before.candidates(), {}, {.use_load = false})];
    const auto is = after.servers[*pick_origin(key(i), after.candidates(), {}, {.use_load = false})];
    if (was == is) continue;
    EXPECT_EQ(is, "origin-new");
    ++moved;
  }
  EXPECT_NEAR(moved, 10'000 / 11, 150);
}

TEST(placement, excluded_and_full_origins_are_left_out) {
  const std::vector<candidate> two = {{"a-1-1", "a", 5, 1, 5}, {"b-1-1", "b", 100, 1, 0}};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pick_origin(key(i), two, {}), 1u);
  const std::vector<std::string> exclude = {"b-1-1"};
  EXPECT_FALSE(pick_origin(key(1), two, exclude));
  EXPECT_FALSE(pick_origin(key(1), {}, {}));
}

TEST(placement, the_less_loaded_of_the_first_two) {
  const std::vector<candidate> two = {{"a", "a", 10}, {"b", "b", 11}};
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pick_origin(key(i), two, {}), 0u);
}

/// Proxies of different versions must rank alike: the hash is part of the protocol between them.
TEST(placement, the_hash_does_not_change) {
  EXPECT_EQ(hash64(""), hash64("", 0));
  EXPECT_NE(hash64("a"), hash64(std::string_view("a\0", 2)));
  EXPECT_EQ(hash64("__defaultVhost__/live/livestream", hash64("origin-1")), 13595549464942462987u);
}

}  // namespace
}  // namespace sluice::cluster
