#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cluster/core/coordinator.hpp"
#include "cluster/core/registry.hpp"

namespace sluice::cluster {

/// The streams that this proxy has to do with: claims and finds under way, publishes whose mapping is renewed, and for
/// a short while what the store said. Part of the coordinator; see coordinator.hpp for the inputs.
///
/// Per stream at most one claim or find step is in the store at a time; claims go first, one after another, so that two
/// publishers of one proxy cannot race each other. A claim that no origin can take is parked until an origin appears or
/// its deadline passes. A claim that was granted is pending until its publish starts; if it never does, what it wrote
/// is undone (owner_table_idle.cpp).
class owner_table {
 public:
  owner_table(const coordinator_config& config, registry& origins, std::deque<coordinator_action>& out);

  void claim(uint64_t request_id, const stream_key& key, std::string session, std::vector<std::string> exclude,
             moment at);
  void find(uint64_t request_id, const stream_key& key, base::time_point deadline, moment at);
  void cancel(uint64_t request_id, moment at);
  void publish_started(const stream_key& key, const epoch& e, moment at);
  void publish_ended(const stream_key& key, const epoch& e, moment at);
  void store_replied(store_reply reply, moment at);
  /// An origin was added, is alive again or has room again: whoever waits may go on.
  void origins_confirmed(moment at);
  void on_timeout(moment at);
  base::time_point next_deadline() const { return timers_.empty() ? base::never : timers_.begin()->first; }

  size_t publishing() const { return publishing_; }
  size_t waiting() const { return requests_.size(); }
  std::vector<stream_status> statuses() const;

 private:
  /// A claim that was granted and whose publish has not started.
  struct pending_claim {
    uint64_t request_id = 0;
    std::string session;
    base::time_point until;     // then it is undone
    base::time_point deadline;  // of its wait for an origin, should it claim again
  };
  /// What may be forgotten when room is needed; the former first.
  enum class idleness : uint8_t { remembered, unstarted, busy };
  struct stream {
    const stream_key* key = nullptr;  // of the map's node
    std::string name;                 // key->str()

    std::optional<owner_record> owner;                       // as last heard
    base::time_point owner_until = base::time_point::min();  // until then it need not be asked for again
    base::time_point miss_until = base::time_point::min();   // until then the store need not be asked again
    std::string session;                                     // that claimed last through this proxy
    unsigned publishers = 0;
    base::time_point renew_at = base::never;

    std::string counted_on;    // the origin whose load this stream is part of, empty: none
    uint64_t placed_beat = 0;  // the origin's heartbeat after which it was placed there, 0: not by us

    std::vector<pending_claim> pending;  // oldest first
    std::optional<epoch> unstarted;      // the owner's, if it was claimed here and nobody has published with it
    idleness idle = idleness::busy;
    std::list<stream*>::iterator idle_at;  // in idle_[idle] unless busy

    uint64_t op = 0;                                   // the step in the store, 0: none
    std::optional<uint64_t> op_claim;                  // the claim that it is made for, unless it is for the finds
    std::optional<epoch> proposed;                     // by that claim
    std::deque<uint64_t> claims;                       // in turn
    std::multimap<base::time_point, uint64_t> parked;  // claims without an origin, by deadline
    std::multimap<base::time_point, uint64_t> finds;   // by deadline
    base::time_point timer = base::never;              // as filed in timers_
  };
  struct request {
    stream* of = nullptr;
    bool is_claim = false;
    base::time_point deadline;
    std::string session;
    std::vector<std::string> exclude;
    unsigned tries = 0;
  };
  enum class op_kind : uint8_t { step, renew, drop };
  struct operation {
    stream_key key;
    op_kind kind = op_kind::step;
    epoch of;  // renew: what is renewed
  };

  stream* admit(uint64_t request_id, const stream_key& key, bool is_claim, moment at);
  stream& stream_of(const stream_key& key);
  void advance(stream& s, moment at);
  void step_claim(stream& s, moment at);
  void step_find(stream& s, moment at);
  void step_done(stream& s, store_reply& reply, moment at);
  void park(stream& s, uint64_t request_id, moment at);
  void grant(stream& s, const request& r, const origin& o, moment at);
  void drop_proven(std::vector<std::string>& exclude) const;
  bool may_keep(const stream& s, const request& r) const;
  void learn(stream& s, const std::optional<owner_record>& owner, moment at);
  void stop_publishing(stream& s);
  void submit_renewal(stream& s);
  void renewed(const stream_key& key, const epoch& of, store_reply& reply, moment at);
  void count_on(stream& s, const std::string& origin_id);
  void place_on(stream& s, const std::string& origin_id, moment at);
  void uncount(stream& s);
  // Of claims that came to nothing, and streams that may be forgotten.
  void add_pending(stream& s, const request& r, uint64_t request_id, moment at);
  void remove_pending(stream& s, size_t index);
  std::optional<base::time_point> supersede(stream& s, const std::string& session);
  void expire_pending(stream& s, moment at);
  void remember_undone(const stream& s);
  stream* restore_undone(const stream_key& key, const epoch& e);
  void undo_unstarted(stream& s);
  void file_idle(stream& s, idleness now);
  bool evict_one(moment at);
  void expire_requests(stream& s, moment at);
  base::error unserved(const request& r, moment at) const;
  void answer(uint64_t request_id, base::result<assignment> outcome);
  void answer_finds(stream& s, const base::result<assignment>& outcome);
  uint64_t submit(store_request request, op_kind kind);
  base::time_point deadline_of(const stream& s) const;
  /// Files the stream's next deadline, or forgets the stream if nothing needs it: `s` may be gone afterwards.
  void settle(stream& s, moment at);
  base::time_point ask_again_at(moment at) const;
  uint64_t random();

  const coordinator_config& config_;
  registry& origins_;
  std::deque<coordinator_action>& out_;
  std::unordered_map<stream_key, stream> streams_;
  std::unordered_map<uint64_t, request> requests_;
  std::unordered_map<uint64_t, operation> operations_;
  std::set<std::pair<base::time_point, stream*>> timers_;
  std::unordered_set<stream*> waiting_;            // streams with a parked claim or a find
  std::unordered_map<uint64_t, stream*> granted_;  // the pending claims
  std::array<std::list<stream*>, 2> idle_;         // by idleness, oldest first
  // Owners given up for claims that took too long; should one start after all, its mapping is put back. Bounded.
  std::map<epoch, std::pair<stream_key, owner_record>> undone_;
  std::deque<epoch> undone_order_;
  uint64_t last_op_ = 0;
  uint64_t highest_seen_ = 0;  // epoch counter
  uint64_t random_state_;
  size_t publishing_ = 0;
};

}  // namespace sluice::cluster
