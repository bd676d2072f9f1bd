#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "unit/cluster/harness.hpp"

namespace sluice::cluster {

/// Coordinators on one store under one fake clock. What changes an owner in the store is announced to the others: at
/// once, or by hand where `hold_announcements`. Probes are answered by `alive`.
class several_proxies {
 public:
  struct proxy {
    std::unique_ptr<coordinator> core;
    bool cut = false;                  ///< from the store: its steps fail
    bool deaf = false;                 ///< its steps are done, unannounced, and their replies lost
    std::vector<uint64_t> unanswered;  ///< these
    bool up = true;
    std::map<uint64_t, base::result<assignment>> claims, finds;
    std::vector<action::owner_changed> changes;
    std::map<std::string, int> events;
    std::vector<base::time_point> written;  ///< when it asked the store to write
    int reads = 0;
  };
  struct announcement {
    size_t from;
    stream_key key;
    owner_record owner;
  };

  explicit several_proxies(size_t count, coordinator_config config = {}) : store_([this] { return now_.now; }) {
    for (size_t i = 0; i < count; ++i) {
      config.proxy_id = "proxy-" + std::to_string(i);
      config.seed = i;
      proxy& p = all_.emplace_back();
      p.core = std::make_unique<coordinator>(config, now_);
    }
    drain();
  }

  proxy& at(size_t i) { return all_[i]; }
  coordinator& core(size_t i) { return *all_[i].core; }
  moment now() const { return now_; }

