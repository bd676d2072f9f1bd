#include "sim/store.hpp"

#include <algorithm>

#include "sim/proxy.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

using cluster::owner_record;
using cluster::store_reply;
using cluster::store_request;

namespace {
constexpr duration remembered_max = 2s;
constexpr uint64_t refresh_ms = 30'000;
}  // namespace

shared_store::shared_store(world& w)
    : process(w.queue),
      w_(w),
      last_request_(static_cast<size_t>(w.how.proxies)),
      last_reply_(static_cast<size_t>(w.how.proxies)) {
  begin_life();
}

void shared_store::ask(node proxy, std::function<std::function<void()>()> work) {
  if (w_.net.is_cut(proxy, w_.store_node(), network::traffic::all)) return;
  const auto lane = static_cast<size_t>(proxy);
  last_request_[lane] = std::max(now() + w_.net.delay(), last_request_[lane] + 1us);
  // Shared, as an event holds little.
  using shared_work = std::shared_ptr<std::function<std::function<void()>()>>;
  const shared_work shared = std::make_shared<std::function<std::function<void()>()>>(std::move(work));
  w_.queue.at(last_request_[lane], [this, proxy, shared] {
    if (w_.net.is_cut(proxy, w_.store_node(), network::traffic::all)) return;
    input([this, proxy, shared] {
      const auto reply = std::make_shared<std::function<void()>>((*shared)());
      if (!*reply) return;
      const auto back = static_cast<size_t>(proxy);
      last_reply_[back] = std::max(now() + w_.net.delay(), last_reply_[back] + 1us);
      w_.queue.at(last_reply_[back], [this, proxy, reply] {
        if (!w_.net.is_cut(proxy, w_.store_node(), network::traffic::all)) (*reply)();
      });
    });
  });
}

void shared_store::submit(node proxy, store_request request, on_reply done) {
  ask(proxy, [this, request = std::move(request), done = std::move(done)]() -> std::function<void()> {
    store_reply reply{request.op,
                      down_ ? outcome(base::fail("store_unavailable", "the store is down")) : apply(request)};
    if (w_.random.chance(w_.how.store_loss_percent) && !w_.healed()) return {};
    return [done, reply = std::move(reply)] { done(reply); };
  });
}

void shared_store::ping(node proxy, std::function<void(state)> done) {
  ask(proxy, [this, done = std::move(done)]() -> std::function<void()> {
    if (down_) return {};
    return [done, seen = state_] { done(seen); };
  });
}

void shared_store::pass_on(node from, const cluster::origin_registration& reg, uint64_t wall_ms) {
  ask(from, [this, from, reg, wall_ms]() -> std::function<void()> {
    if (down_) return {};
    remember(reg, wall_ms);
    const auto shared = std::make_shared<const cluster::origin_registration>(reg);
    for (const auto& p : w_.proxies) {
      if (p->self() == from || (w_.random.chance(w_.how.announced_loss_percent) && !w_.healed())) continue;
      w_.net.post(w_.store_node(), p->self(),
                  [&to = *p, shared] { return inner_callback([&to, shared] { to.on_passed_on(*shared); }); });
    }
    return {};
  });
}

/// What is known already is not written again at each heartbeat.
void shared_store::remember(const cluster::origin_registration& reg, uint64_t wall_ms) {
  const auto known = std::find_if(registered_.begin(), registered_.end(),
                                  [&](const remembered& r) { return r.registration.id() == reg.id(); });
  if (known != registered_.end()) {
    if (wall_ms > known->wall_ms + refresh_ms) known->wall_ms = wall_ms;
    return;
  }
  registered_.push_back({reg, wall_ms});
  auto& kept = *registered_.back().registration.sluice;
  kept.streams.clear();
  kept.whole = false;
  kept.beat = kept.since = 0;
}

void shared_store::announce(const cluster::stream_key& key, const owner_record& owner) {
  struct news {
    int stream;
    owner_record owner;
    time_point written_at;
  };
  const auto shared = std::make_shared<const news>(world::stream_of(key), owner, now());
  for (const auto& p : w_.proxies) {
    if (w_.random.chance(w_.how.announced_loss_percent) && !w_.healed()) {
      p->misses(shared->stream, owner.epoch);
      continue;
    }
    const bool is_late = w_.random.chance(w_.how.announced_late_percent) && !w_.healed();
    for (int copies = is_late ? 2 : 1; copies > 0; --copies) {
      const duration d = copies == 2 ? w_.random.between(duration(100ms), duration(3s)) : duration{};
      w_.queue.at(now() + d, [this, &to = *p, shared] {
        w_.net.deliver(w_.store_node(), to.self(),
                       [&to, shared] { to.on_announced(shared->stream, shared->owner, shared->written_at); });
      });
    }
  }
}

shared_store::outcome shared_store::apply(const store_request& request) {
  using kind = store_request::kind;
  const auto at = records_.find(request.key);
  const owner_record* held = at == records_.end() || at->second.expires <= now() ? nullptr : &at->second.record;
  switch (request.what) {
    case kind::find:
      break;
    case kind::claim:
      if (held != nullptr && held->epoch != request.replaces) break;
      return write(request, *request.record);
    case kind::renew:
      if (held != nullptr && held->epoch > request.record->epoch) break;
      return write(request, cluster::after_renewal(held, *request.record));
    case kind::drop:
      if (held == nullptr || held->epoch != request.record->epoch || held->proxy_id != request.record->proxy_id) break;
      put(request.key, std::nullopt);
      return std::optional<owner_record>();
  }
  if (held == nullptr) return std::optional<owner_record>();
  return *held;
}

owner_record shared_store::write(const store_request& request, const owner_record& record) {
  const auto before = peek(request.key);
  put(request.key, entry{record, now() + request.ttl});
  if (!before || before->epoch != record.epoch || before->published < record.published) announce(request.key, record);
  return record;
}

std::optional<owner_record> shared_store::peek(const cluster::stream_key& key) const {
  const auto at = records_.find(key);
  if (at == records_.end() || at->second.expires <= now()) return std::nullopt;
  return at->second.record;
}

void shared_store::put(const cluster::stream_key& key, std::optional<entry> now_there) {
  while (!changes_.empty() && changes_.front().at + remembered_max < now()) changes_.pop_front();
  const auto at = records_.find(key);
  changes_.push_back({now(), key, at == records_.end() ? std::nullopt : std::optional(at->second)});
  if (now_there) {
    records_[key] = std::move(*now_there);
  } else {
    records_.erase(key);
  }
}

void shared_store::lose_all() {
  records_.clear();
  changes_.clear();
  registered_.clear();
  ++state_.generation;
}

void shared_store::change_master(duration lag) {
  ++state_.master;
  while (!changes_.empty() && changes_.back().at + lag >= now()) {
    change c = std::move(changes_.back());
    changes_.pop_back();
    if (c.before) {
      records_[c.key] = std::move(*c.before);
    } else {
      records_.erase(c.key);
    }
  }
}

}  // namespace sluice::sim
