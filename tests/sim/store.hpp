#pragma once

#include <deque>
#include <unordered_map>

#include "cluster/core/ownership.hpp"
#include "sim/event_queue.hpp"
#include "sim/network.hpp"

namespace sluice::sim {

class world;

/// The store that all proxies share, as a server on the network: it may be away, slow, lose replies, all its records or
/// the last ones. Its steps are those of tests/unit/cluster/store_contract.hpp; requests of one proxy take effect in
/// order, also those whose proxy has given up waiting.
class shared_store final : public process {
 public:
  explicit shared_store(world& w);

  using on_reply = std::function<void(cluster::store_reply)>;
  /// For a proxy. `done` runs in it, unless request or reply are lost.
  void submit(node proxy, cluster::store_request request, on_reply done);

  void go_down() { down_ = true; }
  void come_up() { down_ = false; }
  void lose_all();
  void roll_back(duration by);

 private:
  using outcome = base::result<std::optional<cluster::owner_record>>;
  struct entry {
    cluster::owner_record record;
    time_point expires;
  };
  struct change {  // what was there before
    time_point at;
    cluster::stream_key key;
    std::optional<entry> before;
  };
  outcome apply(const cluster::store_request& request);
  void put(const cluster::stream_key& key, std::optional<entry> now_there);

  world& w_;
  bool down_ = false;
  std::unordered_map<cluster::stream_key, entry> records_;
  std::deque<change> changes_;                         // of the last two seconds
  std::vector<time_point> last_request_, last_reply_;  // by proxy: a connection keeps order
};

}  // namespace sluice::sim
