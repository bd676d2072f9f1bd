#pragma once

#include <deque>
#include <unordered_map>

#include "cluster/core/ownership.hpp"
#include "cluster/core/registration.hpp"
#include "sim/event_queue.hpp"
#include "sim/network.hpp"

namespace sluice::sim {

class world;

/// The store that all proxies share, as servers on the network, a master and a replica that lags: it may be away, slow,
/// lose replies or all its records; another master lacks the last writes. Its steps are those of
/// tests/unit/cluster/store_contract.hpp; requests of one proxy take effect in order, also those whose proxy has given
/// up waiting. What changes an owner is announced to all proxies, and so are the registrations that one has accepted.
class shared_store final : public process {
 public:
  explicit shared_store(world& w);

  using on_reply = std::function<void(cluster::store_reply)>;
  /// For a proxy. `done` runs in it, unless request or reply are lost.
  void submit(node proxy, cluster::store_request request, on_reply done);
  /// By what a proxy tells that it has another server before it, or one that has lost all.
  struct state {
    int master = 0, generation = 0;
    bool operator==(const state&) const = default;
  };
  /// Without an answer if it cannot be reached or is down.
  void ping(node proxy, std::function<void(state)> done);
  /// To the other proxies; and kept for those that start later.
  void pass_on(node from, const cluster::origin_registration& reg, uint64_t wall_ms);
  /// As known to the store, in the order in which they came, for as long as a key lives; without what they hold.
  struct remembered {
    cluster::origin_registration registration;
    uint64_t wall_ms;  ///< when it was written, by the clock of its proxy
  };
  std::vector<remembered> registrations() const { return registered_; }

  void go_down() { down_ = true; }
  void come_up() { down_ = false; }
  void lose_all();
  /// The replica takes over, which is so far behind.
  void change_master(duration lag);

  /// For the monitor.
  std::optional<cluster::owner_record> peek(const cluster::stream_key& key) const;

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
  /// `work` runs at the store, what it returns at the proxy (nothing: no answer).
  void ask(node proxy, std::function<std::function<void()>()> work);
  outcome apply(const cluster::store_request& request);
  cluster::owner_record write(const cluster::store_request& request, const cluster::owner_record& record);
  void remember(const cluster::origin_registration& reg, uint64_t wall_ms);
  void announce(const cluster::stream_key& key, const cluster::owner_record& owner);
  void put(const cluster::stream_key& key, std::optional<entry> now_there);

  world& w_;
  bool down_ = false;
  state state_;
  std::vector<remembered> registered_;
  std::unordered_map<cluster::stream_key, entry> records_;
  std::deque<change> changes_;                         // of the last two seconds
  std::vector<time_point> last_request_, last_reply_;  // by proxy: a connection keeps order
};

}  // namespace sluice::sim
