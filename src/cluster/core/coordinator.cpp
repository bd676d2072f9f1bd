#include "cluster/core/coordinator.hpp"

#include <deque>
#include <utility>

#include "cluster/core/history.hpp"
#include "cluster/core/owner_table.hpp"
#include "cluster/core/registry.hpp"

namespace sluice::cluster {

class coordinator::impl {
 public:
  impl(coordinator_config config, moment at)
      : config_(std::move(config)),
        origins_(config_, actions_, at.now),
        streams_(config_, origins_, history_, actions_, at.now) {
    after_input(at);
  }

  /// What every input begins with.
  void before_input(moment at) { origins_.woke(at.now, origins_due_); }

  /// What every input ends with: those who waited for an origin go on, and the snapshot's readers learn that it
  /// changed.
  void after_input(moment at) {
    apply_departures(at);
    if (origins_.take_confirmed()) streams_.origins_confirmed(at);
    const std::pair counts{streams_.publishing(), streams_.degraded()};
    if (origins_.take_changed() || counts != counts_) snapshot_due_ = true;
    counts_ = counts;
    origins_due_ = origins_.next_deadline();
    if (!snapshot_due_ || at.now < snapshot_at_) return;
    snapshot_due_ = false;
    snapshot_at_ = at.now + config_.snapshot_interval;
    actions_.push_back(action::snapshot_changed{});
  }

  void apply_departures(moment at) {
    for (const departure& who : origins_.take_departures()) streams_.origin_departed(who, at);
    for (const std::string& id : origins_.take_returned()) streams_.origin_returned(id, at);
  }

  base::time_point next_deadline() const {
    const base::time_point next = std::min(origins_due_, streams_.next_deadline());
    return snapshot_due_ ? std::min(next, snapshot_at_) : next;
  }

