// The part of the proxy that has to do with a shared store: its connection, and what comes from other proxies over it.

#include <algorithm>
#include <chrono>
#include <utility>

#include "sim/monitor.hpp"
#include "sim/origin.hpp"
#include "sim/proxy.hpp"
#include "sim/session.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr duration load_interval = 10s;
constexpr duration ping_interval = 300ms, ping_timeout = 500ms;
/// Followers go where they are told within this time of a write.
constexpr duration follow_max = 500ms;
/// A claim may wait for origins to tell what they hold, and for the one of a record to appear.
constexpr duration claim_patience = 1500ms + 500ms;

}  // namespace

/// As the client of the store does it: another master, or one without the generation that was seen, is no less a change
/// than an outage.
void proxy::watch_store() {
  const uint64_t turn = ++store_pings_;
  w_.store->ping(self_, [this, life = life(), turn](shared_store::state seen) {
    if (!up() || this->life() != life) return;
    input([this, turn, seen] {
      if (turn != store_pings_) return;
      ++store_pings_;
      store_told(seen);
      after(ping_interval, [this] { watch_store(); });
    });
  });
  after(ping_timeout, [this, turn] {
    if (turn != store_pings_) return;
    store_told(std::nullopt);
    watch_store();
  });
}

void proxy::store_told(std::optional<shared_store::state> now_seen) {
  if (!now_seen) {
    if (!std::exchange(store_ok_, false)) return;
    w_.trace("{} takes the store for unreachable", w_.name_of(self_));
    return core_->store_state(false, false, at());
  }
  const bool is_first = !store_seen_;
  const bool is_cold = store_seen_ && store_seen_->generation != now_seen->generation;
  const bool is_other = store_seen_ && store_seen_ != now_seen;
  store_seen_ = now_seen;
  if (!std::exchange(store_ok_, true) || is_other) {
    w_.trace("{} has the store back{}", w_.name_of(self_), is_cold ? ", cold" : "");
    for (auto& [id, r] : requests_) r.without_store = base::never;
    core_->store_state(true, is_cold, at());
  }
  if (is_first) load_origins();
}

/// What the store remembers, in any order, again and again; of origins that are known heartbeats tell more.
void proxy::load_origins() {
  after(load_interval, [this] { load_origins(); });
  if (!store_ok_) return;
  auto all = w_.store->registrations();
  for (size_t i = all.size(); i > 1; --i) std::swap(all[i - 1], all[w_.random.next() % i]);
  for (const auto& r : all) {
    const auto known = core_->snapshot().origins;
    if (std::any_of(known.begin(), known.end(), [id = r.registration.id()](const auto& o) { return o.id == id; }))
      continue;
    const auto ago = std::chrono::milliseconds(static_cast<int64_t>(at().wall_ms) - static_cast<int64_t>(r.wall_ms));
    take(r.registration, cluster::registered_by::store, ago);
  }
}

void proxy::on_passed_on(const cluster::origin_registration& reg) {
  if (core_) take(reg, cluster::registered_by::proxy, {});
}

void proxy::take(const cluster::origin_registration& reg, cluster::registered_by by, duration ago) {
  const origin& truth = *w_.origins[static_cast<size_t>(std::atoi(reg.server.c_str() + 1))];
  // A late message misleads, and so does what the store remembers by clocks that were set differently.
  const bool clocks_err =
      std::any_of(w_.proxies.begin(), w_.proxies.end(), [](const auto& p) { return p->wall_error_ms_ != 0; });
  const bool misleads = by == cluster::registered_by::proxy || clocks_err;
  if (truth.id() != reg.id() && misleads) misled_at_[reg.server] = now();
  peers_.try_emplace(reg.id(), peer{now()});
  (void)core_->registration(reg, at(), by, ago);
}

void proxy::on_announced(int stream, const cluster::owner_record& owner, time_point written_at) {
  if (memory_) return;
  const auto known = told_.find(stream);
  const bool is_news = known != told_.end() && known->second < owner.epoch;
  w_.trace("{} hears of s{} at {} {}.{:x}{}", w_.name_of(self_), stream, owner.origin_id, owner.epoch.counter,
           owner.epoch.claim_id & 0xFFFF, owner.published ? ", published" : "");
  const cluster::epoch before = known == told_.end() ? cluster::epoch{} : known->second;
  const bool is_known_better = owner.epoch < before && [&] {
    const auto seen = core_->streams();
    return std::any_of(seen.begin(), seen.end(),
                       [&](const auto& s) { return world::stream_of(s.key) == stream && s.epoch > owner.epoch; });
  }();
  core_->announced(w_.key(stream), owner, at());
  drain_actions();
  if (is_known_better && told_[stream] < before)
    w_.fail(fmt::format("k: {} sends viewers of s{} to an owner of yesterday", w_.name_of(self_), stream));
  // One that is late is no news of its own: what has come meanwhile may be something else.
  if (is_news && now() - written_at < 100ms)
    process::at(written_at + follow_max, [this, stream, e = owner.epoch] { check_told(stream, e); });
}

void proxy::told(int stream, const cluster::epoch& e) { told_[stream] = e; }

void proxy::check_told(int stream, const cluster::epoch& e) {
  const bool is_watched = std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& entry) {
    const auto* view = dynamic_cast<const view_session*>(entry.second.get());
    return view != nullptr && !view->ended() && view->stream() == stream && !view->to().origin_id.empty();
  });
  if (!is_watched) return;
  for (const auto& status : core_->streams()) {
    if (world::stream_of(status.key) != stream) continue;
    // A publisher here has a word in it; an origin that is dead here is nobody's owner.
    if (!status.session.empty() || status.epoch < e) return;
    const auto seen = core_->snapshot().origins;
    const bool is_alive = std::any_of(seen.begin(), seen.end(), [&](const auto& o) {
      return o.id == status.origin_id && o.health == cluster::origin_health::alive;
    });
    if (!is_alive) return;
    if (told_[stream] < e)
      w_.fail(fmt::format("k: viewers of s{} at {} are not told of epoch {}.{:x}", stream, w_.name_of(self_), e.counter,
                          e.claim_id & 0xFFFF));
  }
}

/// New publishes are served without a store.
void proxy::check_claims() const {
  for (const auto& [id, r] : requests_) {
    if (r.without_store == base::never || now() - r.without_store < claim_patience) continue;
    const auto seen = core_->snapshot();
    const bool may_wait =
        seen.mass_silence || std::none_of(seen.origins.begin(), seen.origins.end(), [](const auto& o) {
          return o.health == cluster::origin_health::alive && !o.draining && !o.breaker_open;
        });
    bool another = false;  // who publishes it already goes first
    for (const auto& [other, s] : sessions_) {
      another = another || (other != r.session && s->stream() == r.stream &&
                            dynamic_cast<const publish_session*>(s.get()) != nullptr);
    }
    if (!may_wait && !another)
      w_.fail(fmt::format("l: a publisher of s{} waits at {} while the store is away", r.stream, w_.name_of(self_)));
  }
}

}  // namespace sluice::sim
