#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/core/coordinator.hpp"
#include "relay/control_link.hpp"
#include "relay/origin_lines.hpp"
#include "relay/prober.hpp"
#include "runtime/loop.hpp"

namespace sluice::relay {

/// Runs a cluster::coordinator on the control thread: carries out its probes and store steps, its timers and log lines,
/// and takes the shards' questions. Answers are posted to the asking loop; an asker that may be gone by then guards its
/// callback itself.
class director {
 public:
  using assigned = std::function<void(base::result<cluster::assignment>)>;
  using judged = std::function<void(cluster::origin_verdict)>;

  /// `store`, `log` and `metrics` (of the control thread) outlive the director. Control thread, as is the destructor.
  director(runtime::loop& control, cluster::coordinator_config config, cluster::owner_store& store, base::log_sink& log,
           base::metrics& metrics);
  ~director();

  // -- any thread; what one thread says is heard in that order
  /// Returns an id for cancel(). A claim whose answer is not wanted any more must be cancelled: what it wrote is then
  /// undone. One that was answered and is not followed by publish_started() is undone after a while.
  uint64_t claim(runtime::loop& back, cluster::stream_key key, cluster::claim_request request, assigned done);
  /// `wait`: zero means the configured play_wait.
  /// Returns an id for cancel().
  uint64_t find(runtime::loop& back, cluster::stream_key key, base::duration wait, assigned done);
  /// The asker is gone: `done` is not called any more, unless it is on its way already.
  void cancel(uint64_t id);
  /// In place of cancel(): coordinator::claim_refused().
  void claim_refused(uint64_t id);
  void publish_started(cluster::stream_key key, cluster::epoch e);
  void publish_ended(cluster::stream_key key, cluster::epoch e);
  void dial_failed(std::string origin_id);
  void dial_ok(std::string origin_id);
  /// A connection to the origin ended by its doing: does it live? `agreed`: it had agreed to the session.
  void origin_closed(runtime::loop& back, std::string origin_id, judged done, bool agreed = true);
  /// Of on_move: the new owner has accepted the publish, write it down. Error reason store_conflict: the stream has
  /// another owner by now.
  void commit_move(runtime::loop& back, cluster::stream_key key, cluster::epoch from, cluster::assignment to,
                   assigned done);
  /// Of on_move: the stream stays where it is. `reason` is shown to whoever looks at the drain.
  void move_refused(cluster::stream_key key, cluster::epoch from, std::string to_origin, std::string reason);
  /// For the stream's history. A `wall_ms` of 0 becomes the time.
  void note(cluster::stream_key key, cluster::history_event what);
  /// Where sessions write when the last byte came from that origin, on any connection (note_heard()). Sessions keep the
  /// pointer while they are connected.
  std::shared_ptr<origin_line> line_of(const std::string& origin_id) { return lines_.of(origin_id); }

  // -- control thread
  base::result<cluster::registration_reply> registration(cluster::origin_registration reg,
                                                         cluster::registered_by by = cluster::registered_by::origin,
                                                         base::duration ago = {});
  /// coordinator::store_state(), coordinator::announced().
  void store_state(bool reachable, bool cold);
  void announced(const cluster::stream_key& key, const cluster::owner_record& owner);
  /// coordinator::drain().
  base::result<size_t> drain(const std::string& server_id, bool on);
  cluster::cluster_snapshot snapshot() const { return coordinator_.snapshot(); }
  std::vector<cluster::origin_registration> registrations() const { return coordinator_.registrations(); }
  std::vector<cluster::history_event> explain(const cluster::stream_key& key) const {
    return coordinator_.explain(key);
  }
  std::vector<cluster::stream_status> streams() const { return coordinator_.streams(); }
  const std::string& proxy_id() const { return proxy_id_; }

  /// Called on the control thread: when the snapshot changes, and with the coordinator's actions of these names. Set
  /// before the loop runs.
  std::function<void(const cluster::cluster_snapshot&)> on_change;
  std::function<void(const std::string& origin_id, cluster::loss_reason)> on_origin_lost;
  std::function<void(const cluster::stream_key&, const cluster::assignment&)> on_owner_changed;
  std::function<void(const cluster::action::move&)> on_move;

 private:
  struct waiting {
    runtime::loop* back;
    assigned done;
  };
  struct asking {
    runtime::loop* back;
    judged done;
  };
  cluster::moment at() const;
  void on_timer();
  void feed_lines();
  void on_link_broken(const std::string& origin_id);
  void carry_out_all();
  void carry_out(cluster::action::probe p);
  void carry_out(cluster::action::store s);
  void carry_out(cluster::action::reply_claim r) { answer(r.request_id, std::move(r.answer)); }
  void carry_out(cluster::action::reply_find r) { answer(r.request_id, std::move(r.answer)); }
  void carry_out(cluster::action::verdict v);
  void carry_out(cluster::action::origin_lost l);
  void carry_out(cluster::action::owner_changed c);
  void carry_out(cluster::action::move m);
  void carry_out(cluster::action::snapshot_changed);
  void carry_out(cluster::action::log l);
  void answer(uint64_t id, base::result<cluster::assignment> outcome);
  void count_move(std::string_view outcome);

  runtime::loop& loop_;
  const std::string proxy_id_;
  cluster::coordinator coordinator_;
  cluster::owner_store& store_;
  base::log_sink& log_;
  base::metrics& metrics_;
  origin_lines lines_;
  control_links links_;
  std::map<std::string, probe_under_way> probes_;  // the last of each origin
  runtime::timer timer_;
  std::map<uint64_t, waiting> requests_;
  std::map<uint64_t, asking> asks_;
  std::set<uint64_t> moves_;  // of requests_, those of commit_move()
  std::atomic<uint64_t> ids_{0};
  bool carrying_out_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