  const coordinator_config config_;
  std::deque<coordinator_action> actions_;
  history history_;
  registry origins_;
  owner_table streams_;
  bool snapshot_due_ = false;
  base::time_point snapshot_at_ = base::time_point::min();
  base::time_point origins_due_ = base::never;
  std::pair<size_t, size_t> counts_{};
};

coordinator::coordinator(coordinator_config config, moment at) : impl_(std::make_unique<impl>(std::move(config), at)) {}
coordinator::~coordinator() = default;

base::result<registration_reply> coordinator::registration(origin_registration reg, moment at, registered_by by,
                                                           base::duration ago) {
  impl_->before_input(at);
  // The list is for the holders; the registry keeps the rest.
  held_list held;
  if (reg.sluice) {
    held.streams = std::exchange(reg.sluice->streams, {});
    held.whole = std::exchange(reg.sluice->whole, false);
    held.beat = reg.sluice->beat;
    held.since = reg.sluice->since;
  }
  const bool is_sluice = reg.sluice.has_value();
  const std::string id = reg.id();
  const auto outcome =
      impl_->origins_.registration(std::move(reg), {by, at.now - std::max(ago, base::duration::zero())}, at.now);
  impl_->apply_departures(at);  // before what the newcomer holds
  registration_reply reply;
  if (outcome && is_sluice) reply = impl_->streams_.heartbeat(id, held, at);
  impl_->after_input(at);
  if (!outcome) return tl::unexpected(outcome.error());
  return reply;
}

void coordinator::heard(const std::string& origin_id, base::time_point when) { impl_->origins_.heard(origin_id, when); }

void coordinator::claim(uint64_t request_id, const stream_key& key, claim_request request, moment at) {
  impl_->before_input(at);
  impl_->streams_.claim(request_id, key, std::move(request), at);
  impl_->after_input(at);
}

void coordinator::find(uint64_t request_id, const stream_key& key, base::time_point deadline, moment at) {
  impl_->before_input(at);
  impl_->streams_.find(request_id, key, deadline, at);
  impl_->after_input(at);
}

void coordinator::watched(const stream_key& key, moment at) {
  impl_->before_input(at);
  impl_->streams_.watched(key, at);
  impl_->after_input(at);
}

void coordinator::cancel(uint64_t request_id, moment at) {
  impl_->before_input(at);
  impl_->streams_.cancel(request_id, at);
  impl_->after_input(at);
}

void coordinator::claim_refused(uint64_t request_id, moment at) {
  impl_->before_input(at);
  impl_->streams_.claim_refused(request_id, at);
  impl_->after_input(at);
}

void coordinator::publish_started(const stream_key& key, const epoch& e, moment at) {
  impl_->before_input(at);
  impl_->streams_.publish_started(key, e, at);
  impl_->after_input(at);
}

void coordinator::publish_ended(const stream_key& key, const epoch& e, moment at) {
  impl_->before_input(at);
  impl_->streams_.publish_ended(key, e, at);
  impl_->after_input(at);
}

void coordinator::commit_move(uint64_t request_id, const stream_key& key, const epoch& from, const assignment& to,
                              moment at) {
  impl_->before_input(at);
  impl_->streams_.commit_move(request_id, key, from, to, at);
  impl_->after_input(at);
}

void coordinator::move_refused(const stream_key& key, const epoch& from, const std::string& to_origin,
                               std::string reason, moment at) {
  impl_->before_input(at);
  impl_->streams_.move_refused(key, from, to_origin, reason, at);
  impl_->after_input(at);
}

base::result<size_t> coordinator::drain(const std::string& server_id, bool on, moment at) {
  impl_->before_input(at);
  auto to_move = impl_->streams_.drain(server_id, on, at);
  impl_->after_input(at);
  return to_move;
}

void coordinator::note(const stream_key& key, history_event what) { impl_->history_.add(key, std::move(what)); }
std::vector<history_event> coordinator::explain(const stream_key& key) const { return impl_->history_.explain(key); }
std::vector<stream_status> coordinator::streams() const { return impl_->streams_.statuses(); }

void coordinator::dial_failed(const std::string& origin_id, moment at) {
  impl_->before_input(at);
  impl_->origins_.dial_failed(origin_id, at.now);
  impl_->after_input(at);
}

void coordinator::dial_ok(const std::string& origin_id, moment at) {
  impl_->before_input(at);
  impl_->origins_.dial_ok(origin_id, at.now);
  impl_->after_input(at);
}

void coordinator::origin_closed(uint64_t ask_id, const std::string& origin_id, moment at, bool agreed) {
  impl_->before_input(at);
  impl_->origins_.ask(origin_id, {ask_id, at.now, agreed});
  impl_->after_input(at);
}

void coordinator::probe_result(const std::string& origin_id, probe_answer answer,
                               const std::optional<std::string>& incarnation, moment at) {
  impl_->before_input(at);
  impl_->origins_.probe_result(origin_id, answer, incarnation, at.now);
  impl_->after_input(at);
}

void coordinator::store_replied(store_reply reply, moment at) {
  impl_->before_input(at);
  impl_->streams_.store_replied(std::move(reply), at);
  impl_->after_input(at);
}

void coordinator::store_state(bool reachable, bool cold, moment at) {
  impl_->before_input(at);
  impl_->origins_.store_state(reachable, at.now);
  impl_->streams_.store_state(reachable, cold, at);
  impl_->after_input(at);
}

void coordinator::announced(const stream_key& key, const owner_record& owner, moment at) {
  impl_->before_input(at);
  impl_->streams_.announced(key, owner, at);
  impl_->after_input(at);
}

void coordinator::on_timeout(moment at) {
  impl_->before_input(at);
  impl_->origins_.on_timeout(at.now);
  impl_->streams_.on_timeout(at);
  impl_->after_input(at);
}

base::time_point coordinator::next_deadline() const { return impl_->next_deadline(); }

std::optional<coordinator_action> coordinator::poll_action() {
  if (impl_->actions_.empty()) return std::nullopt;
  coordinator_action next = std::move(impl_->actions_.front());
  impl_->actions_.pop_front();
  return next;
}

std::vector<origin_registration> coordinator::registrations() const {
  std::vector<origin_registration> out;
  for (const auto& [id, o] : impl_->origins_.all())
    if (o.is_living() && !o.fabricated) out.push_back(o.reg);
  return out;
}

cluster_snapshot coordinator::snapshot() const {
  cluster_snapshot out;
  for (const auto& [id, o] : impl_->origins_.all()) {
    cluster_snapshot::origin& shown = out.origins.emplace_back();
    shown.id = id;
    shown.server_id = o.reg.server;
    shown.service = o.reg.service;
    shown.pid = o.reg.pid;
    shown.device_id = o.reg.device_id;
    shown.rtmp = o.reg.rtmp;
    shown.health = o.health;
    shown.is_sluice = o.reg.sluice.has_value();
    shown.streams = o.streams();
    shown.weight = o.reg.sluice ? o.reg.sluice->weight : 1;
    shown.capacity = o.reg.sluice ? o.reg.sluice->capacity : 0;
    shown.draining = impl_->origins_.is_draining(o.reg.server);
    shown.to_move = impl_->streams_.draining().to_move(o.reg.server);
    shown.move_refused = impl_->streams_.draining().reasons(o.reg.server);
    shown.breaker_open = o.breaker_open;
    shown.heard_at = std::max(o.registered_at, o.sign_at);
  }
  out.degraded = impl_->streams_.degraded();
  out.mass_silence = impl_->origins_.mass_silence();
  out.streams = impl_->streams_.publishing();
  out.waiting = impl_->streams_.waiting();
  return out;
}

}  // namespace sluice::cluster
