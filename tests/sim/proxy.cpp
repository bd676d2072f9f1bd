#include "sim/proxy.hpp"

#include "sim/clients.hpp"
#include "sim/monitor.hpp"
#include "sim/origin.hpp"
#include "sim/prober.hpp"
#include "sim/session.hpp"
#include "sim/store.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr duration store_timeout = 500ms;
/// How late an answer may be: store steps that time out, one after the other.
constexpr duration answer_late_max = 6s;
constexpr int actions_a_second_max = 20'000;

}  // namespace

proxy::proxy(world& w, node self) : process(w.queue), w_(w), self_(self) {}
proxy::~proxy() = default;

void proxy::start() {
  begin_life();
  w_.trace("{} starts, life {}", w_.name_of(self_), life());
  cluster::coordinator_config config;
  config.proxy_id = fmt::format("p{}-{}", self_, life());
  config.seed = w_.random.next();
  config.stream_ttl = w_.how.stream_ttl;
  if (w_.how.memory_store) memory_ = std::make_unique<cluster::memory_store>([this] { return now(); });
  core_hop_at_ = shard_hop_at_ = {};
  armed_at_ = base::never;
  peers_.clear();
  prober_ = std::make_unique<prober>(*this, w_);
  core_ = std::make_unique<cluster::coordinator>(std::move(config), at());
  store_ok_ = true;
  store_seen_.reset();
  told_.clear();
  if (!memory_) watch_store();
  drain_actions();
}

void proxy::crash() {
  if (!up()) return;
  w_.trace("{} crashes", w_.name_of(self_));
  end_life();
  w_.net.died(self_, false);
  sessions_.clear();
  ended_.clear();
  by_conn_.clear();
  requests_.clear();
  cancelled_.clear();
  proposed_.clear();
  misled_at_.clear();
  waiting_.clear();
  asks_.clear();
  store_steps_.clear();
  prober_.reset();
  core_.reset();
  memory_.reset();
  for (const auto& e : w_.encoders) e->on_proxy_gone(this);
  for (const auto& v : w_.viewers) v->on_proxy_gone(this);
}

bool proxy::has_publishers() const {
  for (const auto& [id, s] : sessions_) {
    if (dynamic_cast<const publish_session*>(s.get()) != nullptr && !s->ended()) return true;
  }
  return false;
}

// -- the control thread

cluster::moment proxy::at() const {
  return {now(), static_cast<uint64_t>(static_cast<int64_t>(w_.wall_ms()) + wall_error_ms_)};
}

void proxy::arm() {
  const time_point next = core_->next_deadline();
  if (next >= armed_at_ || next == base::never) return;
  armed_at_ = next;
  process::at(next, [this, next] {
    if (armed_at_ == next || armed_at_ == base::never) on_deadline();
  });
}

void proxy::on_deadline() {
  armed_at_ = base::never;
  if (core_->next_deadline() > now()) return;
  tell_heard();
  core_->on_timeout(at());
}

void proxy::drain_actions() {
  if (!core_ || std::exchange(draining_, true)) return;
  while (auto next = core_->poll_action()) {
    if (counted_since_ + 1s <= now()) {
      counted_since_ = now();
      counted_actions_ = 0;
    }
    if (++counted_actions_ > actions_a_second_max)
      w_.fail(fmt::format("h: the core of {} does not rest", w_.name_of(self_)));
    std::visit([this](auto& action) { carry_out(std::move(action)); }, *next);
  }
  draining_ = false;
  ended_.clear();
  cancelled_.clear();
  arm();
}

/// In the order of the posts; at once if the schedule has no threads.
void proxy::to_core(inner_callback call) {
  if (w_.how.hop == duration{}) return call();
  core_hop_at_ = std::max(core_hop_at_, now() + w_.random.between(duration{}, w_.how.hop));
  process::at(core_hop_at_, [call = std::move(call)]() mutable { call(); });
}

