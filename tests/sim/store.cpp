#include "sim/store.hpp"

#include "sim/world.hpp"

namespace sluice::sim {

using cluster::owner_record;
using cluster::store_reply;
using cluster::store_request;

namespace {
constexpr duration remembered_max = 2s;
}

shared_store::shared_store(world& w)
    : process(w.queue),
      w_(w),
      last_request_(static_cast<size_t>(w.how.proxies)),
      last_reply_(static_cast<size_t>(w.how.proxies)) {
  begin_life();
}

void shared_store::submit(node proxy, store_request request, on_reply done) {
  if (w_.net.is_cut(proxy, w_.store_node(), network::traffic::all)) return;
  const auto lane = static_cast<size_t>(proxy);
  last_request_[lane] = std::max(now() + w_.net.delay(), last_request_[lane] + 1us);
  struct step {
    store_request request;
    on_reply done;
  };
  // Shared, as an event holds little.
  w_.queue.at(last_request_[lane], [this, proxy, s = std::make_shared<step>(std::move(request), std::move(done))] {
    if (w_.net.is_cut(proxy, w_.store_node(), network::traffic::all)) return;
    input([this, proxy, s] {
      const uint64_t op = s->request.op;
      auto reply = std::make_shared<store_reply>(
          op, down_ ? outcome(base::fail("store_unavailable", "the store is down")) : apply(s->request));
      if (w_.random.chance(w_.how.store_loss_percent) && !w_.healed()) return;
      const auto back = static_cast<size_t>(proxy);
      last_reply_[back] = std::max(now() + w_.net.delay(), last_reply_[back] + 1us);
      w_.queue.at(last_reply_[back], [this, proxy, s, reply] {
        if (!w_.net.is_cut(proxy, w_.store_node(), network::traffic::all)) s->done(std::move(*reply));
      });
    });
  });
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
      put(request.key, entry{*request.record, now() + request.ttl});
      return *request.record;
    case kind::renew:
      if (held != nullptr && held->epoch > request.record->epoch) break;
      put(request.key, entry{*request.record, now() + request.ttl});
      return *request.record;
    case kind::drop:
      if (held == nullptr || held->epoch != request.record->epoch || held->proxy_id != request.record->proxy_id) break;
      put(request.key, std::nullopt);
      return std::optional<owner_record>();
  }
  if (held == nullptr) return std::optional<owner_record>();
  return *held;
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
}

void shared_store::roll_back(duration by) {
  while (!changes_.empty() && changes_.back().at + by >= now()) {
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
