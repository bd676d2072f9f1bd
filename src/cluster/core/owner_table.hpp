#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cluster/core/coordinator.hpp"
#include "cluster/core/drain.hpp"
#include "cluster/core/history.hpp"
#include "cluster/core/holders.hpp"
#include "cluster/core/registry.hpp"

namespace sluice::cluster {

/// Two heartbeats of the usual second, and a little: so long an owner without a publisher may be one whose publisher is
/// on his way.
inline constexpr base::duration arrival_time = std::chrono::milliseconds(2500);
/// After the start, or the loss of a store: two heartbeats, too.
inline constexpr base::duration cold_time = std::chrono::milliseconds(2500);

/// The streams that this proxy has to do with: claims and finds under way, publishes whose mapping is renewed, moves of
/// a drain, what players were told, and for a short while what the store said. Part of the coordinator; see
/// coordinator.hpp for the inputs.
///
/// Per stream at most one claim or find step is in the store at a time; claims go first, one after another, so that two
/// publishers of one proxy cannot race each other. A claim that no origin can take is parked until an origin appears or
/// its deadline passes. A claim that was granted is pending until its publish starts; if it never does, what it wrote
/// is undone (owner_table_idle.cpp). Functions of streams that may forget the stream say so.
class owner_table {
 public:
  owner_table(const coordinator_config& config, registry& origins, history& past, std::deque<coordinator_action>& out,
              base::time_point now);

  void claim(uint64_t request_id, const stream_key& key, claim_request wanted, moment at);
  void find(uint64_t request_id, const stream_key& key, base::time_point deadline, moment at);
  void watched(const stream_key& key, moment at);
  void cancel(uint64_t request_id, moment at);
  void claim_refused(uint64_t request_id, moment at);
  void publish_started(const stream_key& key, const epoch& e, moment at);
  void publish_ended(const stream_key& key, const epoch& e, moment at);
  void commit_move(uint64_t request_id, const stream_key& key, const epoch& from, const assignment& to, moment at);
  void move_refused(const stream_key& key, const epoch& from, const std::string& to_origin, const std::string& reason,
                    moment at);
  base::result<size_t> drain(const std::string& server_id, bool on, moment at);
  /// What a Sluice origin that is registered says that it holds.
  registration_reply heartbeat(const std::string& origin_id, const held_list& told, moment at);
  void store_replied(store_reply reply, moment at);
  void store_state(bool reachable, bool cold, moment at);
  void announced(const stream_key& key, const owner_record& owner, moment at);
  /// An origin was added, is alive again or has room again: whoever waits may go on.
  void origins_confirmed(moment at);
  /// The origin is dead, void or expired.
  void origin_departed(const departure& who, moment at);
  /// It was dead, and lives again.
  void origin_returned(const std::string& origin_id, moment at);
  void on_timeout(moment at);
  base::time_point next_deadline() const { return timers_.empty() ? base::never : timers_.begin()->first.first; }

  /// Streams published through this proxy, those without an owner now included.
  size_t publishing() const { return publishing_; }
  size_t degraded() const { return degraded_; }
  size_t waiting() const { return requests_.size(); }
  const drains& draining() const { return drains_; }
  std::vector<stream_status> statuses() const;

 private:
  /// A claim that was granted and whose publish has not started.
  struct pending_claim {
    uint64_t request_id = 0;
    std::string session;
    epoch granted;
    base::time_point until;     // then it is undone
    base::time_point deadline;  // of its wait for an origin, should it claim again
    bool fail_over = false;
  };
  /// A move under way: action::move was emitted.
  struct move {
    std::string to;
    epoch proposed;
    base::time_point until;  // then it counts as refused
    uint64_t placed_beat = 0;
  };
  /// Its commit, from commit_move() to the answer. A store that fails may have written it: it is asked until it tells,
  /// or for long enough.
  struct commit {
    uint64_t request_id = 0;
    assignment to;
    base::time_point give_up_at;
    base::time_point retry_at = base::never;  // never: the store is asked just now
  };
  /// What may be forgotten when room is needed; the former first.
  enum class idleness : uint8_t { remembered, unstarted, busy };
  struct stream {
    const stream_key* key = nullptr;  // of the map's node
    std::string name;                 // key->str()
    uint64_t serial = 0;              // in the order in which they became known

