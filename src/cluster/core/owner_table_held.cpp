// The part of owner_table that knows where a stream is: the record, the copies that origins say they hold, and what
// players were told of it.

#include <algorithm>
#include <utility>

#include "cluster/core/owner_table.hpp"

namespace sluice::cluster {

namespace {

/// An origin whose last heartbeat at this proxy itself is older does not tell it what it holds.
constexpr base::duration told_time = std::chrono::seconds(3);

}  // namespace

void owner_table::step_find(stream& s, moment at) {
  const bool fresh = s.owner_until > at.now;
  const bool missed = s.miss_until > at.now || !reachable_;
  if (fresh || missed || s.publishers > 0 || s.unwritten) {
    if (const auto found = findable(s, at)) {
      tell(s, *found, at);
      answer_finds(s, *found);
      return;
    }
  }
  if (fresh && reachable_) return;  // the owner is dead: its publisher's proxy will claim another
  if (missed) return find_without_record(s, at);
  submit_find(s);
}

/// Nobody is known to own the stream. The first candidate is tried where play_unowned says so, and while there is no
/// store if that is an origin that cannot tell this proxy what it holds (a stock one, or one whose heartbeats reach
/// other proxies, which cannot pass them on now): the proxies place what is new then by the same rule, and waiting
/// would end no sooner. (A Sluice origin that has the stream has told so.)
void owner_table::find_without_record(stream& s, moment at) {
  const bool may_guess = !reachable_ && !is_claimed_here(s);
  if (config_.play_unowned != play_unowned::relay && !may_guess) return;
  const auto candidates = origins_.candidates(at.now, {});
  const auto picked = pick_origin(s.name, candidates, {}, {.use_load = false});
  if (!picked) return;
  const origin& first = *origins_.find(std::string(candidates[*picked].origin_id));
  const assignment to = assignment_to(first, std::nullopt);
  const bool tells_us = to.is_sluice && first.direct_at + told_time > at.now;
  if (config_.play_unowned != play_unowned::relay && tells_us) return;
  tell(s, to, at);
  answer_finds(s, to);
}

void owner_table::submit_find(stream& s) {
  store_request ask;
  ask.what = store_request::kind::find;
  ask.key = *s.key;
  s.op_claim.reset();
  s.proposed.reset();
  s.op = submit(std::move(ask), {});
  s.op_overtaken = false;
}

/// Where a player is to go: to the owner, or to an origin that has a publisher where the owner has none.
std::optional<assignment> owner_table::findable(const stream& s, moment at) const {
  const origin* o = s.owner ? origins_.find_living(s.owner->origin_id) : nullptr;
  if (o != nullptr && !is_unused(s, at)) return assignment_to(*o, s.owner);
  // Of what is published here the claim decides that is under way, or about to come.
  if (o == nullptr && (s.publishers > 0 || s.failing > 0)) return std::nullopt;
  if (const holders::copy* held = held_elsewhere(s)) {
    owner_record record;
    record.epoch = held->epoch;
    return assignment_to(*origins_.find(held->origin_id), record);
  }
  if (o != nullptr) return assignment_to(*o, s.owner);
  return std::nullopt;
}

/// The published copy with the highest epoch at a living origin that is not the owner's.
const holders::copy* owner_table::held_elsewhere(const stream& s) const {
  const holders::copy* best = nullptr;
  for (const holders::copy& held : held_.of(*s.key)) {
    if (held.fenced_by != epoch{} || (s.owner && held.origin_id == s.owner->origin_id)) continue;
    if (!may_hold(held.origin_id)) continue;
    if (best == nullptr || held.epoch > best->epoch) best = &held;
  }
  return best;
}

/// From when on the owner has had time to get its publisher, and this process to hear of it: while it was stopped it
/// heard nothing.
base::time_point owner_table::arrived_by(const stream& s) const {
  return std::max(s.owner_since, origins_.awake_since()) + arrival_time;
}

/// The owner says what it holds, had time to get its publisher, and has none.
bool owner_table::is_unused(const stream& s, moment at) const {
  return !is_claimed_here(s) && arrived_by(s) <= at.now && held_.has_whole(s.owner->origin_id) &&
         !held_.holds(s.owner->origin_id, *s.key);
}

/// This proxy has somebody who publishes it or is about to.
bool owner_table::is_claimed_here(const stream& s) const {
  return s.publishers > 0 || s.failing > 0 || !s.pending.empty() || !s.claims.empty();
}

void owner_table::learn(stream& s, const std::optional<owner_record>& owner, std::string_view why, moment at) {
  if (!owner) {
    s.stored.reset();
    s.miss_until = ask_again_at(at);
    s.owner_until = base::time_point::min();
    // Else a renewal, the claim under way, or the publish that is about to start heals the store.
    if (s.publishers == 0 && s.failing == 0 && s.pending.empty()) {
      s.owner.reset();
      s.unstarted.reset();
    }
    return;
  }
  highest_seen_ = std::max(highest_seen_, owner->epoch.counter);
  s.owner_until = ask_again_at(at);
  s.miss_until = base::time_point::min();
  s.stored.reset();
  if (s.owner && owner->epoch < s.owner->epoch) {
    // The store has lost a write. The truth is with the origins, and with who publishes here.
    const bool is_held = origins_.find_living(s.owner->origin_id) != nullptr && held_.holds(s.owner->origin_id, *s.key);
    if (is_held || s.publishers > 0 || s.failing > 0 || (s.unwritten && !s.pending.empty())) {
      s.stored = owner->epoch;
      return;
    }
  }
  const std::optional<owner_record> before = std::exchange(s.owner, owner);
  s.unwritten = false;
  if (owner->epoch == s.abandoned) s.abandoned = {};
  // By epoch, but for owners that another program chose: those have none.
  if (before && before->epoch == owner->epoch && before->origin_id == owner->origin_id) return;
  if (before) {
    stop_publishing(s);
    s.unstarted.reset();
  }
  owner_learned(s, before, why, at);
}

/// The stream has another owner, or the same one by a new claim.
void owner_table::owner_learned(stream& s, const std::optional<owner_record>& before, std::string_view why, moment at) {
  s.owner_since = at.now;
  s.recheck_at = arrived_by(s);
  if (before) {
    out_.push_back(action::log{base::log_level::info,
                               "owner_changed",
                               {{"stream", s.name},
                                {"origin", s.owner->origin_id},
                                {"previous", before->origin_id},
                                {"epoch", text_of(s.owner->epoch)},
                                {"reason", why}}});
  }
  // A stream that was forgotten in between has the owner it had.
  if (before || !past_.ends_with(*s.key, s.owner->epoch))
    remember(s, at, "owner", s.owner->origin_id, s.owner->epoch, why);
  if (s.publishers > 0 || s.failing > 0) held_.fence(*s.key, s.owner->origin_id, s.owner->epoch);
  if (const origin* o = origins_.find_living(s.owner->origin_id)) announce(s, assignment_to(*o, s.owner));
}

/// Tells those who were told something else.
void owner_table::announce(stream& s, const assignment& to) {
  if (!s.told || (s.told->origin_id == to.origin_id && s.told->epoch == to.epoch)) return;
  s.told = to;
  out_.push_back(action::owner_changed{*s.key, to});
}

/// By now the owner should have its publisher. If it has none, but somebody else has, players are to go there.
void owner_table::recheck(stream& s, moment at) {
  const base::time_point due = arrived_by(s);
  s.recheck_at = due > at.now ? due : base::never;
  if (due > at.now) return;
  if (!s.told) return;
  if (const auto better = findable(s, at)) announce(s, *better);
}

/// A find is answered with it; who was answered otherwise before hears of it, too. Not of a guess; but whoever is sent
/// after one hears of the owner, be it the one that others were told before.
void owner_table::tell(stream& s, const assignment& to, moment at) {
  if (to.owned) announce(s, to);
  s.told = to;
  s.told_until = at.now + config_.stream_ttl;
}

void owner_table::watched(const stream_key& key, moment at) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || !found->second.told) return;
  found->second.told_until = std::max(found->second.told_until, at.now + config_.stream_ttl);
  settle(found->second, at);
}