void proxy::to_shard(inner_callback call) {
  if (w_.how.hop == duration{}) return call();
  shard_hop_at_ = std::max(shard_hop_at_, now() + w_.random.between(duration{}, w_.how.hop));
  process::at(shard_hop_at_, [call = std::move(call)]() mutable { call(); });
}

void proxy::heard(const std::string& origin_id) {
  peer& p = peers_[origin_id];
  p.heard_at = now();
  p.untold = true;
}

void proxy::tell_heard() {
  for (auto& [id, p] : peers_) {
    if (std::exchange(p.untold, false)) core_->heard(id, p.heard_at);
  }
}

base::result<cluster::registration_reply> proxy::on_heartbeat(const cluster::origin_registration& reg) {
  const origin& truth = *w_.origins[static_cast<size_t>(std::atoi(reg.server.c_str() + 1))];
  if (truth.id() != reg.id()) misled_at_[reg.server] = now();  // it died before this arrived
  peers_.try_emplace(reg.id(), peer{now()}).first->second.beat_at = now();
  auto reply = core_->registration(reg, at());
  if (w_.tracing() && reg.sluice && (reg.sluice->whole || !reg.sluice->streams.empty())) {
    std::string list;
    for (const auto& s : reg.sluice->streams)
      list += fmt::format(" {} {}.{:x}{}", s.name.substr(s.name.rfind('/') + 1), s.epoch.counter,
                          s.epoch.claim_id & 0xFFFF, s.published ? "" : " unpublished");
    w_.trace("{} hears that {} holds{}:{}", w_.name_of(self_), reg.id(), reg.sluice->whole ? " no more than" : "",
             list);
  }
  if (!reply) w_.trace("{} refuses {}: {}", w_.name_of(self_), reg.id(), reply.error().reason);
  if (reply && !memory_) w_.store->pass_on(self_, reg, at().wall_ms);
  return reply;
}

void proxy::drain(const std::string& server_id, bool on) {
  input([this, server_id = std::string(server_id), on] {
    const auto streams = core_->drain(server_id, on, at());
    w_.trace("{} drains {}: {} streams to move", w_.name_of(self_), server_id,
             streams ? static_cast<int>(*streams) : -1);
  });
}

void proxy::carry_out(cluster::action::probe a) { prober_->ask(a); }

void proxy::probe_answered(const std::string& origin_id, cluster::probe_answer answer) {
  tell_heard();
  core_->probe_result(origin_id, answer, std::nullopt, at());
}

void proxy::link_broken(const std::string& origin_id) { core_->origin_closed(++last_id_, origin_id, at()); }

void proxy::carry_out(cluster::action::store a) {
  using kind = cluster::store_request::kind;
  const uint64_t op = a.request.op;
  const int stream = world::stream_of(a.request.key);
  const auto& r = a.request;
  w_.trace("{} store {} s{} {} {}.{:x} op {}", w_.name_of(self_),
           r.what == kind::claim   ? "claim"
           : r.what == kind::find  ? "find"
           : r.what == kind::renew ? "renew"
                                   : "drop",
           stream, r.record ? r.record->origin_id : "", r.record ? r.record->epoch.counter : 0,
           r.record ? r.record->epoch.claim_id & 0xFFFF : 0, op);
  if (r.what == kind::claim) {
    proposed_.insert(r.record->epoch);
    bool wanted = false;
    for (const auto& [id, open] : requests_) wanted = wanted || (open.claims && open.stream == stream);
    for (const auto& [id, s] : sessions_) {  // it reasserts what is published here
      wanted = wanted || (s->stream() == stream && dynamic_cast<const publish_session*>(s.get()) != nullptr);
    }
    if (!wanted)
      w_.fail(
          fmt::format("{} writes an owner of s{} though nobody there wants to publish it", w_.name_of(self_), stream));
  }
  if (memory_) {
    memory_->submit(std::move(a.request),
                    [this](cluster::store_reply reply) { core_->store_replied(std::move(reply), at()); });
    return;
  }
  store_steps_[op] = true;
  const auto answered = [this, op](cluster::store_reply reply) {
    if (store_steps_.erase(op) == 0) return;  // too late
    w_.trace("{} store op {}: {}", w_.name_of(self_), op,
             !reply.owner   ? std::string(reply.owner.error().reason)
             : *reply.owner ? fmt::format("{} {}.{:x}", (*reply.owner)->origin_id, (*reply.owner)->epoch.counter,
                                          (*reply.owner)->epoch.claim_id & 0xFFFF)
                            : "nobody");
    core_->store_replied(std::move(reply), at());
  };
  w_.store->submit(self_, std::move(a.request), [this, life = life(), answered](cluster::store_reply reply) {
    if (!up() || this->life() != life) return;
    input([answered, kept = std::make_shared<cluster::store_reply>(std::move(reply))] { answered(std::move(*kept)); });
  });
  after(store_timeout, [op, answered] { answered({op, base::fail("store_unavailable", "no answer in time")}); });
}