    std::optional<owner_record> owner;                       // as last heard
    std::optional<epoch> stored;                             // what the store holds, if that is below the owner's
    base::time_point owner_since = base::time_point::min();  // when this epoch was first heard of
    base::time_point recheck_at = base::never;               // whether it has got its publisher
    base::time_point owner_until = base::time_point::min();  // until then it need not be asked for again
    base::time_point miss_until = base::time_point::min();   // until then the store need not be asked again
    std::string session;                                     // that claimed last through this proxy
    transport by = transport::rtmp;                          // by which it publishes
    unsigned publishers = 0;
    bool lost = false;                               // its publishers' origin is dead
    unsigned failing = 0;                            // claims of fail_over, unanswered or pending
    bool is_published = false, is_degraded = false;  // as counted
    base::time_point renew_at = base::never;
    base::time_point reread_at = base::never;  // what players were told is looked up again
    bool unwritten = false;                    // the owner was decided here, and the store has not confirmed it

    std::string published_on;                             // the origin that its last publish started at
    base::time_point moved_at = base::time_point::min();  // when one started at another than the one before
    std::optional<move> moving;                           // by a drain
    std::string drained_from;                             // the server id, while it is to be moved
    base::time_point move_at = base::never;               // when its turn comes, if it came too early
    std::optional<commit> committing;
    epoch challenger;  // an owner of a higher epoch, since then: is he one?
    base::time_point challenged_at = base::time_point::min();
    epoch abandoned;    // of a move or claim that came to nothing, though the store may have it
    epoch taking_back;  // abandoned before, and the store was asked to drop it
    base::time_point take_back_at = base::time_point::min();     // it is asked then, or again …
    base::time_point take_back_until = base::time_point::min();  // … and not after
    std::optional<epoch> moved_to;  // committed; publish_started() for it is no second publisher

    std::optional<assignment> told;                         // what finds were answered with last
    base::time_point told_until = base::time_point::min();  // kept until then

    std::string counted_on;    // the origin whose load this stream is part of, empty: none
    uint64_t placed_beat = 0;  // the origin's heartbeat after which it was placed there, 0: not by us

    std::vector<pending_claim> pending;  // oldest first
    std::optional<epoch> unstarted;      // the owner's, if it was claimed here and nobody has published with it
    epoch spared;                        // under this epoch it is not undone …
    base::time_point spared_until = base::time_point::min();  // … before
    idleness idle = idleness::busy;
    std::list<stream*>::iterator idle_at;  // in idle_[idle] unless busy

    uint64_t op = 0;                                   // the step in the store, 0: none
    uint64_t op_confirmation = 0;                      // what confirmations_ was then
    std::optional<uint64_t> op_claim;                  // the claim that it is made for, unless it is for the finds
    std::optional<epoch> proposed;                     // by that claim
    bool op_overtaken = false;                         // another owner was announced since: the answer may be older
    std::deque<uint64_t> claims;                       // in turn
    std::multimap<base::time_point, uint64_t> parked;  // claims without an origin, by deadline
    base::time_point unpark_at = base::never;          // they are tried again then at the latest
    std::multimap<base::time_point, uint64_t> finds;   // by deadline
    base::time_point timer = base::never;              // as filed in timers_
  };
  struct request {
    stream* of = nullptr;
    bool is_claim = false;
    bool fail_over = false;
    base::time_point deadline;
    base::time_point patient_until;  // a claim waits until then for who holds the stream, or owns it, to be heard of
    std::string session;
    std::vector<std::string> exclude;
    epoch refused;
    transport by = transport::rtmp;
    unsigned tries = 0;
    bool here = false;          // the store has failed it: it is decided without
    std::optional<epoch> told;  // the owner that the store has just named for it
    bool asks_only = false;     // the step under way is to tell that, and no more
  };
  enum class op_kind : uint8_t { step, renew, drop, move, reassert };
  struct operation {
    stream_key key;
    op_kind kind = op_kind::step;
    /// What is renewed (renew), replaced (move), published (reassert), or was replaced by what is dropped (drop).
    epoch of;
    epoch dropped;            // drop: of what was abandoned
    uint64_t request_id = 0;  // move
    epoch proposed;           // reassert
  };

