#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/core/coordinator.hpp"
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

  // -- any thread
  /// Returns an id for cancel(). A claim whose answer is not wanted any more must be cancelled: what it wrote is then
  /// undone. One that was answered and is not followed by publish_started() is undone after a while.
  uint64_t claim(runtime::loop& back, cluster::stream_key key, std::string session, std::vector<std::string> exclude,
                 assigned done);
  /// `wait`: zero means the configured play_wait.
  /// Returns an id for cancel().
  uint64_t find(runtime::loop& back, cluster::stream_key key, base::duration wait, assigned done);
  /// The asker is gone: `done` is not called any more, unless it is on its way already.
  void cancel(uint64_t id);
  void publish_started(cluster::stream_key key, cluster::epoch e);
  void publish_ended(cluster::stream_key key, cluster::epoch e);
  void dial_failed(std::string origin_id);
  void dial_ok(std::string origin_id);
  /// A connection to the origin ended by its doing: does it live?
  void origin_closed(runtime::loop& back, std::string origin_id, judged done);

  // -- control thread
  base::result<void> registration(cluster::origin_registration reg);
  cluster::cluster_snapshot snapshot() const { return coordinator_.snapshot(); }
  /// Called on the control thread when the snapshot changes.
  std::function<void(const cluster::cluster_snapshot&)> on_change;

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
  void drain();
  void carry_out(cluster::action::probe p);
  void carry_out(cluster::action::store s);
  void carry_out(cluster::action::reply_claim r) { answer(r.request_id, std::move(r.answer)); }
  void carry_out(cluster::action::reply_find r) { answer(r.request_id, std::move(r.answer)); }
  void carry_out(cluster::action::verdict v);
  void carry_out(cluster::action::snapshot_changed);
  void carry_out(cluster::action::log l);
  void answer(uint64_t id, base::result<cluster::assignment> outcome);

  runtime::loop& loop_;
  cluster::coordinator coordinator_;
  cluster::owner_store& store_;
  base::log_sink& log_;
  base::metrics& metrics_;
  runtime::timer timer_;
  std::map<uint64_t, waiting> requests_;
  std::map<uint64_t, asking> asks_;
  std::atomic<uint64_t> ids_{0};
  bool draining_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