registration_reply owner_table::heartbeat(const std::string& origin_id, const held_list& told, moment at) {
  for (const held_stream& held : told.streams) highest_seen_ = std::max(highest_seen_, held.epoch.counter);
  const holders::news news = held_.update(origin_id, told);
  for (const stream_key& key : news.held) copy_found(key, origin_id, at);
  for (const stream_key& key : news.ended) copy_ended(key, at);
  if (told.whole && at.now < cold_until_) origins_confirmed(at);
  registration_reply reply;
  reply.fenced = held_.fenced(origin_id);
  for (const held_stream& held : told.streams) {
    if (held.published || held.epoch == epoch{}) continue;
    if (const auto key = parse_key(held.name)) {
      if (const epoch higher = elsewhere(*key, origin_id); higher > held.epoch) {
        reply.fenced.emplace_back(held.name, higher);
      }
    }
  }
  reply.want_whole = !held_.has_whole(origin_id);
  return reply;
}

/// The highest epoch with which the stream is published at another origin, as far as this proxy knows; else zero.
epoch owner_table::elsewhere(const stream_key& key, const std::string& origin_id) const {
  epoch highest;
  for (const holders::copy& held : held_.of(key)) {
    if (held.origin_id != origin_id && may_hold(held.origin_id)) highest = std::max(highest, held.epoch);
  }
  const auto found = streams_.find(key);
  if (found == streams_.end()) return highest;
  const stream& s = found->second;
  const bool is_here = s.owner && (s.publishers > 0 || s.failing > 0) && s.owner->origin_id != origin_id;
  return is_here ? std::max(highest, s.owner->epoch) : highest;
}

