#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/core/coordinator.hpp"
#include "cluster/store/memory_store.hpp"

namespace sluice::cluster {

using namespace std::chrono_literals;

inline origin_registration origin_at(const std::string& server, uint16_t port, const std::string& service = "s1") {
  origin_registration reg;
  reg.ip = "127.0.0.1";
  reg.address = *base::ip_address::parse("127.0.0.1");
  reg.server = server;
  reg.service = service;
  reg.pid = "1";
  reg.rtmp = {{reg.address, port}};
  return reg;
}

inline origin_registration sluice_at(const std::string& server, uint16_t port, const std::string& service = "s1") {
  origin_registration reg = origin_at(server, port, service);
  reg.sluice = sluice_info{"0.1.0", 1000, {}, 1, 0, {}, false};
  return reg;
}

/// A coordinator with a memory store under a fake clock. Store steps are answered at once unless `hold_store`; probes
/// are answered by `answers` (who lives), or kept in `probes` if `hold_probes`.
class cluster_harness {
 public:
  explicit cluster_harness(coordinator_config config = {}) : store_([this] { return now_.now; }) {
    config.proxy_id = "proxy-1";
    config.seed = 42;
    if (config.default_backend) alive.insert(config.default_backend->id());
    core_ = std::make_unique<coordinator>(std::move(config), now_);
    drain();
  }

  coordinator* operator->() { return core_.get(); }
  moment now() const { return now_; }

  void drain() {
    while (auto next = core_->poll_action()) {
      if (auto* store = std::get_if<action::store>(&*next)) {
        ++store_steps;
        if (store->request.what == store_request::kind::claim || store->request.what == store_request::kind::renew)
          ++store_writes;
        held_.push_back(std::move(store->request));
        if (!hold_store) release_store();
      } else if (auto* probe = std::get_if<action::probe>(&*next)) {
        probes.push_back(*probe);
        asked.push_back(probe->kind);
        if (!hold_probes) answer_probe(answer_of(probe->origin_id));
      } else if (auto* claim = std::get_if<action::reply_claim>(&*next)) {
        EXPECT_TRUE(claims.emplace(claim->request_id, claim->answer).second) << "answered twice";
      } else if (auto* find = std::get_if<action::reply_find>(&*next)) {
        EXPECT_TRUE(finds.emplace(find->request_id, find->answer).second) << "answered twice";
      } else if (auto* verdict = std::get_if<action::verdict>(&*next)) {
        EXPECT_TRUE(verdicts.emplace(verdict->ask_id, verdict->answer).second) << "answered twice";
      } else if (std::holds_alternative<action::snapshot_changed>(*next)) {
        ++snapshots;
      } else if (auto* l = std::get_if<action::origin_lost>(&*next)) {
        lost.push_back(*l);
      } else if (auto* changed = std::get_if<action::owner_changed>(&*next)) {
        changes.push_back(*changed);
      } else if (auto* m = std::get_if<action::move>(&*next)) {
        moves.push_back(*m);
      } else {
        const auto& line = std::get<action::log>(*next);
        events.insert(std::string(line.event));
        if (line.event == "owner_changed") changed_because.push_back(line.fields.back().value);
      }
    }
  }
  void release_store() {
    while (!held_.empty()) {
      store_request request = std::move(held_.front());
      held_.pop_front();
      store_.submit(std::move(request), [this](store_reply reply) { core_->store_replied(std::move(reply), now_); });
    }
    if (hold_store) drain();
  }
  /// The store does not answer what it was asked; with `written` it does it all the same.
  void fail_store(bool written = false) {
    while (!held_.empty()) {
      const uint64_t op = held_.front().op;
      if (written) store_.submit(held_.front(), [](const store_reply&) {});
      held_.pop_front();
      core_->store_replied({op, base::fail("store_unavailable")}, now_);
    }
    drain();
  }
  /// Answers the oldest probe that is out.
  void answer_probe(bool ok, std::optional<std::string> incarnation = {}) {
    answer_probe(ok ? probe_answer::ok : probe_answer::gone, std::move(incarnation));
  }
  void answer_probe(probe_answer answer, std::optional<std::string> incarnation = {}) {
    ASSERT_FALSE(probes.empty());
    const action::probe probe = probes.front();
    probes.pop_front();
    core_->probe_result(probe.origin_id, answer, incarnation, now_);
    if (hold_probes) drain();
  }

  void answer_held_probes() {
    for (size_t left = probes.size(); left > 0; --left) answer_probe(answer_of(probes.front().origin_id));
    drain();
  }
  /// The process does not run meanwhile: its timers come late.
  void stopped(base::duration d) {
    set_time(now_.now + d);
    core_->on_timeout(now_);
    drain();
  }

