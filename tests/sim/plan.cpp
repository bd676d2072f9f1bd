#include "sim/plan.hpp"

#include <algorithm>
#include <array>
#include <tuple>

namespace sluice::sim {

const char* name_of(fault_kind kind) {
  constexpr std::array names{"origin_crash",
                             "origin_blackhole",
                             "origin_pause",
                             "origins_pause",
                             "storm",
                             "proxy_crash",
                             "proxy_pause",
                             "cut_origin",
                             "cut_media",
                             "cut_half",
                             "cut_viewers_proxy",
                             "cut_store",
                             "store_down",
                             "store_pause",
                             "store_lost",
                             "store_rollback",
                             "store_failover",
                             "wall_jump",
                             "encoder_ghost",
                             "encoder_leaves",
                             "second_encoder",
                             "kick",
                             "drain"};
  static_assert(names.size() == static_cast<size_t>(fault_kind::count_));
  return names[static_cast<size_t>(kind)];
}

namespace {

void draw_network(random_source& r, plan& p) {
  if (r.chance(30)) {
    p.network.delay_min = 1ms;
    p.network.delay_max = r.between(duration(5ms), duration(40ms));
  }
  if (r.chance(40)) {
    p.network.loss_percent = r.between(1, 8);
    p.network.duplicate_percent = r.between(0, 8);
    p.network.late_percent = r.between(0, 8);
    p.store_loss_percent = r.between(0, 10);
  }
  p.network.lost_reset_percent = r.chance(50) ? 50 : 0;
}

duration draw_length(random_source& r) {
  switch (r.below(4)) {
    case 0:
      return r.between(duration(50ms), duration(1s));
    case 1:
      return r.between(duration(1s), duration(3500ms));
    case 2:
      return r.between(duration(2s), duration(8s));
    default:
      return r.between(duration(5s), duration(20s));
  }
}

}  // namespace

plan make_plan(random_source& r) {
  plan p;
  p.proxies = r.chance(30) ? 1 : r.between(1, 4);
  p.origins = r.chance(20) ? r.between(1, 2) : r.between(2, 6);
  const bool storm = r.chance(3);
  p.streams = storm ? r.between(20, 40) : r.between(1, 5);
  p.viewers = storm ? r.between(20, 40) : r.between(1, 6);
  if (r.chance(15)) {
    p.direct = true;
    ++p.streams;
  }
  p.memory_store = p.proxies == 1 && r.chance(60);
  p.balanced = p.proxies > 1 && r.chance(35);
  p.numbered = p.balanced || r.chance(75);
  p.replica_lag = r.between(duration(50ms), duration(2s));
  if (r.chance(40)) {
    p.announced_loss_percent = r.between(0, 30);
    p.announced_late_percent = r.between(0, 30);
  }
  if (r.chance(40)) p.hop = r.between(duration(50us), duration(5ms));
  p.stream_ttl = r.chance(30) ? duration(240s) : r.chance(50) ? duration(60s) : r.between(duration(31s), duration(60s));
  p.skewed = r.chance(30);
  draw_network(r, p);
  p.origins_stay_dead = r.chance(50);

  // A few kinds a schedule, several times: what goes together by chance alone rarely meets otherwise.
  std::vector<fault_kind> kinds;
  for (int n = r.between(1, 4); n > 0; --n)
    kinds.push_back(static_cast<fault_kind>(r.below(static_cast<int>(fault_kind::count_))));
  // Clocks matter to a stream that is claimed anew when the store has forgotten it.
  if (std::find(kinds.begin(), kinds.end(), fault_kind::wall_jump) != kinds.end()) {
    kinds.push_back(fault_kind::store_lost);
    kinds.push_back(fault_kind::encoder_leaves);
  }
  // What is placed without a store must be known to it when that is back; who comes then is what shows it.
  if (std::any_of(kinds.begin(), kinds.end(),
                  [](fault_kind k) {
                    return k == fault_kind::store_down || k == fault_kind::cut_store || k == fault_kind::store_failover;
                  }) &&
      r.chance(60)) {
    kinds.push_back(r.chance(50) ? fault_kind::encoder_leaves : fault_kind::encoder_ghost);
  }
  p.faults_until = r.between(duration(12s), duration(40s));
  for (int n = r.between(1, 7); n > 0; --n) {
    fault f;
    f.kind = kinds[static_cast<size_t>(r.below(static_cast<int>(kinds.size())))];
    f.at = r.between(duration(500ms), p.faults_until - 1s);
    f.lasts = draw_length(r);
    p.faults.push_back(f);
  }
  if (storm) p.faults.push_back({fault_kind::storm, r.between(duration(4s), p.faults_until - 1s), draw_length(r)});
  std::sort(p.faults.begin(), p.faults.end(),
            [](const fault& a, const fault& b) { return std::tie(a.at, a.kind) < std::tie(b.at, b.kind); });
  p.settle = r.between(duration(20s), duration(24s));
  return p;
}

}  // namespace sluice::sim
