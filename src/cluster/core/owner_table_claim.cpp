// The part of owner_table that serves publishers: who gets the owner there is, who gets a new one, and who waits.

#include <algorithm>
#include <utility>

#include "cluster/core/owner_table.hpp"
#include "cluster/core/transport.hpp"

namespace sluice::cluster {
namespace {

/// Two proxies that replace each other's claims this often see different origins alive.
constexpr unsigned claim_tries_max = 8;
/// Who waits for another session of his stream to go first looks again so often.
constexpr base::duration other_first_interval = std::chrono::milliseconds(100);

bool contains(const std::vector<std::string>& ids, const std::string& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

std::string_view name_of(transport by) {
  switch (by) {
    case transport::rtmp:
      break;
    case transport::srt:
      return "SRT";
    case transport::rtc:
      return "WebRTC";
  }
  return "RTMP";
}

}  // namespace

bool serves(const origin_registration& origin, transport by) {
  switch (by) {
    case transport::rtmp:
      break;
    case transport::srt:
      return !origin.srt.empty();
    case transport::rtc:
      return !origin.api.empty() && (!origin.sluice || !origin.rtc_udp.empty());
  }
  return true;  // every origin has an RTMP endpoint
}

/// An origin that has answered since it failed is no longer excluded.
void owner_table::drop_proven(std::vector<std::string>& exclude) const {
  std::erase_if(exclude, [&](const std::string& id) { return origins_.proven_since_failure(id); });
}

/// Whether this claim is to be answered with the owner there is: yes while its origin lives, except for one that the
/// claimant could not reach, if that moves nobody else's publish, for one that is drained and not in use, while there
/// are others, and for one that does not serve the claimant's transport, and where nobody publishes the stream.
bool owner_table::may_keep(const stream& s, const request& r, moment at) const {
  const origin* o = s.owner ? origins_.find_living(s.owner->origin_id) : nullptr;
  if (o == nullptr) return false;
  // The origin has seen a higher one: nobody can publish with this one any more. (Unless what was seen is the very
  // publish that it has.)
  const bool is_seen_here = s.owner->epoch == r.refused && held_.holds(o->id, *s.key, r.refused);
  if (r.refused != epoch{} && s.owner->epoch <= r.refused && !is_seen_here) return false;
  if (!serves(o->reg, r.by)) return is_in_use(s, *o);
  if (contains(r.exclude, o->id)) return s.publishers > 0 && s.session != r.session;
  if (s.publishers > 0 || !origins_.is_draining(o->reg.server) || held_.holds(o->id, *s.key)) return true;
  return origins_.candidates(at.now, {.drained = false, .by = r.by}).empty();
}

/// Somebody publishes it at this origin, its owner, or was told to.
bool owner_table::is_in_use(const stream& s, const origin& o) const {
  // What another program wrote does not tell.
  const bool may_be = s.owner->published || s.owner->proxy_id.empty();
  return s.publishers > 0 || s.failing > 0 || !s.pending.empty() || may_be || held_.holds(o.id, *s.key);
}

/// The owner lives, but the claimant cannot come to it.
bool owner_table::is_unfit(const stream& s, const request& r) const {
  const origin* o = s.owner ? origins_.find_living(s.owner->origin_id) : nullptr;
  return o != nullptr && !serves(o->reg, r.by);
}

/// The owner is unfit for this claimant, but may be about to get its publisher: he, or the word of him, is on the way.
bool owner_table::is_arriving(const stream& s, const request& r, moment at) const {
  return is_unfit(s, r) && at.now < std::min(arrived_by(s), r.patient_until);
}

/// The origin where the stream is published, to which this claimant cannot come: he is a second publisher. Null: there
/// is none. `keep`: may_keep().
const origin* owner_table::out_of_reach(const stream& s, const request& r, bool keep) const {
  const origin* o = nullptr;
  if (keep) {
    o = origins_.find_living(s.owner->origin_id);
  } else if (const holders::copy* held = held_elsewhere(s); held != nullptr && !contains(r.exclude, held->origin_id)) {
    o = origins_.find_living(held->origin_id);
  }
  return o == nullptr || serves(o->reg, r.by) ? nullptr : o;
}

/// The stream has just moved, and whether the origin where it was published then is lost is not sure. (Where a record
/// says that it is meanwhile does not matter: if that lived, it would be kept.)
bool owner_table::is_braked(const stream& s, const request& r, moment at) const {
  if (may_renew_epoch(s, r)) return false;
  if (!r.fail_over && s.failing == 0) return false;
  if (s.moved_at + config_.move_interval <= at.now) return false;
  const origin* o = origins_.find(s.published_on);
  return o != nullptr && (o->is_living() || o->lost_by == loss_reason::silent);
}

/// Another session publishes the stream, and its owner is lost: it goes first, or both would race to the next origin.
bool owner_table::waits_for_another(const stream& s, const request& r) {
  return !r.fail_over && s.session != r.session && (s.failing > 0 || (s.publishers > 0 && s.lost));
}

/// The store may have forgotten everything with this process, and an origin that has streams has not told which.
bool owner_table::is_cold(const stream& s, const request& r, moment at) const {
  if (at.now >= std::min(cold_until_, r.patient_until) || s.owner) return false;
  const auto& all = origins_.all();
  return std::any_of(all.begin(), all.end(), [&](const auto& other) {
    const origin& o = other.second;
    return o.is_living() && o.reg.sluice && o.reg.sluice->load.streams > 0 && !held_.has_whole(o.id);
  });
}

/// The record names an origin that this proxy has never heard of: it, or this proxy, may have just started.
bool owner_table::is_unheard(const stream& s, const request& r, moment at) const {
  return at.now < r.patient_until && s.owner && origins_.is_unheard(s.owner->origin_id);
}

/// The claimant could not reach the owner, but so many are silent that the fault is taken for ours: nobody leaves an
/// owner that may have the stream. (One that was claimed here and never published with has nothing to lose.)
bool owner_table::is_excused(const stream& s, const request& r, moment at) const {
  return s.owner && !s.unstarted && contains(r.exclude, s.owner->origin_id) &&
         origins_.is_excused(s.owner->origin_id, at.now);
}

/// The owner lives, and only its epoch is over.
bool owner_table::may_renew_epoch(const stream& s, const request& r) const {
  if (r.refused == epoch{} || !s.owner || s.owner->epoch > r.refused) return false;
  const origin* o = origins_.find_living(s.owner->origin_id);
  return o != nullptr && !contains(r.exclude, o->id) && !origins_.is_draining(o->reg.server);
}

/// The origin for a new owner, if the claim need not wait: the one that has a publisher for the stream, who may be this
/// one's ghost, or the one that placement picks.
std::optional<std::string> owner_table::place(const stream& s, const request& r, moment at) const {
  if (is_cold(s, r, at) || is_unheard(s, r, at) || is_braked(s, r, at) || is_excused(s, r, at) || is_arriving(s, r, at))
    return std::nullopt;
  // The store need not know what the origin itself has told.
  if (may_keep(s, r, at) && held_.holds(s.owner->origin_id, *s.key)) return s.owner->origin_id;
  if (may_renew_epoch(s, r)) return s.owner->origin_id;
  if (!r.fail_over) {
    const holders::copy* held = held_elsewhere(s);
    if (held != nullptr && !contains(r.exclude, held->origin_id)) return held->origin_id;
  }
  // Beyond its time a claim that was tried in vain may still go where an origin is known to live, but waits no more.
  const auto candidates = origins_.candidates(at.now, {.only_alive = r.deadline <= at.now, .by = r.by});
  const auto picked = pick_origin(s.name, candidates, r.exclude, {.use_load = reachable_ && !r.here});
  if (!picked) return std::nullopt;
  return std::string(candidates[*picked].origin_id);
}

epoch owner_table::next_epoch(const stream& s, moment at) {
  highest_seen_ = next_epoch_counter(s.owner ? s.owner->epoch.counter : 0, highest_seen_, at.wall_ms);
  return {highest_seen_, random()};
}

/// Takes the first claim one step further: an answer, a step in the store, or the parking lot.
void owner_table::step_claim(stream& s, moment at) {
  const uint64_t request_id = s.claims.front();
  request& r = requests_.at(request_id);
  drop_proven(r.exclude);
  const bool keep = may_keep(s, r, at);
  const bool decided_here = !reachable_ || r.here || (keep && s.unwritten);
  const origin* const elsewhere = out_of_reach(s, r, keep);
  const bool is_known_here = s.publishers > 0 || s.failing > 0 || !s.pending.empty();
  if (elsewhere != nullptr && (!keep || is_known_here || decided_here)) {
    s.claims.pop_front();
    return refuse_second(s, request_id, *elsewhere);
  }
  if (keep && s.publishers > 0) {
    // Published through this proxy: the store cannot know better, even if it has just lost everything.
    s.claims.pop_front();
    answer(request_id, assignment_to(*origins_.find_living(s.owner->origin_id), s.owner));
    return;
  }
  if (waits_for_another(s, r)) return park(s, request_id, at);
  if (++r.tries > claim_tries_max) {
    s.claims.pop_front();
    answer(request_id, base::fail("store_conflict", "proxies disagree on the owner of " + s.name));
    return;
  }
  s.op_claim = request_id;
  s.proposed.reset();
  if (s.publishers == 0 && s.pending.empty()) uncount(s);  // from the last try
  // What was decided here and is not written yet is known better here, too.
  if (decided_here) return claim_here(s, at);
  store_request ask;
  ask.key = *s.key;
  r.asks_only = is_unfit(s, r) && r.told != s.owner->epoch;
  auto origin_id = r.asks_only ? std::nullopt : place(s, r, at);
  if (origin_id) {
    owner_record record;
    record.origin_id = std::move(*origin_id);
    record.epoch = next_epoch(s, at);
    record.proxy_id = config_.proxy_id;
    record.started_ms = s.owner ? s.owner->started_ms : at.wall_ms;
    ask.what = store_request::kind::claim;
    if (s.owner && !keep) ask.replaces = s.stored.value_or(s.owner->epoch);
    ask.ttl = config_.stream_ttl;
    s.proposed = record.epoch;
    // Counted from now, not from the grant: those who wait for room together must not all take the same place.
    if (s.publishers == 0) place_on(s, record.origin_id, at);
    ask.record = std::move(record);
  } else {
    ask.what = store_request::kind::find;  // nobody may take a new stream, but this one may have an owner that lives
  }
  s.op = submit(std::move(ask), {});
  s.op_overtaken = false;
  s.op_confirmation = confirmations_;
}

/// Without the store: the owner known here while it lives, else one by the rules of place(), which then ignore the load
/// so that proxies that cannot talk choose alike. It is written by the renewals of the publish.
void owner_table::claim_here(stream& s, moment at) {
  const request& r = requests_.at(*s.op_claim);
  const bool keep = may_keep(s, r, at);
  if (!keep || s.owner->epoch == epoch{}) {  // what another program has chosen has no epoch yet
    const auto origin_id = keep ? std::optional(s.owner->origin_id) : place(s, r, at);
    if (!origin_id) {
      park(s, *s.op_claim, at);
      if (reachable_ && !s.parked.empty()) s.unpark_at = std::min(s.unpark_at, ask_again_at(at));
      return;
    }
    owner_record record;
    record.origin_id = *origin_id;
    record.epoch = next_epoch(s, at);
    record.proxy_id = config_.proxy_id;
    record.started_ms = s.owner ? s.owner->started_ms : at.wall_ms;
    const std::optional<epoch> stored = s.stored || !s.owner || s.unwritten ? s.stored : s.owner->epoch;
    const std::string_view why = reason_of(s, r);
    learn(s, record, why, at);
    s.stored = stored;
    s.unwritten = true;
    s.unstarted = record.epoch;
    ++decided_here_;
  }
  grant(s, r, *origins_.find_living(s.owner->origin_id), at);
}

/// Why this claim changes the owner, for the log and the history.
std::string_view owner_table::reason_of(const stream& s, const request& r) const {
  if (!s.owner) return "placed";
  const origin* o = origins_.find(s.owner->origin_id);
  if (o == nullptr || (!o->is_living() && o->lost_by == loss_reason::gone)) return "gone";
  if (!o->is_living()) return "silent";
  if (contains(r.exclude, o->id)) return "unreachable";
  if (!serves(o->reg, r.by)) return "transport";
  if (r.refused != epoch{}) return "stale_epoch";
  return origins_.is_draining(o->reg.server) ? "drained" : "replaced";
}

void owner_table::step_done(stream& s, store_reply& reply, moment at) {
  const bool for_claim = !s.claims.empty() && s.claims.front() == s.op_claim;
  if (!reply.owner) return step_failed(s, std::move(reply.owner.error()), for_claim, at);
  const std::optional<owner_record>& owner = *reply.owner;
  // What was announced meanwhile is above what the store held when it was asked: a claim asks again, a find knows.
  if (s.op_overtaken && s.owner && (!owner || owner->epoch < s.owner->epoch)) return;
  const bool is_ours = s.proposed && owner && owner->epoch == *s.proposed;
  const bool is_first = !s.owner;
  // For a claimant who has left, too: what it wrote is for the next in turn, or undone.
  const std::string_view why = !is_ours ? "store" : for_claim ? reason_of(s, requests_.at(*s.op_claim)) : "placed";
  // What it has done without an answer for one who has left since is the next one's to undo.
  const bool is_left = owner && s.abandoned != epoch{} && owner->epoch == s.abandoned &&
                       owner->proxy_id == config_.proxy_id && !owner->published;
  learn(s, owner, why, at);
  if (is_ours || is_left) s.unstarted = owner->epoch;
  if (!for_claim) return;
  request& r = requests_.at(*s.op_claim);
  r.told = s.owner ? std::optional(s.owner->epoch) : std::nullopt;
  const bool asked_only = std::exchange(r.asks_only, false);
  if (s.owner && may_keep(s, r, at)) {
    if (is_ours && is_first) {
      out_.push_back(action::log{base::log_level::info,
                                 "stream_placed",
                                 {{"stream", s.name}, {"origin", s.owner->origin_id}, {"session", r.session}}});
    }
    grant(s, r, *origins_.find_living(s.owner->origin_id), at);
  } else if (asked_only) {
    // Now it is known whether it is to be replaced.
  } else if (!s.proposed && s.op_confirmation == confirmations_) {
    park(s, *s.op_claim, at);
  } else if (!s.proposed) {
    requests_.at(*s.op_claim).tries = 0;  // an origin has come while the store was asked: it is tried at once
  }
  // Else the record is a dead owner's: the next step names it as the one to replace.
}

/// Nobody is refused for want of a store: without an answer the claim is decided here. A live stream does not end if
/// the store is full, either: its claim is tried again.
void owner_table::step_failed(stream& s, base::error why, bool for_claim, moment at) {
  s.miss_until = ask_again_at(at);
  const bool may_be_done = why.reason == "store_unavailable";
  if (may_be_done && s.proposed) s.abandoned = *s.proposed;  // also for a claimant who has left
  if (!for_claim) return;
  const uint64_t request_id = *s.op_claim;
  request& r = requests_.at(request_id);
  if (may_be_done) {
    r.here = true;
    return;
  }
  if (r.fail_over && r.deadline > at.now) {
    park(s, request_id, at);
    s.unpark_at = std::min(s.unpark_at, s.miss_until);
    return;
  }
  s.claims.pop_front();
  answer(request_id, tl::unexpected(std::move(why)));
}

void owner_table::grant(stream& s, const request& r, const origin& o, moment at) {
  const uint64_t request_id = *s.op_claim;
  if (!serves(o.reg, r.by)) {
    s.claims.pop_front();
    return refuse_second(s, request_id, o);
  }
  place_on(s, o.id, at);
  s.session = r.session;
  s.by = r.by;
  s.claims.pop_front();
  if (s.publishers == 0) add_pending(s, r, request_id, at);
  answer(request_id, assignment_to(o, s.owner));
}

void owner_table::refuse_second(const stream& s, uint64_t request_id, const origin& at_origin) {
  const std::string_view by = name_of(requests_.at(request_id).by);
  answer(request_id, base::fail("already_published", s.name + " is published at the origin server " + at_origin.id +
                                                         ", which serves no " + std::string(by)));
}

void owner_table::park(stream& s, uint64_t request_id, moment at) {
  request& r = requests_.at(request_id);
  s.claims.pop_front();
  if (r.deadline <= at.now) {
    answer(request_id, tl::unexpected(unserved(r, at)));
    return;
  }
  s.parked.emplace(r.deadline, request_id);
  if (waits_for_another(s, r)) s.unpark_at = std::min(s.unpark_at, at.now + other_first_interval);
  if (is_cold(s, r, at)) s.unpark_at = std::min({s.unpark_at, cold_until_, r.patient_until});
  if (is_unheard(s, r, at)) s.unpark_at = std::min(s.unpark_at, r.patient_until);
  if (is_arriving(s, r, at)) s.unpark_at = std::min({s.unpark_at, arrived_by(s), r.patient_until});
  if (is_braked(s, r, at)) s.unpark_at = std::min(s.unpark_at, s.moved_at + config_.move_interval);
}

/// The parked claims are tried again.
void owner_table::unpark(stream& s) {
  s.unpark_at = base::never;
  for (const auto& [deadline, request_id] : std::exchange(s.parked, {})) {
    request& r = requests_.at(request_id);
    r.tries = 0;
    r.here = false;
    r.told.reset();
    drop_proven(r.exclude);
    s.claims.push_back(request_id);
  }
}

base::error owner_table::unserved(const request& r, moment at) const {
  const auto candidates = origins_.candidates(at.now, {.by = r.by});
  const bool all_full =
      !candidates.empty() && std::all_of(candidates.begin(), candidates.end(),
                                         [](const candidate& c) { return c.capacity != 0 && c.streams >= c.capacity; });
  const std::string that = r.by == transport::rtmp ? "" : " that serves " + std::string(name_of(r.by));
  if (all_full) return {"origins_full", "every origin" + that + " has as many streams as it takes"};
  if (!r.exclude.empty()) return {"no_origin", "no other origin" + that + " is alive"};
  return {"no_origin", "no origin" + that + " is alive"};
}

}  // namespace sluice::cluster
