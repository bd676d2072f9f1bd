#include "relay/director.hpp"

#include <chrono>
#include <set>

namespace sluice::relay {
namespace {

std::string_view name_of(cluster::probe_answer a) {
  switch (a) {
    case cluster::probe_answer::ok:
      return "ok";
    case cluster::probe_answer::gone:
      return "gone";
    case cluster::probe_answer::silent:
      break;
  }
  return "silent";
}

}  // namespace

director::director(runtime::loop& control, cluster::coordinator_config config, cluster::owner_store& store,
                   base::log_sink& log, base::metrics& metrics)
    : loop_(control),
      proxy_id_(config.proxy_id),
      coordinator_(std::move(config), at()),
      store_(store),
      log_(log),
      metrics_(metrics),
      links_(control, lines_, [this](const std::string& origin_id) { on_link_broken(origin_id); }),
      timer_(control, [this] { on_timer(); }) {
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired()) carry_out_all();
  });
}

director::~director() = default;

cluster::moment director::at() const {
  const auto wall = std::chrono::system_clock::now().time_since_epoch();
  return {loop_.now(), static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(wall).count())};
}

void director::feed_lines() {
  lines_.for_each_new([this](const std::string& id, base::time_point when) { coordinator_.heard(id, when); });
}

void director::on_timer() {
  feed_lines();
  coordinator_.on_timeout(at());
  carry_out_all();
}

/// Its process may have ended: asked at once, so that it is noticed even when nothing else goes there.
void director::on_link_broken(const std::string& origin_id) {
  coordinator_.origin_closed(++ids_, origin_id, at());
  carry_out_all();
}

uint64_t director::claim(runtime::loop& back, cluster::stream_key key, cluster::claim_request request, assigned done) {
  const uint64_t id = ++ids_;
  loop_.post([this, &back, id, key = std::move(key), request = std::move(request), done = std::move(done)]() mutable {
    requests_.emplace(id, waiting{&back, std::move(done)});
    coordinator_.claim(id, key, std::move(request), at());
    carry_out_all();
  });
  return id;
}

uint64_t director::find(runtime::loop& back, cluster::stream_key key, base::duration wait, assigned done) {
  const uint64_t id = ++ids_;
  loop_.post([this, &back, id, key = std::move(key), wait, done = std::move(done)]() mutable {
    requests_.emplace(id, waiting{&back, std::move(done)});
    coordinator_.find(id, key, wait == base::duration::zero() ? base::never : loop_.now() + wait, at());
    carry_out_all();
  });
  return id;
}

void director::cancel(uint64_t id) {
  loop_.post([this, id] {
    requests_.erase(id);
    coordinator_.cancel(id, at());  // also when answered: a claim granted and not used is undone
    carry_out_all();
  });
}

void director::claim_refused(uint64_t id) {
  loop_.post([this, id] {
    coordinator_.claim_refused(id, at());
    carry_out_all();
  });
}

void director::publish_started(cluster::stream_key key, cluster::epoch e) {
  loop_.post([this, key = std::move(key), e] {
    coordinator_.publish_started(key, e, at());
    carry_out_all();
  });
}

void director::publish_ended(cluster::stream_key key, cluster::epoch e) {
  loop_.post([this, key = std::move(key), e] {
    coordinator_.publish_ended(key, e, at());
    carry_out_all();
  });
}

void director::dial_failed(std::string origin_id) {
  loop_.post([this, origin_id = std::move(origin_id)] {
    coordinator_.dial_failed(origin_id, at());
    carry_out_all();
  });
}

void director::dial_ok(std::string origin_id) {
  loop_.post([this, origin_id = std::move(origin_id)] {
    coordinator_.dial_ok(origin_id, at());
    carry_out_all();
  });
}

void director::origin_closed(runtime::loop& back, std::string origin_id, judged done, bool agreed) {
  loop_.post([this, &back, origin_id = std::move(origin_id), done = std::move(done), agreed]() mutable {
    const uint64_t id = ++ids_;
    asks_.emplace(id, asking{&back, std::move(done)});
    coordinator_.origin_closed(id, origin_id, at(), agreed);
    carry_out_all();
  });
}

void director::commit_move(runtime::loop& back, cluster::stream_key key, cluster::epoch from, cluster::assignment to,
                           assigned done) {
  loop_.post([this, &back, key = std::move(key), from, to = std::move(to), done = std::move(done)]() mutable {
    const uint64_t id = ++ids_;
    requests_.emplace(id, waiting{&back, std::move(done)});
    moves_.insert(id);
    coordinator_.commit_move(id, key, from, to, at());
    carry_out_all();
  });
}

