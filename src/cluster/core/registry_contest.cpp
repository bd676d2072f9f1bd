// The part of registry that decides between origins that exclude each other: two incarnations of one server, or two
// servers at one address.

#include <algorithm>
#include <utility>

#include "cluster/core/registry.hpp"

namespace sluice::cluster {
namespace {

constexpr size_t voided_max = 4096;
/// So long, and for so many of its heartbeats, an origin is taken to go on though the store names another incarnation.
constexpr base::duration record_patience = std::chrono::seconds(30);
constexpr int beats_awaited = 5;

bool is_elsewhere(identity said) { return said == identity::somebody_else || said == identity::silent; }

bool share_one(const std::vector<base::endpoint>& a, const std::vector<base::endpoint>& b) {
  return std::any_of(a.begin(), a.end(),
                     [&](const base::endpoint& at) { return std::find(b.begin(), b.end(), at) != b.end(); });
}

}  // namespace

bool same_address(const origin_registration& a, const origin_registration& b) { return share_one(a.rtmp, b.rtmp); }

/// Who else claims to be this server? At the same address it was restarted, and the older one is void, unless its API
/// names it: then this is a late message of one that is no more. At another one it was restarted elsewhere, or is a
/// copy of an id file: a probe of the older one tells.
void registry::contest_older(const origin& newer, base::time_point now) {
  for (auto at = origins_.begin(); at != origins_.end();) {
    origin& older = at->second;
    if (&older == &newer || older.fabricated || older.reg.server != newer.reg.server) {
      ++at;
      continue;
    }
    const bool is_here = same_address(older.reg, newer.reg);
    if (older.health == origin_health::dead || (is_here && (older.reg.api.empty() || older.api_useless))) {
      at = make_void(at, newer.id);
    } else {
      older.contested_by = newer.id;
      older.contested_here = is_here;
      question(older, now);
      ++at;
    }
  }
}

/// Of one that is contested at its own address. True if the result is thereby dealt with.
bool registry::settle_contest(origin_map::iterator at, bool ok, const std::optional<std::string>& incarnation,
                              base::time_point now) {
  origin& o = at->second;
  if (o.probing != probe_kind::api_versions) {  // it was on its way before
    question(o, now);
    return true;
  }
  const auto newer = origins_.find(o.contested_by);
  o.contested_here = false;
  o.contested_by.clear();
  if (newer == origins_.end()) return false;
  if (!ok || incarnation != o.id) {
    make_void(at, newer->first);
    return true;
  }
  make_void(newer, o.id);
  return false;
}

/// Whether the store remembers an incarnation of before the one that is known. Clocks differ: whose heartbeats go on is
/// the later one in any case.
bool registry::is_outdated(const origin_registration& reg, base::time_point told_at, base::time_point now) const {
  return std::any_of(origins_.begin(), origins_.end(), [&](const auto& other) {
    const origin& o = other.second;
    if (o.fabricated || o.reg.server != reg.server) return false;
    const auto patience =
        std::max<base::duration>(record_patience, beats_awaited * o.period().value_or(base::duration{}));
    const bool goes_on = !o.remembered && o.is_living() && now < o.registered_at + patience;
    return goes_on || o.told_at >= told_at;
  });
}

/// A void incarnation goes on, and whoever has its place now (the one that voided it, or the one that voided that, and
/// so on) has stopped or is no more: that was the late message of a dead one.
void registry::unvoid(const std::string& id, const news& from, base::time_point now) {
  const auto known = voided_.find(id);
  if (known == voided_.end()) return;
  auto successor = origins_.find(known->second.by);
  auto next = known;
  for (size_t i = 0; i < voided_.size() && successor == origins_.end(); ++i) {  // they may form a ring
    next = voided_.find(next->second.by);
    if (next == voided_.end()) break;
    successor = origins_.find(next->second.by);
  }
  if (successor != origins_.end() && successor->first == id) successor = origins_.end();
  if (successor != origins_.end()) {
    const origin& o = successor->second;
    // What the store remembers is a sign only against what else it remembers, and was said before.
    const bool is_sign =
        from.by == registered_by::store ? o.remembered && from.told_at > o.told_at : heartbeats_stopped(o, now);
    if (!is_sign) return;
  }
  voided_.erase(known);
  if (successor != origins_.end()) make_void(successor, id);
}

registry::origin_map::iterator registry::make_void(origin_map::iterator at, const std::string& by) {
  origin& o = at->second;
  depart(o, loss_reason::gone);
  answer(o.asks, origin_verdict::new_incarnation);
  answer(o.asks_next, origin_verdict::new_incarnation);
  out_.push_back(action::log{base::log_level::warn, "origin_void", {{"origin", o.id}, {"by", by}}});
  if (voided_.insert_or_assign(o.id, voided{o.reg.rtmp, by}).second) voided_order_.push_back(o.id);
  if (voided_order_.size() > voided_max) {
    voided_.erase(voided_order_.front());
    voided_order_.pop_front();
  }
  return erase(at);
}

registry::origin_map::iterator registry::erase(origin_map::iterator at) {
  departures_.push_back({at->first, false, loss_reason::gone});
  answer(at->second.asks, origin_verdict::dead);
  answer(at->second.asks_next, origin_verdict::dead);
  forget_disputes(at->first);
  changed_ = true;
  return origins_.erase(at);
}

/// A void incarnation may come back at an address that it was not voided at, and that no other incarnation of its
/// server has.
bool registry::may_return(const std::string& id, const origin_registration& reg) const {
  if (share_one(voided_.at(id).at, reg.rtmp)) return false;
  return std::none_of(origins_.begin(), origins_.end(), [&](const auto& other) {
    return other.first != id && other.second.reg.server == reg.server && same_address(other.second.reg, reg);
  });
}

size_t registry::servers_at(const origin_registration& reg) const {
  return static_cast<size_t>(std::count_if(origins_.begin(), origins_.end(), [&](const auto& other) {
    return !other.second.fabricated && other.second.reg.server != reg.server && same_address(other.second.reg, reg);
  }));
}

/// Others have said before that they are at this address: all are asked who they are. Until that is settled the newer
/// one gets no streams.
void registry::dispute_address(origin& newer, base::time_point now) {
  for (auto& [id, older] : origins_) {
    if (older.fabricated || older.reg.server == newer.reg.server || !same_address(older.reg, newer.reg)) continue;
    newer.disputes.push_back(id);
    older.said = identity::not_asked;
    older.to_identify = true;
    question(older, now);
  }
  if (newer.disputes.empty()) return;
  newer.said = identity::not_asked;
  newer.to_identify = true;
  question(newer, now);
}

void registry::settle_disputes(const std::string& id, base::time_point now) {
  std::vector<std::pair<std::string, std::string>> pairs;  // older, newer: a decision removes from the lists
  for (const auto& [newer, o] : origins_) {
    for (const std::string& older : o.disputes) {
      if (older == id || newer == id) pairs.emplace_back(older, newer);
    }
  }
  for (const auto& [older, newer] : pairs) settle_dispute(older, newer, now);
}

/// Void is who does not answer as itself while the other does, or at least might. Of two that cannot be told apart the
/// newer one wins once the older one's heartbeats have stopped.
void registry::settle_dispute(const std::string& older_id, const std::string& newer_id, base::time_point now) {
  const auto older_at = origins_.find(older_id);
  const auto newer_at = origins_.find(newer_id);
  if (older_at == origins_.end() || newer_at == origins_.end()) return;
  origin& older = older_at->second;
  origin& newer = newer_at->second;
  if (older.said == identity::not_asked || newer.said == identity::not_asked) return;
  if (older.said == identity::itself && newer.said == identity::itself) {
    out_.push_back(action::log{
        base::log_level::warn,
        "address_twice",
        {{"origin", older_id}, {"other", newer_id}, {"text", "two servers say they are at one address; both answer"}}});
    std::erase(newer.disputes, older_id);
    confirmed_ = changed_ = true;
    return;
  }
  const bool newer_is_wrong =
      older.said == identity::itself || (older.said == identity::untold && newer.said == identity::somebody_else);
  const bool older_is_wrong = is_elsewhere(older.said) && !is_elsewhere(newer.said);
  const bool older_has_stopped =
      heartbeats_stopped(older, now) && newer.intervals_seen > 0 && !heartbeats_stopped(newer, now);
  if (newer_is_wrong) {
    make_void(newer_at, older_id);
  } else if (older_is_wrong || older_has_stopped) {
    make_void(older_at, newer_id);
  }
}

/// `id` is gone, or somewhere else: nobody disputes with it any more.
void registry::forget_disputes(const std::string& id) {
  for (auto& [other, o] : origins_) {
    if (o.disputes.empty()) continue;
    if (other == id) {
      o.disputes.clear();
    } else {
      std::erase(o.disputes, id);
    }
    if (o.disputes.empty()) confirmed_ = true;
  }
}

}  // namespace sluice::cluster
