// The part of owner_table that follows what is published through this proxy, and renews it in the store.

#include <algorithm>
#include <utility>
#include <vector>

#include "cluster/core/owner_table.hpp"

namespace sluice::cluster {

void owner_table::publish_started(const stream_key& key, const epoch& e, moment at) {
  const auto found = streams_.find(key);
  const bool is_known = found != streams_.end() && found->second.owner && found->second.owner->epoch == e;
  stream* const restored = is_known ? nullptr : restore_undone(key, e);
  if (!is_known && restored == nullptr) {  // overtaken by another claim: its publisher learns by whom
    if (found == streams_.end() || !found->second.owner || found->second.owner->epoch < e) return;
    if (const origin* o = origins_.find_living(found->second.owner->origin_id)) {
      out_.push_back(action::owner_changed{key, assignment_to(*o, found->second.owner)});
    }
    return;
  }
  stream& s = is_known ? found->second : *restored;
  if (s.moved_to == e && s.publishers > 0) {
    s.moved_to.reset();
    return;
  }
  s.unstarted.reset();
  if (!s.pending.empty()) remove_pending(s, 0);
  if (restored != nullptr || s.owner->proxy_id != config_.proxy_id) {
    s.owner->proxy_id = config_.proxy_id;  // the proxy that claimed it may not undo it any more
    submit_renewal(s);
  }
  if (s.publishers++ == 0) {
    // Spread, so that the publishes of a storm do not come back to the store together for ever.
    s.renew_at = at.now + config_.stream_ttl / 6 + config_.stream_ttl / 6 * (random() % 1024) / 1024;
    remember(s, at, "published", s.owner->origin_id, e, s.session);
  }
  const origin* o = origins_.find_living(s.owner->origin_id);
  s.lost = o == nullptr;
  if (!s.published_on.empty() && s.published_on != s.owner->origin_id) s.moved_at = at.now;
  s.published_on = s.owner->origin_id;
  if (s.counted_on != s.owner->origin_id) count_on(s, s.owner->origin_id);
  held_.fence(key, s.owner->origin_id, e);
  if (o != nullptr) tell(s, assignment_to(*o, s.owner), at);
  plan_move(s);
  settle(s, at);
  begin_moves(at);
}

void owner_table::publish_ended(const stream_key& key, const epoch& e, moment at) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || !found->second.owner || found->second.owner->epoch != e) return;
  stream& s = found->second;
  if (s.publishers == 0 || --s.publishers > 0) return;
  s.publishers = 1;
  stop_publishing(s);
  remember(s, at, "ended", s.owner->origin_id, e, s.session);
  // From now on it lives one TTL, for a publisher who comes back; a dead owner is of no use to him.
  if (origins_.find_living(s.owner->origin_id) != nullptr) submit_renewal(s);
  s.owner_until = ask_again_at(at);
  settle(s, at);
  begin_moves(at);
}

void owner_table::stop_publishing(stream& s) {
  if (s.publishers == 0) return;
  s.publishers = 0;
  s.lost = false;
  s.renew_at = base::never;
  s.moved_to.reset();
  unplan_move(s);
  s.abandoned = {};
}

void owner_table::origin_departed(const departure& who, moment at) {
  const std::vector<stream_key> ended = held_.keys(who.id);
  held_.drop(who.id);
  for (const stream_key& key : ended) copy_ended(key, at);
  // What waited for this one may go on: the brake on moves does not hold back what is certain, and an owner that is
  // dead has nothing to be waited for.
  std::vector<stream*> held_back;
  for (const auto& [serial, s] : waiting_) {
    const bool is_certain = who.reason == loss_reason::gone && s->published_on == who.id;
    if (!s->parked.empty() && (is_certain || (s->owner && s->owner->origin_id == who.id))) held_back.push_back(s);
  }
  for (stream* s : held_back) {
    unpark(*s);
    advance(*s, at);
  }
  if (!who.was_living) return;
  for (auto& [key, s] : streams_) {
    if (s.publishers == 0 || s.lost || s.owner->origin_id != who.id) continue;
    s.lost = true;
    // What the new owner has accepted may still be written.
    if (!s.committing) end_move(s);
    settle(s, at);  // keeps it: it is published
  }
  begin_moves(at);
}

