#include "cluster/core/registry.hpp"

#include <algorithm>
#include <utility>

namespace sluice::cluster {
namespace {

constexpr base::duration silence_min = std::chrono::seconds(2);
/// Servers at one address; more are a flood or a cluster of wrongly announced addresses.
constexpr size_t servers_per_address_max = 4;
/// Registrations closer together are repetitions, not a rhythm.
constexpr base::duration interval_min = std::chrono::milliseconds(50);

}  // namespace

uint64_t origin::streams() const {
  const uint64_t told = reg.sluice ? reg.sluice->load.streams + placed : 0;
  return std::max(told, known);
}

std::optional<base::duration> origin::period() const {
  if (intervals_seen == 0) {
    if (!reg.sluice || reg.sluice->period_ms == 0) return std::nullopt;
    return std::chrono::milliseconds(reg.sluice->period_ms);
  }
  auto sorted = intervals;
  const auto end = sorted.begin() + static_cast<std::ptrdiff_t>(std::min(intervals_seen, sorted.size()));
  const auto middle = sorted.begin() + (end - sorted.begin()) / 2;
  std::nth_element(sorted.begin(), middle, end);
  return *middle;
}

registry::registry(const coordinator_config& config, std::deque<coordinator_action>& out, base::time_point now)
    : config_(config), out_(out) {
  if (!config.default_backend) return;
  origin o;
  o.reg = *config.default_backend;
  o.fabricated = true;
  o.api_useless = true;  // it need not be a server that has an API
  add(std::move(o), now);
}

base::result<void> registry::registration(origin_registration reg, base::time_point now) {
  const std::string id = reg.id();
  const auto known = origins_.find(id);
  const bool is_void = voided_.contains(id);
  if (is_void && !may_return(id, reg)) {
    if (known != origins_.end()) erase(known);
    return base::fail("voided_incarnation", "origin " + id + " was replaced by another at its address");
  }
  const bool has_moved = known == origins_.end() || known->second.reg.rtmp != reg.rtmp;
  if (has_moved && servers_at(reg) >= servers_per_address_max) {
    return base::fail("too_many_origins", "too many other servers say that they are at this address");
  }
  if (known != origins_.end()) {
    heartbeat(known->second, std::move(reg), now);
    if (has_moved) {
      forget_disputes(id);
      dispute_address(known->second, now);
    } else {
      settle_disputes(id, now);
    }
    return {};
  }
  if (origins_.size() >= config_.origins_max) return base::fail("too_many_origins", "the limit of origins is reached");
  origin o;
  o.reg = std::move(reg);
  if (is_void) {
    o.returning = o.unproven = true;
    o.health = origin_health::suspect;
  }
  add(std::move(o), now);
  origin& added = origins_.at(id);
  if (is_void) {
    start_probe(added, now);
  } else {
    contest_older(added, now);
  }
  dispute_address(added, now);
  return {};
}

void registry::add(origin o, base::time_point now) {
  o.id = o.reg.id();
  o.heard_at = now;
  confirmed_ = true;
  changed_ = true;
  log(base::log_level::info, "origin_added", o,
      o.fabricated  ? "default_backend"
      : o.returning ? "returned"
                    : "registered");
  origin& added = origins_.insert_or_assign(o.id, std::move(o)).first->second;
  if (added.fabricated) {
    start_probe(added, now);
  } else if (needs_probes(added, now)) {
    added.probe_at = now + config_.probe_interval;
  }
}

void registry::heartbeat(origin& o, origin_registration reg, base::time_point now) {
  if (const base::duration interval = now - o.heard_at; interval >= interval_min) {
    o.intervals[o.intervals_seen++ % o.intervals.size()] = interval;
  }
  const bool was_full = o.is_full();
  o.reg = std::move(reg);
  o.heard_at = now;
  o.placed = 0;
  ++o.beats;
  if (was_full && !o.is_full()) confirmed_ = true;
  changed_ = true;
  // Who was found dead though it may have sent heartbeats all the time, or refuses a dial, proves by an answer that it
  // serves; who was only silent is back.
  if (o.health == origin_health::dead && !o.died_silent) {
    o.health = origin_health::suspect;
    o.unproven = true;
    start_probe(o, now);
  } else if (o.health != origin_health::alive && !o.unproven && (o.died_silent || !o.rtmp_doubted)) {
    revive(o, "heartbeat");
  }
  o.probe_at = needs_probes(o, now) && !o.probe_out ? now + config_.probe_interval : base::never;
}

void registry::revive(origin& o, std::string_view by) {
  const bool was_dead = o.health == origin_health::dead || o.unproven;
  o.health = origin_health::alive;
  o.unproven = o.rtmp_doubted = o.died_silent = false;
  confirmed_ = true;
  changed_ = true;
  if (was_dead) log(base::log_level::info, "origin_back", o, by);
}

/// It has answered to what was sent at `at`.
void registry::prove(origin& o, base::time_point at, std::string_view by) {
  o.proven_at = at;
  o.rtmp_doubted = false;
  if (std::exchange(o.returning, false)) voided_.erase(o.id);
  if (o.health != origin_health::alive) revive(o, by);
}

void registry::lose(origin& o, base::time_point now) {
  if (o.health != origin_health::dead && !o.unproven) log(base::log_level::warn, "origin_dead", o, "no_answer");
  o.health = origin_health::dead;
  o.unproven = false;
  o.failed_at = now;
  o.probe_at = now + config_.probe_interval;
  changed_ = true;
  answer(o.asks, origin_verdict::dead);
  answer(o.asks_next, origin_verdict::dead);
}

void registry::answer(std::vector<uint64_t>& asks, origin_verdict verdict) {
  for (uint64_t ask_id : std::exchange(asks, {})) out_.push_back(action::verdict{ask_id, verdict});
}

void registry::start_probe(origin& o, base::time_point now) {
  if (o.probe_out) return;
  o.api_proved = false;
  send_probe(o, o.reg.api.empty() || o.api_useless ? probe_kind::rtmp_handshake : probe_kind::api_versions, now);
}

void registry::send_probe(origin& o, probe_kind kind, base::time_point now) {
  o.probe_out = true;
  o.probing = kind;
  o.probe_sent_at = now;
  // The shell answers within the timeout; should it ever not, nobody may wait for ever.
  o.probe_lost_at = now + 2 * config_.probe_timeout + std::chrono::seconds(1);
  o.probe_at = base::never;
  o.asks.insert(o.asks.end(), o.asks_next.begin(), o.asks_next.end());
  o.asks_next.clear();
  out_.push_back(action::probe{o.id, o.probing, o.probing == probe_kind::api_versions ? o.reg.api : o.reg.rtmp,
                               config_.probe_timeout});
}

void registry::probe_result(const std::string& id, bool ok, const std::optional<std::string>& incarnation,
                            base::time_point now) {
  const auto at = origins_.find(id);
  if (at == origins_.end() || !at->second.probe_out) return;
  origin& o = at->second;
  o.probe_out = false;
  o.probe_lost_at = base::never;

  if (!ok && o.probing == probe_kind::api_versions) {
    // Its API may be full, switched off or never have been where it said: what counts is whether it speaks RTMP.
    if (!o.api_answered) o.api_useless = true;
    send_probe(o, probe_kind::rtmp_handshake, now);
    return;
  }
  const bool somebody_else = ok && !o.fabricated && incarnation && *incarnation != o.id;
  if ((!ok || somebody_else) && !o.contested_by.empty()) {
    const std::string by = o.contested_by;
    make_void(at, by);
    return;
  }
  if (o.probing == probe_kind::api_versions) o.api_proved = ok && incarnation && !somebody_else;
  o.said = somebody_else  ? identity::somebody_else
           : o.api_proved ? identity::itself
           : ok           ? identity::untold
                          : identity::silent;
  settle_disputes(id, now);
  if (!origins_.contains(id)) return;
  if (somebody_else) {
    // Should its heartbeats go on all the same, then its API endpoint is wrong, and is not asked again.
    o.api_useless = true;
    answer(o.asks, origin_verdict::new_incarnation);
    answer(o.asks_next, origin_verdict::new_incarnation);
    lose(o, now);
  } else if (!ok) {
    probe_failed(o, now);
  } else {
    probe_succeeded(o, now);
  }
  if (o.returning && o.health == origin_health::dead) erase(at);  // nobody there: it stays void
}

void registry::probe_failed(origin& o, base::time_point now) {
  const bool doubted = o.health != origin_health::alive || !o.asks.empty();
  if (doubted) {
    o.died_silent = o.health == origin_health::dead ? o.died_silent : is_silent(o, now) && !o.rtmp_doubted;
    o.rtmp_doubted = true;
    lose(o, now);
    return;
  }
  // The first sign of trouble may be a hiccup: dead is who fails twice.
  o.rtmp_doubted = true;
  o.health = origin_health::suspect;
  changed_ = true;
  start_probe(o, now);
}

void registry::probe_succeeded(origin& o, base::time_point now) {
  if (o.probing == probe_kind::api_versions) {
    o.api_answered = true;
    if (o.rtmp_doubted) return send_probe(o, probe_kind::rtmp_handshake, now);
  }
  if (!o.contested_by.empty()) {
    out_.push_back(action::log{base::log_level::warn,
                               "server_id_twice",
                               {{"origin", o.id},
                                {"other", o.contested_by},
                                {"text", "both answer: they are two origins; was an id file copied?"}}});
    o.contested_by.clear();
  }
  answer(o.asks, origin_verdict::alive);
  if (o.failed_at > o.probe_sent_at) return send_probe(o, probe_kind::rtmp_handshake, now);  // a dial failed meanwhile
  prove(o, o.probe_sent_at, "probe");
  o.probe_at = needs_probes(o, now) ? now + config_.probe_interval : base::never;
  if (!o.asks_next.empty()) start_probe(o, now);
}

void registry::dial_failed(const std::string& id, base::time_point now) {
  const auto at = origins_.find(id);
  if (at == origins_.end()) return;
  origin& o = at->second;
  o.failed_at = now;
  o.rtmp_doubted = true;
  if (o.health == origin_health::dead) return;
  if (o.health == origin_health::alive) {
    o.health = origin_health::suspect;
    changed_ = true;
    log(base::log_level::warn, "origin_suspect", o, "dial_failed");
  }
  start_probe(o, now);
}

void registry::dial_ok(const std::string& id, base::time_point now) {
  if (const auto at = origins_.find(id); at != origins_.end()) prove(at->second, now, "dial");
}

bool registry::proven_since_failure(const std::string& id) const {
  const origin* o = find(id);
  return o != nullptr && o->health == origin_health::alive && o->failed_at != base::time_point::min() &&
         o->proven_at >= o->failed_at;
}

void registry::ask(uint64_t ask_id, const std::string& id, base::time_point now) {
  const auto at = origins_.find(id);
  if (at == origins_.end() || at->second.health == origin_health::dead) {
    const bool replaced = at == origins_.end() && voided_.contains(id);
    out_.push_back(action::verdict{ask_id, replaced ? origin_verdict::new_incarnation : origin_verdict::dead});
    return;
  }
  origin& o = at->second;
  if (o.probe_out) {
    o.asks_next.push_back(ask_id);
    return;
  }
  o.asks.push_back(ask_id);
  start_probe(o, now);
}

bool registry::is_silent(const origin& o, base::time_point now) const {
  const auto period = o.period();
  return !o.fabricated && period && now - o.heard_at >= std::max(2 * *period, silence_min);
}

bool registry::needs_probes(const origin& o, base::time_point now) const {
  return o.fabricated || !o.period() || o.health == origin_health::dead || is_silent(o, now);
}

bool registry::is_expired(const origin& o, base::time_point now) const {
  return !o.fabricated && now - o.heard_at >= config_.origin_ttl;
}

void registry::on_timeout(base::time_point now) {
  std::vector<std::string> lost;
  for (auto at = origins_.begin(); at != origins_.end();) {
    origin& o = at->second;
    // An origin that answers and has our streams is kept beyond its TTL, but gets no new ones.
    if (is_expired(o, now) && (o.health == origin_health::dead || o.known == 0)) {
      log(base::log_level::info, "origin_expired", o, "not_registered_again");
      at = erase(at);
      continue;
    }
    ++at;
    if (o.probe_out) {
      if (now >= o.probe_lost_at) lost.push_back(o.id);
      continue;
    }
    if (now >= o.probe_at) {
      start_probe(o, now);
    } else if (o.probe_at == base::never && is_silent(o, now)) {
      if (o.health == origin_health::alive) {
        o.health = origin_health::suspect;
        changed_ = true;
        log(base::log_level::warn, "origin_suspect", o, "no_heartbeat");
      }
      start_probe(o, now);
    }
  }
  for (const std::string& id : lost) probe_result(id, false, std::nullopt, now);  // each may end several origins
}

base::time_point registry::next_deadline() const {
  base::time_point next = base::never;
  for (const auto& [id, o] : origins_) {
    next = std::min(next, o.probe_out ? o.probe_lost_at : o.probe_at);
    if (o.fabricated) continue;
    const auto period = o.period();
    if (!o.probe_out && o.probe_at == base::never && period) {
      next = std::min(next, o.heard_at + std::max(2 * *period, silence_min));
    }
    if (o.health == origin_health::dead || o.known == 0) next = std::min(next, o.heard_at + config_.origin_ttl);
  }
  return next;
}

const origin* registry::find(const std::string& id) const {
  const auto at = origins_.find(id);
  return at == origins_.end() ? nullptr : &at->second;
}

const origin* registry::find_living(const std::string& id) const {
  const origin* o = find(id);
  return o != nullptr && o->health != origin_health::dead && !o->unproven ? o : nullptr;
}

std::vector<candidate> registry::candidates(base::time_point now, bool only_alive) const {
  std::vector<candidate> found;
  for (const origin_health wanted : {origin_health::alive, origin_health::suspect}) {
    if (only_alive && wanted != origin_health::alive) break;
    for (const auto& [id, o] : origins_) {
      if (o.health != wanted || o.unproven || !o.disputes.empty() || is_expired(o, now)) continue;
      const bool shadowed = o.fabricated && std::any_of(origins_.begin(), origins_.end(), [&](const auto& other) {
                              return &other.second != &o && other.second.health != origin_health::dead &&
                                     same_address(other.second.reg, o.reg);
                            });
      if (shadowed) continue;  // the default backend has registered: one server, one candidate
      const double weight = o.reg.sluice ? o.reg.sluice->weight : 1;
      const uint32_t capacity = o.reg.sluice ? o.reg.sluice->capacity : 0;
      found.push_back({o.id, o.reg.server, o.streams(), weight, capacity});
    }
    if (!found.empty()) break;
  }
  return found;
}

uint64_t registry::placed(const std::string& id) {
  const auto at = origins_.find(id);
  if (at == origins_.end()) return 0;
  ++at->second.placed;
  return at->second.beats;
}

void registry::unplaced(const std::string& id, uint64_t beat) {
  const auto at = origins_.find(id);
  // With a later heartbeat the origin itself has said what it holds.
  if (at == origins_.end() || at->second.beats != beat || at->second.placed == 0) return;
  const bool was_full = at->second.is_full();
  --at->second.placed;
  if (was_full && !at->second.is_full()) confirmed_ = true;
}

void registry::count_known(const std::string& id, int difference) {
  const auto at = origins_.find(id);
  if (at == origins_.end()) return;
  if (difference < 0 && at->second.known == 0) return;  // it expired and came back in between
  const bool was_full = at->second.is_full();
  at->second.known += static_cast<uint64_t>(difference);
  if (was_full && !at->second.is_full()) confirmed_ = true;
  changed_ = true;
}

void registry::log(base::log_level level, std::string_view event, const origin& o, std::string_view reason) {
  std::string at = o.reg.rtmp.empty() ? std::string() : o.reg.rtmp.front().to_string();
  out_.push_back(action::log{level, event, {{"origin", o.id}, {"rtmp", std::move(at)}, {"reason", reason}}});
}

}  // namespace sluice::cluster
