#include "relay/director.hpp"

#include <chrono>

#include "relay/prober.hpp"

namespace sluice::relay {

director::director(runtime::loop& control, cluster::coordinator_config config, cluster::owner_store& store,
                   base::log_sink& log, base::metrics& metrics)
    : loop_(control),
      coordinator_(std::move(config), at()),
      store_(store),
      log_(log),
      metrics_(metrics),
      timer_(control, [this] {
        coordinator_.on_timeout(at());
        drain();
      }) {
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) drain();
  });
}

director::~director() = default;

cluster::moment director::at() const {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  return {loop_.now(), static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(wall).count())};
}

uint64_t director::claim(runtime::loop& back, cluster::stream_key key, std::string session,
                         std::vector<std::string> exclude, assigned done) {
  const uint64_t id = ++ids_;
  loop_.post([this, &back, id, key = std::move(key), session = std::move(session), exclude = std::move(exclude),
              done = std::move(done)]() mutable {
    requests_.emplace(id, waiting{&back, std::move(done)});
    coordinator_.claim(id, key, std::move(session), std::move(exclude), at());
    drain();
  });
  return id;
}

uint64_t director::find(runtime::loop& back, cluster::stream_key key, base::duration wait, assigned done) {
  const uint64_t id = ++ids_;
  loop_.post([this, &back, id, key = std::move(key), wait, done = std::move(done)]() mutable {
    requests_.emplace(id, waiting{&back, std::move(done)});
    coordinator_.find(id, key, wait == base::duration::zero() ? base::never : loop_.now() + wait, at());
    drain();
  });
  return id;
}

void director::cancel(uint64_t id) {
  loop_.post([this, id] {
    requests_.erase(id);
    coordinator_.cancel(id, at());  // also when answered: a claim granted and not used is undone
    drain();
  });
}

void director::publish_started(cluster::stream_key key, cluster::epoch e) {
  loop_.post([this, key = std::move(key), e] {
    coordinator_.publish_started(key, e, at());
    drain();
  });
}

void director::publish_ended(cluster::stream_key key, cluster::epoch e) {
  loop_.post([this, key = std::move(key), e] {
    coordinator_.publish_ended(key, e, at());
    drain();
  });
}

void director::dial_failed(std::string origin_id) {
  loop_.post([this, origin_id = std::move(origin_id)] {
    coordinator_.dial_failed(origin_id, at());
    drain();
  });
}

void director::dial_ok(std::string origin_id) {
  loop_.post([this, origin_id = std::move(origin_id)] {
    coordinator_.dial_ok(origin_id, at());
    drain();
  });
}

void director::origin_closed(runtime::loop& back, std::string origin_id, judged done) {
  loop_.post([this, &back, origin_id = std::move(origin_id), done = std::move(done)]() mutable {
    const uint64_t id = ++ids_;
    asks_.emplace(id, asking{&back, std::move(done)});
    coordinator_.origin_closed(id, origin_id, at());
    drain();
  });
}

base::result<void> director::registration(cluster::origin_registration reg) {
  auto outcome = coordinator_.registration(std::move(reg), at());
  drain();
  return outcome;
}

// Carrying out an action may bring the next input at once (a store in memory): one drain at a time takes them all.
void director::drain() {
  if (std::exchange(draining_, true)) return;
  while (auto next = coordinator_.poll_action())
    std::visit([this](auto& action) { carry_out(std::move(action)); }, *next);
  draining_ = false;
  timer_.arm_at(coordinator_.next_deadline());
}

void director::carry_out(cluster::action::probe p) {
  probe_origin(loop_, p, [this, id = p.origin_id, alive = std::weak_ptr<bool>(alive_)](probe_outcome outcome) {
    if (alive.expired()) return;
    metrics_
        .counter("sluice_probes_total", "Probes of origins, by outcome.", {{"outcome", outcome.ok ? "ok" : "failed"}})
        .add();
    coordinator_.probe_result(id, outcome.ok, outcome.incarnation, at());
    drain();
  });
}

void director::carry_out(cluster::action::store s) {
  store_.submit(std::move(s.request), [this, alive = std::weak_ptr<bool>(alive_)](cluster::store_reply reply) {
    if (alive.expired()) return;
    coordinator_.store_replied(std::move(reply), at());
    drain();
  });
}

void director::carry_out(cluster::action::verdict v) {
  auto node = asks_.extract(v.ask_id);
  if (node.empty()) return;
  node.mapped().back->post([done = std::move(node.mapped().done), answer = v.answer] { done(answer); });
}

void director::carry_out(cluster::action::snapshot_changed) {
  if (on_change) on_change(coordinator_.snapshot());
}

void director::carry_out(cluster::action::log l) {
  if (log_.enabled(l.level)) log_.write(l.level, l.event, l.fields);
}

void director::answer(uint64_t id, base::result<cluster::assignment> outcome) {
  auto node = requests_.extract(id);
  if (node.empty()) return;
  node.mapped().back->post(
      [done = std::move(node.mapped().done), outcome = std::move(outcome)]() mutable { done(std::move(outcome)); });
}

}  // namespace sluice::relay