/// An origin is new here, or was taken for dead and lives: who watches what it owns is told now, and what it has told
/// meanwhile counts from now on.
void owner_table::origin_returned(const std::string& origin_id, moment at) {
  if (const origin* o = origins_.find_living(origin_id)) {
    for (auto& [key, s] : streams_) {
      if (s.told && s.owner && s.owner->origin_id == origin_id && !is_unused(s, at))
        announce(s, assignment_to(*o, s.owner));
    }
  }
  for (const stream_key& key : held_.keys(origin_id)) copy_found(key, origin_id, at);
}

/// The origin says that it has a publisher for the stream.
void owner_table::copy_found(const stream_key& key, const std::string& origin_id, moment at) {
  // Of several copies the one with the highest epoch stays, of those that somebody can reach.
  epoch here;
  const auto found = streams_.find(key);
  const std::vector<holders::copy> copies = held_.of(key);
  for (const holders::copy& held : copies) {
    if (held.origin_id == origin_id) here = held.epoch;
    if (held.epoch == epoch{} || !may_hold(held.origin_id)) continue;
    if (found != streams_.end() && is_uncommitted(found->second, held.epoch)) continue;
    held_.fence(key, held.origin_id, held.epoch);
  }
  if (found == streams_.end()) return;
  stream& s = found->second;
  if (s.owner && (s.publishers > 0 || s.failing > 0)) held_.fence(key, s.owner->origin_id, s.owner->epoch);
  if (!may_hold(origin_id)) return;
  if (here != epoch{} && !is_uncommitted(s, here) && (!s.owner || here > s.owner->epoch)) {
    owner_record record;
    record.origin_id = origin_id;
    record.epoch = here;
    record.started_ms = s.owner ? s.owner->started_ms : at.wall_ms;
    learn(s, record, "held", at);
  } else if (s.told) {
    if (const auto better = findable(s, at)) announce(s, *better);
  }
  advance(s, at);
}

/// An origin has no publisher for the stream any more. Those who watch it there wait for the next one, who may come
/// anywhere, or is there already.
void owner_table::copy_ended(const stream_key& key, moment at) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || !found->second.told) return;
  stream& s = found->second;
  s.told_until = std::max(s.told_until, at.now + config_.stream_ttl);
  if (const auto better = findable(s, at)) announce(s, *better);
  settle(s, at);
}

/// Whether what it says to hold counts.
bool owner_table::may_hold(const std::string& origin_id) const {
  const origin* o = origins_.find_living(origin_id);
  return o != nullptr && o->disputes.empty();
}

}  // namespace sluice::cluster