void director::move_refused(cluster::stream_key key, cluster::epoch from, std::string to_origin, std::string reason) {
  loop_.post([this, key = std::move(key), from, to_origin = std::move(to_origin), reason = std::move(reason)] {
    count_move("refused");
    coordinator_.move_refused(key, from, to_origin, reason, at());
    carry_out_all();
  });
}

void director::note(cluster::stream_key key, cluster::history_event what) {
  loop_.post([this, key = std::move(key), what = std::move(what)]() mutable {
    if (what.wall_ms == 0) what.wall_ms = at().wall_ms;
    coordinator_.note(key, std::move(what));
    carry_out_all();
  });
}

base::result<cluster::registration_reply> director::registration(cluster::origin_registration reg,
                                                                 cluster::registered_by by, base::duration ago) {
  auto outcome = coordinator_.registration(std::move(reg), at(), by, ago);
  carry_out_all();
  return outcome;
}

void director::store_state(bool reachable, bool cold) {
  coordinator_.store_state(reachable, cold, at());
  carry_out_all();
}

void director::announced(const cluster::stream_key& key, const cluster::owner_record& owner) {
  coordinator_.announced(key, owner, at());
  carry_out_all();
}

base::result<size_t> director::drain(const std::string& server_id, bool on) {
  auto outcome = coordinator_.drain(server_id, on, at());
  carry_out_all();
  return outcome;
}

// Carrying out an action may bring the next input at once (a store in memory): one at a time takes them all.
void director::carry_out_all() {
  if (std::exchange(carrying_out_, true)) return;
  while (auto next = coordinator_.poll_action())
    std::visit([this](auto& action) { carry_out(std::move(action)); }, *next);
  carrying_out_ = false;
  timer_.arm_at(coordinator_.next_deadline());
}

void director::carry_out(cluster::action::probe p) {
  auto done = [this, id = p.origin_id, alive = std::weak_ptr<bool>(alive_)](const probe_outcome& outcome) {
    if (alive.expired()) return;
    metrics_
        .counter("sluice_probes_total", "Questions to origins whether they live, by outcome.",
                 {{"outcome", std::string(name_of(outcome.answer))}})
        .add();
    feed_lines();
    coordinator_.probe_result(id, outcome.answer, outcome.incarnation, at());
    carry_out_all();
  };
  if (p.kind == cluster::probe_kind::rtmp_ping) {
    links_.ping(p, std::move(done));
  } else {
    probes_[p.origin_id] = probe_origin(loop_, p, std::move(done));
  }
}

void director::carry_out(cluster::action::store s) {
  store_.submit(std::move(s.request), [this, alive = std::weak_ptr<bool>(alive_)](cluster::store_reply reply) {
    if (alive.expired()) return;
    coordinator_.store_replied(std::move(reply), at());
    carry_out_all();
  });
}

void director::carry_out(cluster::action::verdict v) {
  auto node = asks_.extract(v.ask_id);
  if (node.empty()) return;
  node.mapped().back->post([done = std::move(node.mapped().done), answer = v.answer] { done(answer); });
}

void director::carry_out(cluster::action::origin_lost l) {
  if (on_origin_lost) on_origin_lost(l.origin_id, l.reason);
}

void director::carry_out(cluster::action::owner_changed c) {
  if (on_owner_changed) on_owner_changed(c.key, c.to);
}

void director::carry_out(cluster::action::move m) {
  if (on_move) on_move(m);
}

void director::carry_out(cluster::action::snapshot_changed) {
  const auto snapshot = coordinator_.snapshot();
  std::set<std::string_view> ids;
  for (const auto& o : snapshot.origins) ids.insert(o.id);
  const auto known = [&](const std::string& id) { return ids.contains(id); };
  links_.forget(known);
  lines_.forget(known);
  std::erase_if(probes_, [&](const auto& p) { return !known(p.first); });
  if (on_change) on_change(snapshot);
}

void director::carry_out(cluster::action::log l) {
  if (log_.enabled(l.level)) log_.write(l.level, l.event, l.fields);
}

void director::answer(uint64_t id, base::result<cluster::assignment> outcome) {
  if (moves_.erase(id) > 0) count_move(outcome ? "done" : "lost");
  auto node = requests_.extract(id);
  if (node.empty()) return;
  node.mapped().back->post(
      [done = std::move(node.mapped().done), outcome = std::move(outcome)]() mutable { done(std::move(outcome)); });
}

void director::count_move(std::string_view outcome) {
  metrics_.counter("sluice_moves_total", "Streams that a drain asked to move.", {{"outcome", std::string(outcome)}})
      .add();
}

}  // namespace sluice::relay
