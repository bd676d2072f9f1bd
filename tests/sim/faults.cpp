#include "sim/faults.hpp"

#include <algorithm>

#include "sim/clients.hpp"
#include "sim/monitor.hpp"
#include "sim/origin.hpp"
#include "sim/proxy.hpp"
#include "sim/store.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

void fault_script::start() {
  const time_point began = w_.queue.now();
  for (const fault& f : w_.how.faults) {
    w_.queue.at(began + f.at, [this, f] { begin(f); });
  }
}

void fault_script::heal() {
  for (auto& [id, end] : std::exchange(active_, {})) end(true);
}

void fault_script::until(duration lasts, undo end) {
  const uint64_t id = ++last_;
  active_.emplace(id, std::move(end));
  w_.queue.at(w_.queue.now() + lasts, [this, id] {
    const auto found = active_.find(id);
    if (found == active_.end()) return;
    const undo over = std::move(found->second);
    active_.erase(found);
    over(false);
  });
}

origin& fault_script::some_origin() { return *w_.origins[static_cast<size_t>(w_.random.below(w_.how.origins))]; }
proxy& fault_script::any_proxy() { return *w_.proxies[static_cast<size_t>(w_.random.below(w_.how.proxies))]; }

std::vector<int> fault_script::half_of_origins() {
  std::vector<int> all;
  for (int i = 0; i < w_.how.origins; ++i) all.push_back(i);
  for (int i = w_.how.origins - 1; i > 0; --i)
    std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(w_.random.below(i + 1))]);
  const int most = w_.how.origins;
  const int least = std::max(std::min(2, most), (most + 1) / 2);
  all.resize(static_cast<size_t>(w_.random.between(least, most)));
  return all;
}

void fault_script::crash(origin& o, duration lasts, bool silent) {
  if (!o.up()) return;
  o.crash(silent);
  until(lasts, [this, &o](bool healing) {
    const bool another = std::any_of(w_.origins.begin(), w_.origins.end(), [](const auto& x) { return x->up(); });
    if (healing && w_.how.origins_stay_dead && another) return;
    if (!o.up()) o.start();
  });
}

void fault_script::pause(origin& o, duration lasts) {
  if (!o.running()) return;
  w_.trace("{} is stopped for {} ms", w_.name_of(o.self()), lasts / 1ms);
  o.pause();
  until(lasts, [this, &o, life = o.life(), since = w_.queue.now()](bool) {
    if (!o.paused() || o.life() != life) return;
    w_.trace("{} goes on", w_.name_of(o.self()));
    w_.watch->origin_stopped_for(o.self(), w_.queue.now() - since);
    o.resume();
  });
}

void fault_script::cut(int a, int b, duration lasts, bool media_only) {
  w_.trace("{} and {} are cut apart for {} ms{}", w_.name_of(a), w_.name_of(b), lasts / 1ms,
           media_only ? ", heartbeats excepted" : "");
  const auto what = media_only ? network::traffic::connections : network::traffic::all;
  w_.net.cut(a, b, what);
  until(lasts, [this, a, b, what](bool) {
    w_.trace("{} and {} are joined", w_.name_of(a), w_.name_of(b));
    w_.net.mend(a, b, what);
  });
}

void fault_script::begin(const fault& f) {
  w_.trace("-- fault: {}", name_of(f.kind));
  switch (f.kind) {
    case fault_kind::origin_crash:
    case fault_kind::origin_blackhole:
      return crash(some_origin(), f.lasts, f.kind == fault_kind::origin_blackhole);
    case fault_kind::storm: {
      const auto busiest = std::max_element(w_.origins.begin(), w_.origins.end(), [](const auto& a, const auto& b) {
        return a->published() < b->published();
      });
      return crash(**busiest, f.lasts, false);
    }
    case fault_kind::origin_pause:
      return pause(some_origin(), f.lasts);
    case fault_kind::origins_pause:
      for (const int i : half_of_origins()) pause(*w_.origins[static_cast<size_t>(i)], f.lasts);
      return;
    case fault_kind::proxy_crash: {
      proxy& p = any_proxy();
      if (!p.up()) return;
      p.crash();
      return until(f.lasts, [&p](bool) { p.start(); });
    }
    case fault_kind::proxy_pause: {
      proxy& p = any_proxy();
      if (!p.running()) return;
      w_.trace("{} is stopped for {} ms", w_.name_of(p.self()), f.lasts / 1ms);
      p.pause();
      return until(f.lasts, [this, &p, life = p.life()](bool) {
        if (!p.paused() || p.life() != life) return;
        w_.trace("{} goes on", w_.name_of(p.self()));
        p.resume();
      });
    }
    case fault_kind::cut_origin:
    case fault_kind::cut_media:
      return cut(any_proxy().self(), some_origin().self(), f.lasts, f.kind == fault_kind::cut_media);
    case fault_kind::cut_half: {
      const node p = any_proxy().self();
      for (const int i : half_of_origins()) cut(p, w_.origin_node(i), f.lasts, false);
      return;
    }
    case fault_kind::cut_viewers_proxy:
      for (const auto& p : w_.proxies) {
        if (!p->has_publishers()) return cut(p->self(), some_origin().self(), f.lasts, false);
      }
      return;
    case fault_kind::wall_jump: {
      const int64_t far = w_.random.chance(50) ? 5'000 : 86'400'000;
      any_proxy().set_wall_error(static_cast<int64_t>(w_.random.next() % static_cast<uint64_t>(2 * far)) - far);
      return;
    }
    case fault_kind::drain: {
      const std::string server = some_origin().registration().server;
      for (const auto& p : w_.proxies) p->drain(server, true);
      return until(f.lasts, [this, server](bool) {
        for (const auto& p : w_.proxies) p->drain(server, false);
      });
    }
    case fault_kind::kick: {
      origin& o = some_origin();
      return o.input([&o] { o.kick(); });
    }
    case fault_kind::encoder_ghost:
    case fault_kind::encoder_leaves:
    case fault_kind::second_encoder:
      return of_clients(f);
    default:
      return of_store(f);
  }
}

void fault_script::of_clients(const fault& f) {
  encoder& e = *w_.encoders[static_cast<size_t>(w_.random.below(w_.how.proxied_streams()))];
  if (f.kind == fault_kind::encoder_ghost) return e.vanish();
  if (f.kind == fault_kind::encoder_leaves) return e.leave(w_.random.between(duration(500ms), duration(5s)));
  w_.encoders.push_back(std::make_unique<encoder>(w_, e.stream()));
  encoder& second = *w_.encoders.back();
  second.start();
  until(f.lasts, [&second](bool) { second.leave({}); });
}

void fault_script::of_store(const fault& f) {
  if (w_.how.memory_store) return;
  switch (f.kind) {
    case fault_kind::cut_store:
      return cut(any_proxy().self(), w_.store_node(), f.lasts, false);
    case fault_kind::store_down:
      w_.store->go_down();
      return until(f.lasts, [this](bool) { w_.store->come_up(); });
    case fault_kind::store_pause:
      w_.store->pause();
      return until(f.lasts, [this](bool) { w_.store->resume(); });
    case fault_kind::store_lost:
      return w_.store->lose_all();
    case fault_kind::store_rollback:
      return w_.store->change_master(w_.random.between(duration{}, w_.how.replica_lag));
    case fault_kind::store_failover:
      w_.store->go_down();
      w_.store->change_master(w_.random.between(duration{}, w_.how.replica_lag));
      return until(std::min<duration>(f.lasts, 8s), [this](bool) { w_.store->come_up(); });
    default:
      return;
  }
}

}  // namespace sluice::sim