  stream* admit(uint64_t request_id, const stream_key& key, bool is_claim, moment at);
  stream& stream_of(const stream_key& key);
  /// May forget the stream, as settle() does.
  void advance(stream& s, moment at);
  assignment assignment_to(const origin& o, const std::optional<owner_record>& record) const;
  void remember(const stream& s, moment at, std::string_view what, std::string_view origin_id, const epoch& e,
                std::string_view reason);

  // Claims (owner_table_claim.cpp).
  void step_claim(stream& s, moment at);
  void step_done(stream& s, store_reply& reply, moment at);
  void step_failed(stream& s, base::error why, bool for_claim, moment at);
  void grant(stream& s, const request& r, const origin& o, moment at);
  void park(stream& s, uint64_t request_id, moment at);
  void unpark(stream& s);
  void drop_proven(std::vector<std::string>& exclude) const;
  void claim_here(stream& s, moment at);
  bool may_keep(const stream& s, const request& r, moment at) const;
  bool is_in_use(const stream& s, const origin& o) const;
  bool is_unfit(const stream& s, const request& r) const;
  bool is_arriving(const stream& s, const request& r, moment at) const;
  const origin* out_of_reach(const stream& s, const request& r, bool keep) const;
  void refuse_second(const stream& s, uint64_t request_id, const origin& at_origin);
  static bool waits_for_another(const stream& s, const request& r);
  bool is_braked(const stream& s, const request& r, moment at) const;
  bool may_renew_epoch(const stream& s, const request& r) const;
  bool is_cold(const stream& s, const request& r, moment at) const;
  bool is_unheard(const stream& s, const request& r, moment at) const;
  bool is_excused(const stream& s, const request& r, moment at) const;
  std::optional<std::string> place(const stream& s, const request& r, moment at) const;
  epoch next_epoch(const stream& s, moment at);
  std::string_view reason_of(const stream& s, const request& r) const;

  // Who owns, who holds, and what players were told (owner_table_held.cpp).
  void step_find(stream& s, moment at);
  void find_without_record(stream& s, moment at);
  void submit_find(stream& s);
  std::optional<assignment> findable(const stream& s, moment at) const;
  const holders::copy* held_elsewhere(const stream& s) const;
  bool is_unused(const stream& s, moment at) const;
  bool is_claimed_here(const stream& s) const;
  void learn(stream& s, const std::optional<owner_record>& owner, std::string_view why, moment at);
  void owner_learned(stream& s, const std::optional<owner_record>& before, std::string_view why, moment at);
  void announce(stream& s, const assignment& to);
  base::time_point arrived_by(const stream& s) const;
  void recheck(stream& s, moment at);
  void copy_found(const stream_key& key, const std::string& origin_id, moment at);
  void copy_ended(const stream_key& key, moment at);
  epoch elsewhere(const stream_key& key, const std::string& origin_id) const;
  bool may_hold(const std::string& origin_id) const;
  void tell(stream& s, const assignment& to, moment at);

  // What the store's state, and what other proxies write, mean (owner_table_store.cpp).
  void give_up_steps(moment at);
  void catch_up(moment at);
  void reread(stream& s);
  void store_failed(const base::error& why, moment at);
  void store_worked(moment at);