void owner_table::submit_renewal(stream& s) {
  store_request ask;
  ask.what = store_request::kind::renew;
  ask.key = *s.key;
  ask.record = s.owner;
  ask.ttl = config_.stream_ttl;
  operation op;
  op.kind = op_kind::renew;
  op.of = s.owner->epoch;
  submit(std::move(ask), std::move(op));
}

void owner_table::renewed(const stream_key& key, const epoch& of, store_reply& reply, moment at) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || !found->second.owner || found->second.owner->epoch != of) return;
  stream& s = found->second;
  if (!reply.owner || !*reply.owner || (*reply.owner)->epoch <= of)
    return;  // kept, or to be tried again at the next renewal
  const owner_record& other = **reply.owner;
  if (s.publishers > 0) {
    const bool is_abandoned = other.epoch == s.abandoned;
    if (!is_abandoned && is_uncommitted(s, other.epoch)) return;  // our own move: it is about to be answered
    // Nor does an origin own it that lists its streams and has no publisher for this one: there is one here.
    const bool is_unpublished = held_.has_whole(other.origin_id) && !held_.holds(other.origin_id, key);
    const bool is_nobody = is_abandoned || is_unpublished || origins_.find_living(other.origin_id) == nullptr;
    if (is_nobody && origins_.find_living(s.owner->origin_id) != nullptr) return reassert(s, other.epoch, at);
  }
  out_.push_back(action::log{base::log_level::warn,
                             "stream_lost",
                             {{"stream", s.name}, {"origin", s.owner->origin_id}, {"by", other.origin_id}}});
  learn(s, other, "store", at);
  advance(s, at);
}

/// The store names an owner that is none, and the stream is published here: its owner gets a higher epoch.
void owner_table::reassert(stream& s, const epoch& replaces, moment at) {
  highest_seen_ = std::max(highest_seen_, replaces.counter);
  store_request ask;
  ask.what = store_request::kind::claim;
  ask.key = *s.key;
  ask.replaces = replaces;
  ask.ttl = config_.stream_ttl;
  ask.record = s.owner;
  ask.record->epoch = next_epoch(s, at);
  ask.record->proxy_id = config_.proxy_id;
  operation op;
  op.kind = op_kind::reassert;
  op.of = s.owner->epoch;
  op.proposed = ask.record->epoch;
  submit(std::move(ask), std::move(op));
}

/// The publisher is told of the new epoch like of any other owner, and publishes again with it.
void owner_table::reasserted(const operation& op, store_reply& reply, moment at) {
  const auto found = streams_.find(op.key);
  if (found == streams_.end() || !found->second.owner || found->second.owner->epoch != op.of) return;
  stream& s = found->second;
  if (!reply.owner || !*reply.owner || (*reply.owner)->epoch <= op.of) return;  // the next renewal tries again
  learn(s, **reply.owner, (*reply.owner)->epoch == op.proposed ? "reasserted" : "store", at);
  advance(s, at);
}

std::vector<stream_status> owner_table::statuses() const {
  std::vector<stream_status> all;
  for (const auto& [key, s] : streams_) {
    if (!s.owner && !s.is_published) continue;
    stream_status& shown = all.emplace_back();
    shown.key = key;
    if (s.owner) {
      shown.origin_id = s.owner->origin_id;
      shown.epoch = s.owner->epoch;
    }
    if (s.is_published) shown.session = s.session;
    shown.degraded = s.is_degraded;
    shown.held = !held_.of(key).empty();
  }
  held_.for_each([&](const stream_key& key, const std::vector<holders::copy>& copies) {
    const auto known = streams_.find(key);
    if (known != streams_.end() && (known->second.owner || known->second.is_published)) return;
    const auto best =
        std::max_element(copies.begin(), copies.end(), [](const auto& a, const auto& b) { return a.epoch < b.epoch; });
    all.push_back({key, best->origin_id, best->epoch, {}, false, true});
  });
  return all;
}

}  // namespace sluice::cluster