  /// Time goes by; every deadline on the way is kept.
  void pass(base::duration d) {
    const base::time_point end = now_.now + d;
    for (int turns = 0; core_->next_deadline() <= end; ++turns) {
      ASSERT_LT(turns, 10'000) << "deadlines do not progress";
      set_time(std::max(now_.now, core_->next_deadline()));
      core_->on_timeout(now_);
      drain();
    }
    set_time(end);
  }

  base::result<registration_reply> add(const origin_registration& reg) {
    alive.insert(reg.id());
    auto outcome = core_->registration(reg, now_);
    drain();
    return outcome;
  }
  /// The store has remembered it for so long.
  base::result<registration_reply> remember(const origin_registration& reg, base::duration ago) {
    auto outcome = core_->registration(reg, now_, registered_by::store, ago);
    drain();
    return outcome;
  }
  void claim(uint64_t id, const stream_key& key, std::string session = "s", std::vector<std::string> exclude = {}) {
    core_->claim(id, key, {.session = std::move(session), .exclude = std::move(exclude)}, now_);
    drain();
  }
  /// A publisher goes on after its owner was lost, as a relay does it.
  void fail_over(uint64_t id, const stream_key& key, const epoch& old, base::duration wait = 30s,
                 std::vector<std::string> exclude = {}, std::string session = "s") {
    core_->publish_ended(key, old, now_);
    drain();
    core_->claim(id, key, {std::move(session), std::move(exclude), now_.now + wait, true}, now_);
    drain();
  }
  /// A publish that has started.
  assignment published(const stream_key& key, std::string session = "s") {
    const assignment a = granted(key, std::move(session));
    start(key, a.epoch);
    return a;
  }
  void start(const stream_key& key, const epoch& e) {
    core_->publish_started(key, e, now_);
    drain();
  }
  /// A heartbeat with streams.
  registration_reply beat(origin_registration reg, std::vector<held_stream> streams, bool whole = true) {
    reg.sluice->load.streams = static_cast<uint32_t>(streams.size());
    reg.sluice->streams = std::move(streams);
    reg.sluice->whole = whole;
    if (!knows(reg.id())) alive.insert(reg.id());
    auto reply = core_->registration(std::move(reg), now_);
    drain();
    EXPECT_TRUE(reply);
    return reply ? *reply : registration_reply{};
  }
  /// Heartbeats of all, for so many seconds.
  void beats(const std::vector<origin_registration>& all, int seconds) {
    for (int i = 0; i < seconds; ++i) {
      pass(1s);
      for (const auto& reg : all) add(reg);
    }
  }
  std::vector<std::string> happened(const stream_key& key) const {
    std::vector<std::string> out;
    for (const history_event& e : core_->explain(key)) out.push_back(e.what + (e.reason.empty() ? "" : " " + e.reason));
    return out;
  }
  void find(uint64_t id, const stream_key& key, base::time_point deadline = base::never) {
    core_->find(id, key, deadline, now_);
    drain();
  }
  /// A claim that must be granted at once.
  assignment granted(const stream_key& key, std::string session = "s", std::vector<std::string> exclude = {}) {
    const uint64_t id = ++last_id_;
    claim(id, key, std::move(session), std::move(exclude));
    if (!claims.contains(id) || !claims.at(id)) {
      ADD_FAILURE() << "no answer to the claim of " << key.str();
      return {};
    }
    return *claims.at(id);
  }
  std::string claim_error(uint64_t id) { return reason_in(claims, id); }
  std::string find_error(uint64_t id) { return reason_in(finds, id); }
  origin_health health(const std::string& id) {
    for (const auto& o : core_->snapshot().origins) {
      if (o.id == id) return o.health;
    }
    ADD_FAILURE() << "unknown origin " << id;
    return origin_health::dead;
  }
  bool breaker(const std::string& id) {
    for (const auto& o : core_->snapshot().origins) {
      if (o.id == id) return o.breaker_open;
    }
    return false;
  }
  void freeze(const std::string& id) { frozen.insert(id); }
  bool knows(const std::string& id) {
    for (const auto& o : core_->snapshot().origins) {
      if (o.id == id) return true;
    }
    return false;
  }
  /// The origin stops answering, refuses a dial, and is found dead.
  void kill(const std::string& id) {
    alive.erase(id);
    core_->dial_failed(id, now_);
    drain();
  }

  /// Another proxy writes.
  void write(const stream_key& key, owner_record record) {
    store_.submit({1, store_request::kind::renew, key, {}, std::move(record), 600s}, [](const store_reply&) {});
  }
  void lose_store() {
    store_ = memory_store([this] { return now_.now; });
  }
  /// Records in the store.
  size_t stored() const { return store_.size(); }

  bool hold_store = false, hold_probes = false;
  std::set<std::string> alive;   // ids of the origins that answer probes
  std::set<std::string> frozen;  // of those that accept connections and are silent, alive or not
  std::vector<action::origin_lost> lost;
  std::vector<action::owner_changed> changes;
  std::vector<action::move> moves;
  std::vector<std::string> changed_because;  // the reasons of owner_changed log lines
  std::deque<action::probe> probes;
  std::vector<probe_kind> asked;  // all probes so far
  std::map<uint64_t, base::result<assignment>> claims, finds;
  std::map<uint64_t, origin_verdict> verdicts;
  std::set<std::string> events;
  int store_steps = 0, store_writes = 0, snapshots = 0;

 private:
  probe_answer answer_of(const std::string& id) const {
    return frozen.contains(id) ? probe_answer::silent : alive.contains(id) ? probe_answer::ok : probe_answer::gone;
  }
  static std::string reason_in(const std::map<uint64_t, base::result<assignment>>& replies, uint64_t id) {
    if (!replies.contains(id)) return "unanswered";
    return replies.at(id) ? "granted" : std::string(replies.at(id).error().reason);
  }
  void set_time(base::time_point t) {
    now_.wall_ms += static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(t - now_.now).count());
    now_.now = t;
  }

  moment now_{base::time_point(1h), 1'700'000'000'000};
  memory_store store_;
  std::deque<store_request> held_;
  std::unique_ptr<coordinator> core_;
  uint64_t last_id_ = 1'000'000;
};

inline const stream_key key_a{"__defaultVhost__", "live", "a"};
inline const stream_key key_b{"__defaultVhost__", "live", "b"};

}  // namespace sluice::cluster
