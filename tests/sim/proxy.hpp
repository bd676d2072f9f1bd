#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "cluster/core/coordinator.hpp"
#include "cluster/store/memory_store.hpp"
#include "sim/network.hpp"
#include "sim/store.hpp"

namespace sluice::sim {

class encoder;
class prober;
class publish_session;
class session;
class view_session;
class viewer;
class world;

/// A proxy: the real coordinator, and a model of the shell that carries out its actions (src/relay).
class proxy final : public process, public network::endpoint {
 public:
  proxy(world& w, node self);
  ~proxy() override;

  void start();
  void crash();
  void set_wall_error(int64_t ms) { wall_error_ms_ = ms; }
  node self() const { return self_; }
  bool has_publishers() const;

  // -- clients: calls from outside
  void open_publish(encoder& client, uint32_t session, int stream);
  void open_view(viewer& client, uint32_t session, int stream);
  void leave(uint32_t session);
  publish_session* publisher(uint32_t session);
  view_session* view(uint32_t session);
  bool has_session(uint32_t id, const session& s) { return find_session(id) == &s; }

  // -- network
  base::result<cluster::registration_reply> on_heartbeat(const cluster::origin_registration& reg);
  /// Another proxy has accepted it.
  void on_passed_on(const cluster::origin_registration& reg);
  /// A proxy has written it, then.
  void on_announced(int stream, const cluster::owner_record& owner, time_point written_at);
  /// An announcement was lost on its way here.
  void misses(int stream, const cluster::epoch& e) { missed_[stream] = e; }
  bool has_missed(int stream, const cluster::epoch& e) const {
    const auto at = missed_.find(stream);
    return at != missed_.end() && at->second == e;
  }
  void on_packet(int conn, const packet& p) override;
  void on_closed(int conn, bool by_reset) override;
  void drain(const std::string& server_id, bool on);

  // -- sessions: what relay::director offers to the shards. Posts keep their order.
  uint64_t claim(const session& asker, cluster::claim_request request);
  uint64_t find(const session& asker, time_point deadline);
  void cancel(uint64_t request);
  void claim_refused(uint64_t request);
  void watched(int stream);
  void publish_started(int stream, const cluster::epoch& e);
  void publish_ended(int stream, const cluster::epoch& e);
  uint64_t commit_move(const session& asker, const cluster::epoch& from, const cluster::assignment& to);
  void move_refused(int stream, const cluster::epoch& from, const std::string& to_origin, std::string reason);
  void dial_failed(const std::string& origin_id);
  void dial_ok(const std::string& origin_id);
  uint64_t ask_verdict(const session& asker, const std::string& origin_id, bool agreed);
  int dial(session& by, const std::string& origin_id);
  void hang_up(int conn);
  /// This proxy has claimed it, in this life.
  bool has_proposed(const cluster::epoch& e) const { return proposed_.contains(e); }
  /// A byte came from it.
  void heard(const std::string& origin_id);
  // Of the prober.
  void probe_answered(const std::string& origin_id, cluster::probe_answer answer);
  void link_broken(const std::string& origin_id);
  int dial_probe(const std::string& origin_id) { return dial_to(origin_id); }
  /// Destroys the session, once it is not on the stack any more.
  void done(session& s);
  world& in() { return w_; }

  /// Checked from time to time: every request is answered in time, nothing grows.
  void check(bool quiet);

 protected:
  void after_work() override { drain_actions(); }

 private:
  /// A request in the core: exactly one answer, or none after its cancellation.
  struct open_request {
    uint32_t session = 0;
    int stream = 0;
    bool claims = false;
    time_point deadline;
    time_point without_store = base::never;  ///< a new publish, which came then; the store has been away since
    bool moves = false;                      ///< the commit of a move: without it the publish goes on where it is
  };
  struct peer {  // an incarnation of an origin
    time_point heard_at{};
    bool untold = false;
    time_point beat_at{};
    time_point lost_at = base::never;
    bool gone = false;
  };
  void to_core(inner_callback call);
  void to_shard(inner_callback call);
  void drain_actions();
  void arm();
  void on_deadline();
  cluster::moment at() const;
  void tell_heard();
  void watch_store();
  void load_origins();
  void take(const cluster::origin_registration& reg, cluster::registered_by by, duration ago);
  void store_told(std::optional<shared_store::state> now);
  void check_told(int stream, const cluster::epoch& e);
  void check_claims() const;
  void told(int stream, const cluster::epoch& e);
  void answered(uint64_t request, base::result<cluster::assignment> answer, bool claims);
  void carry_out(cluster::action::probe a);
  void carry_out(cluster::action::store a);
  void carry_out(cluster::action::reply_claim a) { answered(a.request_id, std::move(a.answer), true); }
  void carry_out(cluster::action::reply_find a) { answered(a.request_id, std::move(a.answer), false); }
  void carry_out(cluster::action::verdict a);
  void carry_out(const cluster::action::origin_lost& a);
  void carry_out(const cluster::action::owner_changed& a);
  void carry_out(const cluster::action::move& a);
  void carry_out(cluster::action::snapshot_changed) {}
  void carry_out(const cluster::action::log& a);
  void lose_sessions(const cluster::action::origin_lost& a);
  int dial_to(const std::string& origin_id);
  session* find_session(uint32_t id);
  template <typename F>
  void for_each_session(F&& f);

  world& w_;
  const node self_;
  int64_t wall_error_ms_ = 0;
  std::unique_ptr<cluster::coordinator> core_;
  std::unique_ptr<cluster::memory_store> memory_;
  bool draining_ = false;
  time_point armed_at_ = base::never;
  time_point core_hop_at_{}, shard_hop_at_{};
  std::map<std::string, peer> peers_;
  std::map<uint32_t, std::unique_ptr<session>> sessions_;
  std::vector<std::unique_ptr<session>> ended_;
  std::unordered_map<int, uint32_t> by_conn_;
  std::map<uint64_t, open_request> requests_;       // as the core has them
  std::set<cluster::epoch> proposed_;               // by claims of this life
  std::map<std::string, time_point> misled_at_;     // by a late heartbeat of an incarnation that is no more, by server
  std::set<uint64_t> cancelled_;                    // in this turn: their answers may be on their way already
  std::unordered_map<uint64_t, uint32_t> waiting_;  // as the shards have them
  std::unordered_map<uint64_t, uint32_t> asks_;
  std::unordered_map<uint64_t, bool> store_steps_;  // that are out
  std::unique_ptr<prober> prober_;
  // The store's connection, as the client sees it.
  bool store_ok_ = true;
  std::optional<shared_store::state> store_seen_;
  uint64_t store_pings_ = 0;
  std::map<int, cluster::epoch> told_;    // by stream: what players were told last
  std::map<int, cluster::epoch> missed_;  // by stream: of the last announcement that was lost
  uint64_t last_id_ = 0;
  time_point counted_since_{};  // against a core that never comes to rest
  int counted_actions_ = 0;
};

}  // namespace sluice::sim