  void drain() {
    for (bool any = true; any;) {
      any = false;
      for (size_t i = 0; i < all_.size(); ++i) {
        while (auto next = all_[i].core->poll_action()) {
          any = true;
          carry_out(i, *next);
        }
      }
    }
  }
  void pass(base::duration d) {
    const base::time_point end = now_.now + d;
    for (int turns = 0;; ++turns) {
      ASSERT_LT(turns, 200'000) << "deadlines do not progress";
      base::time_point next = base::never;
      for (const proxy& p : all_) {
        if (p.up) next = std::min(next, p.core->next_deadline());
      }
      if (next > end) break;
      set_time(std::max(now_.now, next));
      for (proxy& p : all_) {
        if (p.up && p.core->next_deadline() <= now_.now) p.core->on_timeout(now_);
      }
      drain();
    }
    set_time(end);
  }

  /// The process of proxy `i` is stopped, and goes on: its deadlines are that late, and nothing was heard meanwhile.
  void stop_for(size_t i, base::duration d) {
    set_time(now_.now + d);
    core(i).on_timeout(now_);
    drain();
  }

  /// A heartbeat at proxy `direct`, passed on to those in `relayed`.
  registration_reply beat(const origin_registration& reg, size_t direct, const std::vector<size_t>& relayed) {
    alive.insert(reg.id());
    auto reply = core(direct).registration(reg, now_);
    EXPECT_TRUE(reply);
    for (const size_t i : relayed) (void)core(i).registration(reg, now_, registered_by::proxy);
    drain();
    return reply ? *reply : registration_reply{};
  }
  /// A heartbeat at each proxy.
  void add(const origin_registration& reg) {
    alive.insert(reg.id());
    for (proxy& p : all_) EXPECT_TRUE(p.core->registration(reg, now_));
    drain();
  }
  /// Seconds of heartbeats of all at all.
  void beats(const std::vector<origin_registration>& regs, int seconds) {
    for (int i = 0; i < seconds; ++i) {
      pass(std::chrono::seconds(1));
      for (const auto& reg : regs) add(reg);
    }
  }
  void claim(size_t i, uint64_t id, const stream_key& key, claim_request request = {}) {
    if (request.session.empty()) request.session = "s" + std::to_string(i);
    core(i).claim(id, key, std::move(request), now_);
    drain();
  }
  assignment granted(size_t i, const stream_key& key, claim_request request = {}) {
    const uint64_t id = ++last_id_;
    claim(i, id, key, std::move(request));
    if (claimed(i, id) != "granted") {
      ADD_FAILURE() << "proxy " << i << " does not grant " << key.str() << ": " << claimed(i, id);
      return {};
    }
    return *at(i).claims.at(id);
  }
  assignment published(size_t i, const stream_key& key, claim_request request = {}) {
    const assignment a = granted(i, key, std::move(request));
    start(i, key, a.epoch);
    return a;
  }
  void start(size_t i, const stream_key& key, const epoch& e) {
    core(i).publish_started(key, e, now_);
    drain();
  }
  void end(size_t i, const stream_key& key, const epoch& e) {
    core(i).publish_ended(key, e, now_);
    drain();
  }
  uint64_t find(size_t i, const stream_key& key) {
    core(i).find(++last_id_, key, base::never, now_);
    drain();
    return last_id_;
  }
  /// Where a player is sent now; empty: he waits.
  std::string found(size_t i, const stream_key& key) {
    const uint64_t id = find(i, key);
    const auto& finds = at(i).finds;
    return finds.contains(id) && finds.at(id) ? finds.at(id)->origin_id : "";
  }
  std::string claimed(size_t i, uint64_t id) {
    const auto& claims = at(i).claims;
    return !claims.contains(id) ? "unanswered" : claims.at(id) ? "granted" : std::string(claims.at(id).error().reason);
  }
  void announce(size_t to, const stream_key& key, const owner_record& owner) {
    core(to).announced(key, owner, now_);
    drain();
  }
  void store_state(size_t i, bool reachable, bool cold = false) {
    at(i).cut = !reachable;
    core(i).store_state(reachable, cold, now_);
    drain();
  }
  /// The steps whose replies were lost have failed.
  void time_out(size_t i) {
    at(i).deaf = false;
    for (const uint64_t op : std::exchange(at(i).unanswered, {}))
      core(i).store_replied({op, base::fail("store_unavailable")}, now_);
    drain();
  }
  void cut_all() {
    for (size_t i = 0; i < all_.size(); ++i) store_state(i, false);
  }
  void mend_all(bool cold = false) {
    for (size_t i = 0; i < all_.size(); ++i) store_state(i, true, cold);
  }
  void kill_origin(const std::string& id) {
    alive.erase(id);
    for (proxy& p : all_) p.core->dial_failed(id, now_);
    drain();
  }
  bool knows(size_t i, const std::string& id) {
    for (const auto& o : core(i).snapshot().origins) {
      if (o.id == id) return true;
    }
    return false;
  }

  std::optional<owner_record> stored(const stream_key& key) {
    std::optional<owner_record> out;
    store_.submit({0, store_request::kind::find, key, {}, {}, {}}, [&](store_reply reply) { out = *reply.owner; });
    return out;
  }
  void write(const stream_key& key, const owner_record& record) {
    store_.submit({0, store_request::kind::renew, key, {}, record, std::chrono::seconds(600)},
                  [](const store_reply&) {});
  }
  void flush_store() {
    store_ = memory_store([this] { return now_.now; });
  }

  bool hold_announcements = false;
  std::deque<announcement> announcements;
  std::set<std::string> alive;
  /// Another program's choice of an origin: what a store makes of a step that finds no record (see store_reply).
  std::map<stream_key, std::string> adopted;

 private:
  void carry_out(size_t i, coordinator_action& next) {
    proxy& p = all_[i];
    if (auto* store = std::get_if<action::store>(&next)) {
      step(i, std::move(store->request));
    } else if (auto* probe = std::get_if<action::probe>(&next)) {
      const auto answer = alive.contains(probe->origin_id) ? probe_answer::ok : probe_answer::gone;
      p.core->probe_result(probe->origin_id, answer, std::nullopt, now_);
    } else if (auto* claim = std::get_if<action::reply_claim>(&next)) {
      EXPECT_TRUE(p.claims.emplace(claim->request_id, claim->answer).second) << "answered twice";
    } else if (auto* find = std::get_if<action::reply_find>(&next)) {
      EXPECT_TRUE(p.finds.emplace(find->request_id, find->answer).second) << "answered twice";
    } else if (auto* changed = std::get_if<action::owner_changed>(&next)) {
      p.changes.push_back(*changed);
    } else if (auto* line = std::get_if<action::log>(&next)) {
      ++p.events[std::string(line->event)];
    }
  }
  void step(size_t i, store_request request) {
    using kind = store_request::kind;
    proxy& p = all_[i];
    if (request.what == kind::find) {
      ++p.reads;
    } else {
      p.written.push_back(now_.now);
    }
    if (p.cut) return p.core->store_replied({request.op, base::fail("store_unavailable")}, now_);
    if (p.deaf) {
      p.unanswered.push_back(request.op);
      store_.submit(std::move(request), [](const store_reply&) {});
      return;
    }
    const auto before = stored(request.key);
    const auto other = adopted.find(request.key);
    if (!before && other != adopted.end()) {
      if (request.what == kind::find) {
        owner_record record;
        record.origin_id = other->second;
        return p.core->store_replied({request.op, std::optional(record)}, now_);
      }
      if (request.what == kind::claim) request.record->origin_id = other->second;
    }
    const stream_key key = request.key;
    store_.submit(std::move(request), [&](store_reply reply) { p.core->store_replied(std::move(reply), now_); });
    const auto after = stored(key);
    if (!after || (before && before->epoch == after->epoch && before->published >= after->published)) return;
    announcements.push_back({i, key, *after});
    if (hold_announcements) return;
    for (size_t to = 0; to < all_.size(); ++to) {
      if (to != i && all_[to].up) all_[to].core->announced(key, *after, now_);
    }
  }
  void set_time(base::time_point t) {
    now_.wall_ms += static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(t - now_.now).count());
    now_.now = t;
  }

  moment now_{base::time_point(std::chrono::hours(1)), 1'700'000'000'000};
  memory_store store_;
  std::deque<proxy> all_;
  uint64_t last_id_ = 1'000'000;
};

inline const origin_registration o1 = sluice_at("o1", 1001), o2 = sluice_at("o2", 1002), o3 = sluice_at("o3", 1003);
inline const origin_registration stock1 = origin_at("o1", 1001), stock2 = origin_at("o2", 1002);

inline stream_key numbered(int i) { return {"__defaultVhost__", "live", "n" + std::to_string(i)}; }

inline origin_registration holding(origin_registration reg, std::vector<held_stream> streams) {
  reg.sluice->load.streams = static_cast<uint32_t>(streams.size());
  reg.sluice->streams = std::move(streams);
  reg.sluice->whole = true;
  return reg;
}

}  // namespace sluice::cluster