  // What is published here (owner_table_publish.cpp).
  void stop_publishing(stream& s);
  void submit_renewal(stream& s);
  base::duration renewal_wait();
  void overtaken(stream& s, const owner_record& other, moment at);
  bool is_given_time(stream& s, const owner_record& other, moment at);
  void reassert(stream& s, const epoch& replaces, moment at);
  void reasserted(const operation& op, store_reply& reply, moment at);
  void renewed(const stream_key& key, const epoch& of, store_reply& reply, moment at);

  // Moves of a drain (owner_table_move.cpp).
  void plan_move(stream& s);
  void unplan_move(stream& s);
  void begin_moves(moment at);
  void begin_move(stream& s, moment at);
  void moved(stream& s, const owner_record& to, moment at);
  void end_move(stream& s);
  void submit_commit(stream& s, moment at);
  void commit_here(stream& s, moment at);
  void fail_commit(stream& s, base::error why);
  /// A copy with this epoch is there because of a move of ours that is not committed.
  bool is_uncommitted(const stream& s, const epoch& e) const;
  void refuse_move(stream& s, const std::string& to_origin, const std::string& reason, moment at);
  void publisher_came(stream& s, moment at);
  void check_abandoned(stream& s, moment at);
  void abandoned_replied(stream& s, const operation& op, store_reply& reply, moment at);
  void move_replied(const operation& op, store_reply& reply, moment at);
  void move_timers(stream& s, moment at);

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
  void undo_unstarted(stream& s, moment at);
  void take_back(stream& s, moment at);
  void taken_back(const operation& op, const store_reply& reply, moment at);
  void file_idle(stream& s, idleness now);
  bool evict_one(moment at);
  void expire_requests(stream& s, moment at);
  base::error unserved(const request& r, moment at) const;
  void answer(uint64_t request_id, base::result<assignment> outcome);
  void answer_finds(stream& s, const base::result<assignment>& outcome);
  uint64_t submit(store_request request, operation op);
  base::time_point deadline_of(const stream& s) const;
  base::time_point kept_until(const stream& s) const;
  void count_published(stream& s);
  /// Files the stream's next deadline, or forgets the stream if nothing needs it: `s` may be gone afterwards.
  void settle(stream& s, moment at);
  base::time_point ask_again_at(moment at) const;
  uint64_t random();
  base::duration random_up_to(base::duration d) { return d * static_cast<int64_t>(random() % 1024) / 1024; }

  const coordinator_config& config_;
  registry& origins_;
  history& past_;
  std::deque<coordinator_action>& out_;
  holders held_;
  drains drains_;
  std::unordered_map<stream_key, stream> streams_;
  std::unordered_map<uint64_t, request> requests_;
  std::unordered_map<uint64_t, operation> operations_;
  // In an order that is the same in every run: not by address.
  std::map<std::pair<base::time_point, uint64_t>, stream*> timers_;  // by serial
  std::map<uint64_t, stream*> waiting_;                              // by serial: streams with a parked claim or a find
  std::unordered_map<uint64_t, stream*> granted_;                    // the pending claims
  std::array<std::list<stream*>, 2> idle_;                           // by idleness, oldest first
  // Owners given up for claims that took too long; should one start after all, its mapping is put back. Bounded.
  std::map<epoch, std::pair<stream_key, owner_record>> undone_;
  std::deque<epoch> undone_order_;
  uint64_t confirmations_ = 0;  // how often there was an origin to be tried
  uint64_t last_op_ = 0, last_serial_ = 0;
  uint64_t highest_seen_ = 0;  // epoch counter
  uint64_t random_state_;
  size_t publishing_ = 0, degraded_ = 0;
  size_t moving_ = 0;
  base::time_point cold_until_;
  bool reachable_ = true;                         // the store
  base::time_point failing_since_ = base::never;  // steps of the store have failed
  base::time_point failed_at_ = base::time_point::min();
  uint64_t failures_ = 0, decided_here_ = 0;  // of this outage
};

}  // namespace sluice::cluster
