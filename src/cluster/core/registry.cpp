#include "cluster/core/registry.hpp"

#include <algorithm>
#include <utility>

#include "cluster/core/transport.hpp"

namespace sluice::cluster {
namespace {

constexpr base::duration beats_missed_min = std::chrono::seconds(2);
/// Heartbeats that must be missing before they count as stopped; more where some are lost on the way between proxies.
constexpr int beats_missed = 2, relayed_beats_missed = 5;
/// Servers at one address; more are a flood or a cluster of wrongly announced addresses.
constexpr size_t servers_per_address_max = 4;
/// The age of a record is known but so well: its time and that of its arrival are not taken together.
constexpr base::duration record_jitter = std::chrono::seconds(1);
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

base::result<void> registry::registration(origin_registration reg, const news& from, base::time_point now) {
  const std::string id = reg.id();
  unvoid(id, from, now);
  const auto known = origins_.find(id);
  const bool is_void = voided_.contains(id);
  if (is_void && !may_return(id, reg)) {
    if (known != origins_.end()) erase(known);
    return base::fail("voided_incarnation", "origin " + id + " was replaced by another at its address");
  }
  const bool is_relayed = from.by != registered_by::origin;
  if (known != origins_.end()) {
    known->second.relayed |= is_relayed;
    known->second.remembered &= from.by == registered_by::store;
    // A record is a heartbeat of others, if it has been written anew.
    const bool is_old = from.by == registered_by::store && from.told_at <= known->second.told_at + record_jitter;
    known->second.told_at = std::max(known->second.told_at, from.told_at);
    if (!is_relayed) known->second.direct_at = now;
    if (is_old || is_older(reg, known->second)) return {};
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
  if (from.by == registered_by::store && is_outdated(reg, from.told_at, now)) {
    return base::fail("outdated_record", "a later incarnation of the server " + reg.server + " is known");
  }
  if (origins_.size() >= config_.origins_max) return base::fail("too_many_origins", "the limit of origins is reached");
  origin o;
  o.reg = std::move(reg);
  o.relayed = is_relayed;
  o.told_at = from.told_at;
  o.remembered = from.by == registered_by::store;
  if (!is_relayed) o.direct_at = now;
  if (is_void) {
    o.returning = o.unproven = true;
    o.health = origin_health::suspect;
  }
  add(std::move(o), now);
  origin& added = origins_.at(id);
  if (is_void) {
    question(added, now);
  } else {
    contest_older(added, now);
  }
  dispute_address(added, now);
  return {};
}

void registry::add(origin o, base::time_point now) {
  o.id = o.reg.id();
  o.registered_at = now;
  o.sign_at = now;
  // Not all in one instant: who registers together is not pinged together.
  o.probe_from = now - config_.ping_interval / 2 * static_cast<int64_t>(hash64(o.id) % 1024) / 1024;
  confirmed_ = true;
  changed_ = true;
  log(base::log_level::info, "origin_added", o,
      o.fabricated  ? "default_backend"
      : o.returning ? "returned"
                    : "registered");
  returned_.push_back(o.id);
  origin& added = origins_.insert_or_assign(o.id, std::move(o)).first->second;
  if (added.fabricated) question(added, now);
}

/// It was sent before, or is, one that is known already: it came another way, or twice.
bool registry::is_older(const origin_registration& reg, const origin& known) {
  return reg.sluice && known.reg.sluice && reg.sluice->beat != 0 && reg.sluice->beat <= known.reg.sluice->beat;
}

void registry::store_state(bool reachable, base::time_point now) {
  if (store_away_ && reachable) store_back_at_ = now;
  store_away_ = !reachable;
}

void registry::heartbeat(origin& o, origin_registration reg, base::time_point now) {
  if (const base::duration interval = now - o.registered_at; interval >= interval_min) {
    o.intervals[o.intervals_seen++ % o.intervals.size()] = interval;
  }
  const bool was_full = o.is_full();
  o.reg = std::move(reg);
  o.registered_at = now;
  o.placed = 0;
  ++o.beats;
  if (was_full && !o.is_full()) confirmed_ = true;
  changed_ = true;
  if (o.health != origin_health::dead) return;
  // A heartbeat does not show that it serves: it is asked.
  o.health = origin_health::suspect;
  o.unproven = true;
  question(o, now);
}

void registry::revive(origin& o, std::string_view by) {
  const bool was_dead = !o.is_living();
  o.health = origin_health::alive;
  o.unproven = o.rtmp_doubted = false;
  o.fell_at = base::never;
  confirmed_ = true;
  changed_ = true;
  if (!was_dead) return;
  returned_.push_back(o.id);
  log(base::log_level::info, "origin_back", o, by);
}

/// It has answered to what was sent at `at`.
void registry::prove(origin& o, base::time_point at, std::string_view by) {
  o.proven_at = at;
  o.rtmp_doubted = false;
  if (std::exchange(o.returning, false)) voided_.erase(o.id);
  if (o.health != origin_health::alive) revive(o, by);
}

/// It is dead, void or expired now. Each loss is told once.
void registry::depart(const origin& o, loss_reason reason) {
  departures_.push_back({o.id, o.is_living(), reason});
  if (o.is_living()) out_.push_back(action::origin_lost{o.id, reason});
}

void registry::answer(std::vector<closed_ask>& asks, origin_verdict verdict) {
  for (const closed_ask& ask : std::exchange(asks, {})) out_.push_back(action::verdict{ask.id, verdict});
}

bool registry::proven_since_failure(const std::string& id) const {
  const origin* o = find(id);
  return o != nullptr && o->health == origin_health::alive && o->failed_at != base::time_point::min() &&
         o->proven_at >= o->failed_at;
}

bool registry::heartbeats_stopped(const origin& o, base::time_point now) const {
  const auto period = o.period();
  if (o.fabricated || !period || (o.relayed && store_away_)) return false;
  const auto since = o.relayed ? std::max(o.registered_at, store_back_at_) : o.registered_at;
  return now - since >= std::max((o.relayed ? relayed_beats_missed : beats_missed) * *period, beats_missed_min);
}

base::time_point registry::expires_at(const origin& o) const {
  if (o.fabricated || (store_away_ && o.is_living())) return base::never;
  return std::max(o.registered_at, store_back_at_) + config_.origin_ttl;
}

/// The default backend has registered: one server, one candidate.
bool registry::is_shadowed(const origin& o) const {
  return o.fabricated && std::any_of(origins_.begin(), origins_.end(), [&](const auto& other) {
           return &other.second != &o && other.second.health != origin_health::dead &&
                  same_address(other.second.reg, o.reg);
         });
}

void registry::set_draining(const std::string& server_id, bool on) {
  if (on) {
    draining_.insert(server_id);
  } else if (draining_.erase(server_id) != 0) {
    confirmed_ = true;
  }
  changed_ = true;
}

bool registry::has_server(const std::string& server_id) const {
  return std::any_of(origins_.begin(), origins_.end(),
                     [&](const auto& other) { return other.second.reg.server == server_id; });
}

const origin* registry::find(const std::string& id) const {
  const auto at = origins_.find(id);
  return at == origins_.end() ? nullptr : &at->second;
}

const origin* registry::find_living(const std::string& id) const {
  const origin* o = find(id);
  return o != nullptr && o->is_living() ? o : nullptr;
}

bool registry::is_unheard(const std::string& id) const {
  if (origins_.contains(id) || voided_.contains(id)) return false;
  return std::none_of(origins_.begin(), origins_.end(),
                      [&](const auto& other) { return id.starts_with(other.second.reg.server + "-"); });
}

std::vector<candidate> registry::candidates(base::time_point now, candidate_rules rules) const {
  std::array<std::vector<candidate>, 4> tiers;
  for (const auto& [id, o] : origins_) {
    if (!o.is_living() || !o.disputes.empty() || o.contested_here || is_expired(o, now) || is_shadowed(o)) continue;
    const bool is_suspect = o.health != origin_health::alive, is_drained = draining_.contains(o.reg.server);
    if (!serves(o.reg, rules.by)) continue;
    if ((is_suspect && rules.only_alive) || (is_drained && (is_suspect || !rules.drained))) continue;
    const size_t tier = is_drained ? 3 : is_suspect ? 2 : o.breaker_open ? 1 : 0;
    const double weight = o.reg.sluice ? o.reg.sluice->weight : 1;
    const uint32_t capacity = o.reg.sluice ? o.reg.sluice->capacity : 0;
    tiers[tier].push_back({o.id, o.reg.server, o.streams(), weight, capacity});
  }
  for (auto& tier : tiers) {
    if (!tier.empty()) return std::move(tier);
  }
  return {};
}

uint64_t registry::placed(const std::string& id, base::time_point now) {
  const auto at = origins_.find(id);
  if (at == origins_.end()) return 0;
  origin& o = at->second;
  if (o.failures >= config_.breaker_failures && !o.breaker_open) {
    o.breaker_open = true;  // this one is the trial
    o.breaker_until = now + config_.breaker_open;
  }
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
