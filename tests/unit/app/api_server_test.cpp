#include "roles/api_server.hpp"

#include <gtest/gtest.h>

namespace sluice::roles {
namespace {

cluster::cluster_snapshot::origin origin(cluster::origin_health health, size_t streams) {
  cluster::cluster_snapshot::origin o;
  o.health = health;
  o.streams = streams;
  return o;
}

TEST(cluster_metrics, tell_a_mass_silence_and_the_streams_that_wait) {
  using enum cluster::origin_health;
  base::metrics metrics;
  const auto of = [&](std::string_view name) { return metrics.gauge(name, "").value(); };
  cluster::cluster_snapshot s;
  s.origins = {origin(suspect, 4), origin(alive, 8), origin(suspect, 16), origin(dead, 32)};
  EXPECT_EQ(note_cluster(metrics, s), 1u);
  EXPECT_EQ(of("sluice_mass_silence"), 0);
  EXPECT_EQ(of("sluice_mass_silence_streams"), 0) << "one that is suspect alone is about to lose its streams";
  s.mass_silence = true;
  note_cluster(metrics, s);
  EXPECT_EQ(of("sluice_mass_silence"), 1);
  EXPECT_EQ(of("sluice_mass_silence_streams"), 20);
}

}  // namespace
}  // namespace sluice::roles
