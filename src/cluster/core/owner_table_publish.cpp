// The part of owner_table that follows what is published through this proxy, and renews it in the store.

#include <algorithm>
#include <utility>
#include <vector>

#include "cluster/core/owner_table.hpp"

namespace sluice::cluster {
namespace {

/// From the start of a publish to the renewal that says so.
constexpr base::duration first_renewal_max = std::chrono::seconds(1);
/// When a renewal fails, what the store has never confirmed is tried again soon.
constexpr base::duration unwritten_retry = std::chrono::seconds(2);

}  // namespace

void owner_table::publish_started(const stream_key& key, const epoch& e, moment at) {
  const auto found = streams_.find(key);
  const bool is_known = found != streams_.end() && found->second.owner && found->second.owner->epoch == e;
  stream* const restored = is_known ? nullptr : restore_undone(key, e);
  if (!is_known && restored == nullptr) {  // overtaken by another claim: its publisher learns by whom
    if (found == streams_.end() || !found->second.owner || found->second.owner->epoch < e) return;
    // Nobody has to wait for him any more.
    const auto& pending = found->second.pending;
    const auto his = std::ranges::find(pending, e, &pending_claim::granted);
    if (his != pending.end()) remove_pending(found->second, static_cast<size_t>(his - pending.begin()));
    // Also of one that is dead, or not known here (any more): he claims anew then, and is not left with an epoch that
    // is over.
    const owner_record& owner = *found->second.owner;
    assignment to;
    to.origin_id = owner.origin_id;
    to.epoch = owner.epoch;
    if (const origin* o = origins_.find(owner.origin_id)) to = assignment_to(*o, owner);
    out_.push_back(action::owner_changed{key, std::move(to)});
    return;
  }
  stream& s = is_known ? found->second : *restored;
  if (s.moved_to == e && s.publishers > 0) {
    s.moved_to.reset();
    return;
  }
  s.unstarted.reset();
  if (!s.pending.empty()) remove_pending(s, 0);
  if (s.publishers++ == 0) {
    // That it is published now; not at once, so that a storm does not come to the store together.
    s.renew_at = at.now + random_up_to(first_renewal_max);
    remember(s, at, "published", s.owner->origin_id, e, s.session);
  }
  if (restored != nullptr || s.owner->proxy_id != config_.proxy_id) {
    s.owner->proxy_id = config_.proxy_id;  // the proxy that claimed it may not undo it any more
    submit_renewal(s);
    s.renew_at = at.now + renewal_wait();
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
  s.abandoned = s.challenger = {};
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

/// Between two renewals. Spread, so that those of a storm do not stay together for ever.
base::duration owner_table::renewal_wait() {
  const base::duration longest =
      config_.renew_interval != base::duration::zero() ? config_.renew_interval : config_.stream_ttl / 3;
  return longest * 3 / 4 + random_up_to(longest / 4);
}

void owner_table::submit_renewal(stream& s) {
  s.owner->published = s.publishers > 0;
  if (!reachable_) return;  // what is published is written when the store is back
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
  if (reply.owner && *reply.owner && (*reply.owner)->epoch > of) return overtaken(s, **reply.owner, at);
  if (reply.owner) {
    s.unwritten = false;
    s.stored.reset();
    s.challenger = {};
  } else if (s.publishers > 0) {
    // What the store has is not ours, or may not be: that does not wait for the next turn.
    const bool is_open = s.unwritten || s.challenger != epoch{} || s.abandoned != epoch{};
    const base::duration wait = is_open ? unwritten_retry : renewal_wait() / 4;
    s.renew_at = std::min(s.renew_at, at.now + wait + random_up_to(wait));
    settle(s, at);
  }
}

/// There is an owner of a higher epoch: our publisher has lost the stream, unless that is nobody. Nobody is one that is
/// dead, or that lists its streams and has no publisher with that epoch, in spite of the time that he had to come.
void owner_table::overtaken(stream& s, const owner_record& other, moment at) {
  if (s.publishers > 0) {
    const bool is_abandoned = other.epoch == s.abandoned;
    if (!is_abandoned && is_uncommitted(s, other.epoch)) return;  // our own move: it is about to be answered
    const bool is_certain = is_abandoned || origins_.find_living(other.origin_id) == nullptr;
    const bool tells = held_.has_whole(other.origin_id);
    const bool is_there = tells ? held_.holds(other.origin_id, *s.key, other.epoch) : other.published;
    if (!is_certain && !is_there && is_given_time(s, other, at)) return settle(s, at);
    const bool is_nobody = is_certain || (tells && !is_there);
    if (is_nobody && origins_.find_living(s.owner->origin_id) != nullptr) return reassert(s, other.epoch, at);
  }
  out_.push_back(action::log{base::log_level::warn,
                             "stream_lost",
                             {{"stream", s.name}, {"origin", s.owner->origin_id}, {"by", other.origin_id}}});
  learn(s, other, "store", at);
  advance(s, at);
}

/// Whether its publisher may still be on his way. When he had his time a renewal will show what has come of it.
bool owner_table::is_given_time(stream& s, const owner_record& other, moment at) {
  if (s.challenger != other.epoch) {
    s.challenger = other.epoch;
    s.challenged_at = at.now;
  }
  const base::time_point until = s.challenged_at + arrival_time;
  if (until <= at.now) return false;
  s.renew_at = std::min(s.renew_at, until);
  return true;
}

/// The store names an owner that is none, and the stream is published here: its owner gets a higher epoch.
void owner_table::reassert(stream& s, const epoch& replaces, moment at) {
  highest_seen_ = std::max(highest_seen_, replaces.counter);
  if (!reachable_) return;  // the renewal that follows its return will show the same
  store_request ask;
  ask.what = store_request::kind::claim;
  ask.key = *s.key;
  ask.replaces = replaces;
  ask.ttl = config_.stream_ttl;
  ask.record = s.owner;
  ask.record->epoch = next_epoch(s, at);
  ask.record->proxy_id = config_.proxy_id;
  ask.record->published = true;
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
