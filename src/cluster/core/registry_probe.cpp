// The part of registry that asks origins: routine pings, and questions after something went wrong.

#include <algorithm>
#include <utility>

#include "cluster/core/registry.hpp"

namespace sluice::cluster {

/// Between two probes. Who carries streams of ours must answer often, and so must all as soon as one is silent: whether
/// the fault is ours shows only if all were asked.
base::duration registry::interval(const origin& o) const {
  if (!o.is_living()) return config_.probe_interval;
  if (is_questioned(o)) return config_.probe_timeout;
  const bool has_sessions =
      o.known > 0 || (o.bytes_at != base::time_point::min() && o.bytes_at + config_.probe_interval >= o.probe_from);
  const bool is_urgent = o.reg.sluice || has_sessions || fallen_ > 0 || heartbeats_stopped(o, o.probe_from);
  return is_urgent ? config_.ping_interval : config_.probe_interval;
}

/// It is to show more than that it runs.
bool registry::is_questioned(const origin& o) const {
  return !o.is_living() || o.rtmp_doubted || !o.asks.empty() || !o.asks_next.empty() || !o.contested_by.empty() ||
         o.to_identify;
}

void registry::question(origin& o, base::time_point now) {
  if (o.probe_out) return;
  o.api_proved = false;
  send_probe(o, o.reg.api.empty() || o.api_useless ? probe_kind::rtmp_handshake : probe_kind::api_versions, now);
}

void registry::ping(origin& o, base::time_point now) {
  if (!o.reg.sluice) return question(o, now);
  send_probe(o, probe_kind::rtmp_ping, now);
}

void registry::send_probe(origin& o, probe_kind kind, base::time_point now) {
  o.probe_out = true;
  o.probing = kind;
  o.probe_sent_at = o.probe_from = now;
  if (o.asked_at == base::never) o.asked_at = now;
  // The shell answers within the timeout; should it ever not, nobody may wait for ever.
  o.probe_lost_at = now + 2 * config_.probe_timeout + std::chrono::seconds(1);
  o.asks.insert(o.asks.end(), o.asks_next.begin(), o.asks_next.end());
  o.asks_next.clear();
  out_.push_back(
      action::probe{o.id, kind, kind == probe_kind::api_versions ? o.reg.api : o.reg.rtmp, config_.probe_timeout});
}

void registry::ask(const std::string& id, closed_ask who) {
  const auto at = origins_.find(id);
  if (at == origins_.end() || at->second.health == origin_health::dead) {
    const bool replaced = at == origins_.end() && voided_.contains(id);
    out_.push_back(action::verdict{who.id, replaced ? origin_verdict::new_incarnation : origin_verdict::dead});
    return;
  }
  origin& o = at->second;
  o.asks_next.push_back(who);
  question(o, who.at);
}

void registry::probe_result(const std::string& id, probe_answer answer, const std::optional<std::string>& incarnation,
                            base::time_point now) {
  const auto at = origins_.find(id);
  if (at == origins_.end() || !at->second.probe_out) return;
  origin& o = at->second;
  o.probe_out = false;
  o.probe_lost_at = base::never;
  const bool ok = answer == probe_answer::ok;
  const bool somebody_else = ok && !o.fabricated && incarnation && *incarnation != o.id;

  if (o.contested_here && settle_contest(at, ok, incarnation, now)) return;
  if (!ok && o.probing == probe_kind::api_versions) {
    // Its API may be full, switched off or never have been where it said: what counts is whether it speaks RTMP.
    if (!o.api_answered) o.api_useless = true;
    send_probe(o, probe_kind::rtmp_handshake, now);
    return;
  }
  if (!ok && o.probing == probe_kind::rtmp_ping) {
    // A broken control connection is no proof, but reason enough to ask at once; so is a silent one if somebody waits.
    if (answer == probe_answer::gone) o.rtmp_doubted = true;
    if (is_questioned(o)) question(o, now);
    return;
  }
  if ((!ok || somebody_else) && !o.contested_by.empty()) {
    const std::string by = o.contested_by;
    make_void(at, by);
    return;
  }
  identified(o, somebody_else, ok, incarnation.has_value());
  settle_disputes(id, now);
  if (!origins_.contains(id)) return;
  if (somebody_else) {
    // Should its heartbeats go on all the same, then its API endpoint is wrong, and is not asked again.
    o.api_useless = true;
    lose(o, loss_reason::gone, origin_verdict::new_incarnation, now);
  } else if (ok) {
    probe_succeeded(o, now);
  } else {
    probe_failed(o, answer, now);
  }
  if (o.returning && o.health == origin_health::dead) erase(at);  // nobody there: it stays void
}

/// Who has answered?
void registry::identified(origin& o, bool somebody_else, bool ok, bool named) {
  if (o.probing == probe_kind::rtmp_ping && !somebody_else) {  // only that somebody is there
    if (o.said == identity::silent) o.said = identity::untold;
    return;
  }
  if (o.probing == probe_kind::api_versions) o.api_proved = ok && named && !somebody_else;
  o.to_identify = false;
  o.said = somebody_else  ? identity::somebody_else
           : o.api_proved ? identity::itself
           : ok           ? identity::untold
                          : identity::silent;
}

void registry::probe_failed(origin& o, probe_answer answer, base::time_point now) {
  if (!o.is_living()) {
    o.rtmp_doubted = true;
    lose(o, answer == probe_answer::gone ? loss_reason::gone : o.lost_by, origin_verdict::dead, now);
    return;
  }
  // The first sign of trouble may be a hiccup: dead is who refuses twice, or is silent for too long.
  if (answer == probe_answer::silent) return;
  const bool doubted = std::exchange(o.rtmp_doubted, true) || o.health != origin_health::alive || !o.asks.empty();
  if (doubted) return lose(o, loss_reason::gone, origin_verdict::dead, now);
  suspect(o, "refused");
  question(o, now);
}

void registry::probe_succeeded(origin& o, base::time_point now) {
  if (o.probing == probe_kind::api_versions) {
    o.api_answered = true;
    if (o.rtmp_doubted) return send_probe(o, probe_kind::rtmp_handshake, now);
  }
  sign(o, now);
  if (!o.contested_by.empty()) {
    out_.push_back(action::log{base::log_level::warn,
                               "server_id_twice",
                               {{"origin", o.id},
                                {"other", o.contested_by},
                                {"text", "both answer: they are two origins; was an id file copied?"}}});
    o.contested_by.clear();
  }
  for (const closed_ask& ask : o.asks) {
    if (!ask.agreed) failed_session(o, now);
  }
  answer(o.asks, origin_verdict::alive);
  if (o.failed_at > o.probe_sent_at) return send_probe(o, probe_kind::rtmp_handshake, now);  // a dial failed meanwhile
  prove(o, o.probe_sent_at, "probe");
  if (is_questioned(o)) question(o, now);
}

}  // namespace sluice::cluster