void proxy::answered(uint64_t request, base::result<cluster::assignment> answer, bool claims) {
  if (cancelled_.erase(request) > 0) return;
  const auto found = requests_.find(request);
  if (found == requests_.end() || found->second.claims != claims)
    w_.fail(fmt::format("g: {} answers a request that is not open", w_.name_of(self_)));
  const int stream = found->second.stream;
  const bool moves = found->second.moves;
  requests_.erase(found);
  w_.note(request);
  w_.trace("{} answers {} of s{}: {}", w_.name_of(self_), claims ? "claim" : "find", stream,
           answer ? fmt::format("{} {}.{:x}", answer->origin_id, answer->epoch.counter, answer->epoch.claim_id & 0xFFFF)
                  : std::string(answer.error().reason));
  if (!answer && claims && !moves && answer.error().reason == "store_unavailable")
    w_.fail(fmt::format("l: {} refuses a publisher of s{} for want of a store", w_.name_of(self_), stream));
  if (answer && !claims) told(stream, answer->epoch);
  to_shard([this, request, kept = std::make_shared<base::result<cluster::assignment>>(std::move(answer))] {
    const auto asker = waiting_.find(request);
    if (asker == waiting_.end()) return;  // cancelled, when it was on its way already
    const uint32_t id = asker->second;
    waiting_.erase(asker);
    if (session* s = find_session(id)) s->on_answer(request, std::move(*kept));
  });
}

void proxy::carry_out(cluster::action::verdict a) {
  const auto found = asks_.find(a.ask_id);
  if (found == asks_.end()) return;  // of the prober, or of one that has left
  const uint32_t id = found->second;
  asks_.erase(found);
  w_.trace("{} verdict for session {}: {}", w_.name_of(self_), id,
           a.answer == cluster::origin_verdict::alive  ? "alive"
           : a.answer == cluster::origin_verdict::dead ? "dead"
                                                       : "new incarnation");
  to_shard([this, id, v = a.answer] {
    if (session* s = find_session(id)) s->on_verdict(v);
  });
}

template <typename F>
void proxy::for_each_session(F&& f) {
  std::vector<uint32_t> ids;
  for (const auto& [id, s] : sessions_) ids.push_back(id);
  for (const uint32_t id : ids) {
    if (session* s = find_session(id)) f(*s);
  }
}

