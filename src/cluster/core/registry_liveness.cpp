// The part of registry that judges origins by their signs of life.
//
// A stopped process still accepts connections, and its kernel still acknowledges, so only its own bytes count: what its
// sessions got, and answers to probes. Silence is the time since the last of them, but only as far as the origin was
// asked: one that is probed every two seconds is not silent after one. Beyond suspect_after it is suspect, beyond
// dead_after dead, unless so many are silent that the fault must be ours. Whoever refuses a connection twice is dead
// without any delay (registry_probe.cpp).

#include <algorithm>
#include <utility>

#include "cluster/core/registry.hpp"

namespace sluice::cluster {
namespace {

/// A deadline that was missed by so much was missed because this process did not run.
constexpr base::duration stall_min = std::chrono::milliseconds(500);

}  // namespace

void registry::woke(base::time_point now, base::time_point due) {
  if (due == base::never || now - due <= stall_min) return;
  floor_ = now;
  for (auto& [id, o] : origins_) {
    if (o.probe_out) o.probe_lost_at = std::max(o.probe_lost_at, now + config_.probe_timeout);
  }
}

void registry::heard(const std::string& id, base::time_point when) {
  const auto at = origins_.find(id);
  if (at == origins_.end()) return;
  at->second.bytes_at = std::max(at->second.bytes_at, when);
  sign(at->second, when);
}

void registry::sign(origin& o, base::time_point when) {
  o.sign_at = std::max(o.sign_at, when);
  if (when >= o.asked_at) o.asked_at = base::never;
}

base::duration registry::silence(const origin& o, base::time_point now) const {
  if (o.asked_at == base::never) return {};
  const base::time_point since = std::max({o.sign_at, o.asked_at - config_.ping_interval, floor_});
  return std::max(base::duration::zero(), now - since);
}

void registry::suspect(origin& o, std::string_view reason) {
  if (o.health != origin_health::alive) return;
  o.health = origin_health::suspect;
  changed_ = true;
  log(base::log_level::warn, "origin_suspect", o, reason);
}

bool registry::judge_silence(origin& o, base::time_point now) {
  const base::duration quiet = silence(o, now);
  if (quiet < config_.suspect_after) {
    o.fell_at = base::never;
    if (o.health == origin_health::suspect && !o.rtmp_doubted) revive(o, "bytes");
    // Nobody answers a question that long, but bytes came after it was asked: it lives, and is slow.
    std::erase_if(o.asks, [&](const closed_ask& ask) {
      if (now - ask.at < config_.dead_after || o.sign_at < ask.at) return false;
      out_.push_back(action::verdict{ask.id, origin_verdict::alive});
      return true;
    });
    return true;
  }
  if (o.fell_at == base::never) {
    o.fell_at = now;
    suspect(o, "silent");
  }
  return now < dies_at(now - quiet);
}

/// Silence in a mass silence proved nothing: who is silent when it ends, may be about to answer.
base::time_point registry::dies_at(base::time_point silent_since) const {
  return std::max(silent_since, mass_until_) + config_.dead_after;
}

bool registry::is_excused(const std::string& id, base::time_point now) const {
  const origin* o = find_living(id);
  if (o == nullptr || o->fell_at == base::never) return false;
  return mass_silence_ || now < mass_until_ + config_.dead_after || is_mass_silence(now);
}

/// Of the origins that lived when the window began, half or more are silent, or died of it within the window.
bool registry::is_mass_silence(base::time_point now) const {
  const base::time_point begin = now - config_.mass_silence_window;
  size_t lived = 0, silent = 0;
  for (const auto& [id, o] : origins_) {
    if (is_shadowed(o)) continue;
    // One whose own heartbeats come may be about to answer. That others have them says nothing for us.
    if (o.unproven && o.direct_at + config_.dead_after > now) continue;
    const bool is_dead = !o.is_living();
    if (is_dead && o.died_at <= begin) continue;
    ++lived;
    if (o.fell_at == base::never) continue;
    if (!is_dead || o.lost_by == loss_reason::silent) ++silent;
  }
  return silent >= 2 && 2 * silent >= lived;
}

void registry::lose(origin& o, loss_reason reason, origin_verdict verdict, base::time_point now) {
  if (o.is_living()) {
    log(base::log_level::warn, "origin_dead", o,
        verdict == origin_verdict::new_incarnation ? "other_incarnation"
        : reason == loss_reason::gone              ? "gone"
                                                   : "silent");
    depart(o, reason);
    o.died_at = now;
    o.lost_by = reason;
  } else if (reason == loss_reason::gone && o.lost_by == loss_reason::silent) {
    o.lost_by = reason;
    confirmed_ = true;  // who waited for it to come back need not wait any more
  }
  o.health = origin_health::dead;
  o.unproven = o.breaker_open = false;
  o.failures = 0;  // the breaker is for origins that answer probes
  o.failed_at = now;
  changed_ = true;
  answer(o.asks, verdict);
  answer(o.asks_next, verdict);
}

void registry::dial_failed(const std::string& id, base::time_point now) {
  const auto at = origins_.find(id);
  if (at == origins_.end()) return;
  origin& o = at->second;
  o.failed_at = now;
  o.rtmp_doubted = true;
  if (o.health == origin_health::dead) return;
  failed_session(o, now);
  suspect(o, "dial_failed");
  question(o, now);
}

void registry::dial_ok(const std::string& id, base::time_point now) {
  const auto at = origins_.find(id);
  if (at == origins_.end()) return;
  origin& o = at->second;
  o.failures = 0;
  if (std::exchange(o.breaker_open, false)) confirmed_ = changed_ = true;
  sign(o, now);
  prove(o, now, "dial");
}

/// Sessions that an origin fails while it answers probes: after some in a row it gets no new ones for a while.
void registry::failed_session(origin& o, base::time_point now) {
  if (o.failures < config_.breaker_failures) ++o.failures;
  if (o.failures < config_.breaker_failures) return;
  if (!o.breaker_open) log(base::log_level::warn, "origin_breaker_open", o, "sessions_failed");
  o.breaker_open = true;
  o.breaker_until = now + config_.breaker_open;
  changed_ = true;
}

void registry::on_timeout(base::time_point now) {
  std::vector<std::string> lost, dying;
  fallen_ = 0;
  for (auto at = origins_.begin(); at != origins_.end();) {
    origin& o = at->second;
    // An origin that answers and has our streams is kept beyond its TTL, but gets no new ones.
    if (is_expired(o, now) && (o.health == origin_health::dead || o.known == 0)) {
      log(base::log_level::info, "origin_expired", o, "not_registered_again");
      at = erase(at);
      continue;
    }
    ++at;
    if (o.breaker_open && now >= o.breaker_until) {
      o.breaker_open = false;
      confirmed_ = changed_ = true;
    }
    if (o.is_living() && !judge_silence(o, now)) dying.push_back(o.id);
    if (o.is_living() && o.fell_at != base::never) ++fallen_;
    if (o.probe_out && now >= o.probe_lost_at) lost.push_back(o.id);
  }
  const bool mass = (mass_silence_ || !dying.empty()) && is_mass_silence(now);
  if (mass != mass_silence_) {
    mass_silence_ = mass;
    changed_ = true;
    if (!mass) {
      mass_until_ = now;
      confirmed_ = true;
      std::erase_if(dying, [&](const std::string& id) { return judge_silence(origins_.at(id), now); });
    }
    out_.push_back(action::log{mass ? base::log_level::warn : base::log_level::info,
                               mass ? "mass_silence" : "mass_silence_over",
                               {{"silent", fallen_}, {"origins", origins_.size()}}});
  }
  if (!mass) {
    for (const std::string& id : dying) lose(origins_.at(id), loss_reason::silent, origin_verdict::dead, now);
  }
  for (const std::string& id : lost) probe_result(id, probe_answer::silent, std::nullopt, now);  // may end several
  for (auto& [id, o] : origins_) {
    if (o.probe_out || now < o.probe_from + interval(o)) continue;
    if (is_questioned(o)) {
      question(o, now);
    } else {
      ping(o, now);
    }
  }
}

base::time_point registry::next_deadline() const {
  base::time_point next = base::never;
  for (const auto& [id, o] : origins_) {
    next = std::min(next, o.probe_out ? o.probe_lost_at : o.probe_from + interval(o));
    if (o.breaker_open) next = std::min(next, o.breaker_until);
    if (o.is_living() && o.asked_at != base::never) {
      const base::time_point since = std::max({o.sign_at, o.asked_at - config_.ping_interval, floor_});
      if (o.fell_at == base::never) {
        next = std::min(next, since + config_.suspect_after);
      } else if (!mass_silence_) {
        next = std::min(next, dies_at(since));
      }
    }
    if (o.health == origin_health::dead || o.known == 0) next = std::min(next, expires_at(o));
  }
  return next;
}

}  // namespace sluice::cluster
