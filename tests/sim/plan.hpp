#pragma once

#include <string>
#include <vector>

#include "sim/network.hpp"

namespace sluice::sim {

/// What may go wrong, each as often as the plan says.
enum class fault_kind : uint8_t {
  origin_crash,      ///< connections reset, dials refused; it comes back as another incarnation, or not
  origin_blackhole,  ///< the machine is gone: nothing is reset; comes back as another incarnation
  origin_pause,      ///< SIGSTOP, SIGCONT
  origins_pause,     ///< half of them or more, within a second
  storm,             ///< the busiest origin crashes
  proxy_crash,
  proxy_pause,
  cut_origin,         ///< one proxy and one origin
  cut_media,          ///< the same, heartbeats come through
  cut_half,           ///< one proxy and half of the origins or more
  cut_viewers_proxy,  ///< a proxy without publishers, and one origin
  cut_store,          ///< one proxy and the store
  store_down,
  store_pause,
  store_lost,      ///< all its records, and with them its generation: it is cold
  store_rollback,  ///< another master, without what the replica had not got
  store_failover,  ///< the same, and nobody serves until the replica has taken over
  wall_jump,       ///< of one process, seconds to a day, either way
  encoder_ghost,   ///< its network is gone without a FIN; it comes back through another proxy
  encoder_leaves,
  second_encoder,  ///< another one of the same stream, for a while
  kick,            ///< an origin closes a publisher's or viewer's connection
  drain,
  count_,
};
const char* name_of(fault_kind kind);

struct fault {
  fault_kind kind{};
  duration at{};     ///< from the start
  duration lasts{};  ///< where it has an end
};

/// One schedule: all that is drawn before it starts.
struct plan {
  int proxies = 1, origins = 1, streams = 1, viewers = 0;
  bool direct = false;        ///< the last stream comes to an origin without a proxy
  bool memory_store = false;  ///< of the one proxy, dies with it
  duration hop{};             ///< between a proxy's shards and its control thread, at most
  duration stream_ttl{};      ///< beyond the 30 s that viewers wait
  bool skewed = false;        ///< proxies' wall clocks differ by up to a minute
  network_conditions network;
  int store_loss_percent = 0;                                  ///< of its replies
  duration replica_lag{};                                      ///< of the store's replica, at most
  int announced_loss_percent = 0, announced_late_percent = 0;  ///< of what proxies tell each other through the store
  bool balanced = false;      ///< a load balancer gives each heartbeat of an origin to any one proxy
  bool numbered = true;       ///< heartbeats have numbers
  std::vector<fault> faults;  ///< in order of time
  duration faults_until{};    ///< then everything is healed
  duration settle{};          ///< … and so much later the schedule ends
  int proxied_streams() const { return streams - (direct ? 1 : 0); }
  bool origins_stay_dead = false;  ///< those that crashed last do not come back, as long as one lives
};
plan make_plan(random_source& random);

}  // namespace sluice::sim