void proxy::carry_out(const cluster::action::origin_lost& a) {
  w_.trace("{} has lost {}: {}", w_.name_of(self_), a.origin_id,
           a.reason == cluster::loss_reason::gone ? "gone" : "silent");
  peer& lost = peers_[a.origin_id];
  lost.lost_at = now();
  lost.gone = a.reason == cluster::loss_reason::gone;
  std::vector<monitor::silence> all;
  for (const auto& o : core_->snapshot().origins) {
    peer& p = peers_[o.id];
    if (o.health != cluster::origin_health::dead && &p != &lost) p.lost_at = base::never;
    const origin& truth = *w_.origins[static_cast<size_t>(std::atoi(o.id.c_str() + 1))];
    const bool gone = p.gone || !truth.up() || truth.id() != o.id;  // it may have learned that after it lost it
    all.push_back({o.id, now() - p.heard_at, now() - std::max(p.heard_at, p.beat_at), p.lost_at, gone});
  }
  const std::string server = a.origin_id.substr(0, a.origin_id.find('-'));
  if (misled_at_.contains(server) && misled_at_[server] == now()) return lose_sessions(a);
  w_.watch->origin_lost(self_, a.origin_id, a.reason, all);
  lose_sessions(a);
}

void proxy::lose_sessions(const cluster::action::origin_lost& a) {
  to_shard([this, id = a.origin_id, reason = a.reason] {
    for_each_session([&](session& s) { s.on_origin_lost(id, reason); });
  });
}

void proxy::carry_out(const cluster::action::owner_changed& a) {
  w_.trace("{} owner of s{} is {} {}.{:x}", w_.name_of(self_), world::stream_of(a.key), a.to.origin_id,
           a.to.epoch.counter, a.to.epoch.claim_id & 0xFFFF);
  told(world::stream_of(a.key), a.to.epoch);
  to_shard([this, stream = world::stream_of(a.key), to = std::make_shared<cluster::assignment>(a.to)] {
    for_each_session([&](session& s) {
      if (s.stream() == stream) s.on_owner_changed(*to);
    });
  });
}

void proxy::carry_out(const cluster::action::move& a) {
  w_.trace("{} wants s{} moved to {}", w_.name_of(self_), world::stream_of(a.key), a.to.origin_id);
  to_shard([this, stream = world::stream_of(a.key), from = a.from, to = std::make_shared<cluster::assignment>(a.to)] {
    bool asked = false;
    for_each_session([&](session& s) {
      auto* const publisher = dynamic_cast<publish_session*>(&s);
      if (publisher == nullptr || s.stream() != stream || s.to().epoch != from || asked) return;
      asked = true;
      publisher->on_move(from, *to);
    });
    if (!asked) move_refused(stream, from, to->origin_id, "not_publishing");
  });
}

void proxy::carry_out(const cluster::action::log& a) {
  if (!w_.tracing()) return;
  std::string fields;
  for (const auto& f : a.fields) fields += fmt::format(" {}={}", f.key, f.value);
  w_.trace("{} log {}{}", w_.name_of(self_), a.event, fields);
}

void proxy::check(bool quiet) {
  if (!running()) return;
  for (const auto& [id, r] : requests_) {
    const time_point deadline = r.deadline != base::never ? r.deadline : w_.healed() ? w_.healed_at() : now();
    if (std::max(deadline, resumed_at()) + answer_late_max < now())
      w_.fail(fmt::format("g: a {} of s{} has no answer {} ms after its deadline at {}", r.claims ? "claim" : "find",
                          r.stream, (now() - deadline) / 1ms, w_.name_of(self_)));
  }
  check_claims();
  if (!quiet) return;
  const auto seen = core_->snapshot();
  if (seen.waiting > requests_.size())
    w_.fail(
        fmt::format("h: {} has {} requests open, {} were asked", w_.name_of(self_), seen.waiting, requests_.size()));
  if (store_steps_.size() > static_cast<size_t>(w_.how.streams) * 3)
    w_.fail(fmt::format("h: {} has {} store steps out", w_.name_of(self_), store_steps_.size()));
  // Those that crashed are remembered until their TTL; there are as many as there were lives.
  size_t lives = 0;
  for (const auto& o : w_.origins) lives += o->life();
  if (seen.origins.size() > lives) w_.fail("h: more origins than ever lived");
}

}  // namespace sluice::sim
