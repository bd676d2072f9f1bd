#include "cluster/core/owner_table.hpp"

#include <algorithm>
#include <utility>

namespace sluice::cluster {
namespace {

/// Two proxies that replace each other's claims this often see different origins alive.
constexpr unsigned claim_tries_max = 8;
/// One part in so many of each limit is for claims alone.
constexpr size_t kept_for_claims = 32;

assignment assignment_to(const origin& o, const std::optional<owner_record>& record) {
  assignment a;
  a.origin_id = o.id;
  a.server_id = o.reg.server;
  a.device_id = o.reg.device_id;
  a.rtmp = o.reg.rtmp;
  a.is_sluice = o.reg.sluice.has_value();
  a.owned = record.has_value();
  if (record) a.epoch = record->epoch;
  return a;
}

template <typename Map>
void erase_request(Map& by_deadline, base::time_point deadline, uint64_t request_id) {
  auto [at, end] = by_deadline.equal_range(deadline);
  while (at != end && at->second != request_id) ++at;
  if (at != end) by_deadline.erase(at);
}

}  // namespace

owner_table::owner_table(const coordinator_config& config, registry& origins, std::deque<coordinator_action>& out)
    : config_(config), origins_(origins), out_(out), random_state_(config.seed) {}

uint64_t owner_table::random() { return hash64({}, ++random_state_); }

owner_table::stream* owner_table::admit(uint64_t request_id, const stream_key& key, bool is_claim, moment at) {
  const auto limit = [&](size_t max) { return is_claim ? max : max - max / kept_for_claims; };
  std::string_view refusal;
  if (requests_.size() >= limit(config_.requests_max)) {
    refusal = "too_many_waiters";
  } else if (!streams_.contains(key)) {
    while (streams_.size() >= limit(config_.streams_max) && evict_one(at)) {
    }
    if (streams_.size() >= limit(config_.streams_max)) refusal = "too_many_streams";
  }
  if (!refusal.empty()) {
    base::result<assignment> outcome = base::fail(refusal, "this proxy handles as many as it may");
    if (is_claim) {
      out_.push_back(action::reply_claim{request_id, std::move(outcome)});
    } else {
      out_.push_back(action::reply_find{request_id, std::move(outcome)});
    }
    return nullptr;
  }
  stream& s = stream_of(key);
  request& r = requests_[request_id];
  r.of = &s;
  r.is_claim = is_claim;
  return &s;
}

owner_table::stream& owner_table::stream_of(const stream_key& key) {
  const auto [at, is_new] = streams_.try_emplace(key);
  if (is_new) {
    at->second.key = &at->first;
    at->second.name = key.str();
  }
  return at->second;
}

void owner_table::claim(uint64_t request_id, const stream_key& key, std::string session,
                        std::vector<std::string> exclude, moment at) {
  stream* s = admit(request_id, key, true, at);
  if (s == nullptr) return;
  request& r = requests_.at(request_id);
  const bool tried_before = !exclude.empty();
  r.session = std::move(session);
  r.exclude = std::move(exclude);
  drop_proven(r.exclude);
  const auto first_deadline = supersede(*s, r.session);
  r.deadline = tried_before && first_deadline ? *first_deadline : at.now + config_.claim_wait;
  s->claims.push_back(request_id);
  advance(*s, at);
}

/// An origin that has answered since it failed is no longer excluded.
void owner_table::drop_proven(std::vector<std::string>& exclude) const {
  std::erase_if(exclude, [&](const std::string& id) { return origins_.proven_since_failure(id); });
}

void owner_table::find(uint64_t request_id, const stream_key& key, base::time_point deadline, moment at) {
  stream* s = admit(request_id, key, false, at);
  if (s == nullptr) return;
  request& r = requests_.at(request_id);
  r.deadline = deadline == base::never ? at.now + config_.play_wait : deadline;
  s->finds.emplace(r.deadline, request_id);
  advance(*s, at);
}

void owner_table::cancel(uint64_t request_id, moment at) {
  if (const auto granted = granted_.find(request_id); granted != granted_.end()) {
    stream& s = *granted->second;
    for (size_t i = 0; i < s.pending.size(); ++i) {
      if (s.pending[i].request_id == request_id) remove_pending(s, i);
    }
    settle(s, at);
    return;
  }
  const auto found = requests_.find(request_id);
  if (found == requests_.end()) return;
  const request r = std::move(found->second);
  requests_.erase(found);
  stream& s = *r.of;
  if (r.is_claim) {
    std::erase(s.claims, request_id);
    erase_request(s.parked, r.deadline, request_id);
  } else {
    erase_request(s.finds, r.deadline, request_id);
  }
  settle(s, at);
}

/// Carries the stream as far as it goes without the store, then asks the store one thing.
void owner_table::advance(stream& s, moment at) {
  while (s.op == 0 && !s.claims.empty()) step_claim(s, at);
  if (s.op == 0 && !s.finds.empty()) step_find(s, at);
  settle(s, at);
}

/// Whether this claim is to be answered with the owner there is: yes while its origin lives, except for one that the
/// claimant could not reach, if that moves nobody else's publish.
bool owner_table::may_keep(const stream& s, const request& r) const {
  if (!s.owner || origins_.find_living(s.owner->origin_id) == nullptr) return false;
  const bool excluded = std::find(r.exclude.begin(), r.exclude.end(), s.owner->origin_id) != r.exclude.end();
  return !excluded || (s.publishers > 0 && s.session != r.session);
}

/// Takes the first claim one step further: an answer, a step in the store, or the parking lot.
void owner_table::step_claim(stream& s, moment at) {
  const uint64_t request_id = s.claims.front();
  request& r = requests_.at(request_id);
  const bool keep = may_keep(s, r);
  if (keep && s.publishers > 0) {
    // Published through this proxy: the store cannot know better, even if it has just lost everything.
    s.claims.pop_front();
    answer(request_id, assignment_to(*origins_.find_living(s.owner->origin_id), s.owner));
    return;
  }
  if (++r.tries > claim_tries_max) {
    s.claims.pop_front();
    answer(request_id, base::fail("store_conflict", "proxies disagree on the owner of " + s.name));
    return;
  }
  store_request ask;
  ask.key = *s.key;
  s.op_claim = request_id;
  s.proposed.reset();
  if (s.publishers == 0 && s.pending.empty()) uncount(s);  // from the last try
  // Beyond its time a claim that was tried in vain may still go where an origin is known to live, but waits no more.
  const auto candidates = origins_.candidates(at.now, r.deadline <= at.now);
  if (const auto picked = pick_origin(s.name, candidates, r.exclude)) {
    owner_record record;
    record.origin_id = candidates[*picked].origin_id;
    record.epoch.counter = next_epoch_counter(s.owner ? s.owner->epoch.counter : 0, highest_seen_, at.wall_ms);
    record.epoch.claim_id = random();
    record.proxy_id = config_.proxy_id;
    record.started_ms = s.owner ? s.owner->started_ms : at.wall_ms;
    highest_seen_ = record.epoch.counter;
    ask.what = store_request::kind::claim;
    if (s.owner && !keep) ask.replaces = s.owner->epoch;
    ask.ttl = config_.stream_ttl;
    s.proposed = record.epoch;
    // Counted from now, not from the grant: those who wait for room together must not all take the same place.
    if (s.publishers == 0) place_on(s, record.origin_id, at);
    ask.record = std::move(record);
  } else {
    ask.what = store_request::kind::find;  // nobody may take a new stream, but this one may have an owner that lives
  }
  s.op = submit(std::move(ask), op_kind::step);
}

void owner_table::step_find(stream& s, moment at) {
  const bool fresh = s.owner_until > at.now;
  if (s.owner && (fresh || s.publishers > 0)) {
    if (const origin* o = origins_.find_living(s.owner->origin_id)) {
      answer_finds(s, assignment_to(*o, s.owner));
      return;
    }
  }
  if (fresh) return;  // the owner is dead: its publisher's proxy will claim another
  if (s.miss_until > at.now) {
    if (config_.play_unowned != play_unowned::relay) return;
    const auto candidates = origins_.candidates(at.now);
    if (const auto picked = pick_origin(s.name, candidates, {}, {.use_load = false})) {
      answer_finds(s, assignment_to(*origins_.find(std::string(candidates[*picked].origin_id)), std::nullopt));
    }
    return;
  }
  store_request ask;
  ask.what = store_request::kind::find;
  ask.key = *s.key;
  s.op_claim.reset();
  s.proposed.reset();
  s.op = submit(std::move(ask), op_kind::step);
}

void owner_table::store_replied(store_reply reply, moment at) {
  const auto found = operations_.find(reply.op);
  if (found == operations_.end()) return;
  const operation op = std::move(found->second);
  operations_.erase(found);
  if (op.kind == op_kind::renew) {
    renewed(op.key, op.of, reply, at);
    return;
  }
  if (op.kind == op_kind::drop) return;
  stream& s = streams_.at(op.key);  // a step under way keeps its stream
  s.op = 0;
  step_done(s, reply, at);
  advance(s, at);
}

void owner_table::step_done(stream& s, store_reply& reply, moment at) {
  const bool for_claim = !s.claims.empty() && s.claims.front() == s.op_claim;
  if (!reply.owner) {
    out_.push_back(action::log{
        base::log_level::warn, "store_failed", {{"stream", s.name}, {"reason", reply.owner.error().reason}}});
    s.miss_until = ask_again_at(at);
    if (!for_claim) return;
    s.claims.pop_front();
    answer(*s.op_claim, tl::unexpected(std::move(reply.owner.error())));
    return;
  }
  learn(s, *reply.owner, at);
  if (s.proposed && s.owner && s.owner->epoch == *s.proposed) s.unstarted = s.proposed;
  if (!for_claim) return;  // also when the claimant has left: what it wrote is for the next in turn, or undone
  const request& r = requests_.at(*s.op_claim);
  if (s.owner && may_keep(s, r)) {
    grant(s, r, *origins_.find_living(s.owner->origin_id), at);
  } else if (!s.proposed) {
    park(s, *s.op_claim, at);
  }
  // Else the record is a dead owner's: the next step names it as the one to replace.
}

void owner_table::grant(stream& s, const request& r, const origin& o, moment at) {
  const uint64_t request_id = *s.op_claim;
  const bool placed_now = s.proposed && s.owner->epoch == *s.proposed;
  if (placed_now) {
    out_.push_back(action::log{
        base::log_level::info, "stream_placed", {{"stream", s.name}, {"origin", o.id}, {"session", r.session}}});
  }
  place_on(s, o.id, at);
  s.session = r.session;
  s.claims.pop_front();
  if (s.publishers == 0) add_pending(s, r, request_id, at);
  answer(request_id, assignment_to(o, s.owner));
}

void owner_table::park(stream& s, uint64_t request_id, moment at) {
  request& r = requests_.at(request_id);
  s.claims.pop_front();
  if (r.deadline <= at.now) {
    answer(request_id, tl::unexpected(unserved(r, at)));
  } else {
    s.parked.emplace(r.deadline, request_id);
  }
}

base::time_point owner_table::ask_again_at(moment at) const {
  return at.now + std::max<base::duration>(config_.miss_ttl, std::chrono::milliseconds(10));
}

void owner_table::learn(stream& s, const std::optional<owner_record>& owner, moment at) {
  if (!owner) {
    s.miss_until = ask_again_at(at);
    s.owner_until = base::time_point::min();
    if (s.publishers == 0) {  // else the next renewal heals the store
      s.owner.reset();
      s.unstarted.reset();
    }
    return;
  }
  highest_seen_ = std::max(highest_seen_, owner->epoch.counter);
  if (s.owner && s.owner->epoch != owner->epoch) {
    stop_publishing(s);
    s.unstarted.reset();
  }
  s.owner = owner;
  s.owner_until = ask_again_at(at);
  s.miss_until = base::time_point::min();
}

void owner_table::origins_confirmed(moment at) {
  const std::vector<stream*> waiting(waiting_.begin(), waiting_.end());
  for (stream* s : waiting) {
    for (const auto& [deadline, request_id] : std::exchange(s->parked, {})) {
      request& r = requests_.at(request_id);
      r.tries = 0;
      drop_proven(r.exclude);
      s->claims.push_back(request_id);
    }
    advance(*s, at);
  }
}

base::error owner_table::unserved(const request& r, moment at) const {
  const auto candidates = origins_.candidates(at.now);
  const bool all_full =
      !candidates.empty() && std::all_of(candidates.begin(), candidates.end(),
                                         [](const candidate& c) { return c.capacity != 0 && c.streams >= c.capacity; });
  if (all_full) return {"origins_full", "every origin has as many streams as it takes"};
  if (!r.exclude.empty()) return {"no_origin", "no other origin is alive"};
  return {"no_origin", "no origin is alive"};
}

void owner_table::expire_requests(stream& s, moment at) {
  while (!s.parked.empty() && s.parked.begin()->first <= at.now) {
    const uint64_t request_id = s.parked.begin()->second;
    s.parked.erase(s.parked.begin());
    answer(request_id, tl::unexpected(unserved(requests_.at(request_id), at)));
  }
  while (!s.finds.empty() && s.finds.begin()->first <= at.now) {
    const uint64_t request_id = s.finds.begin()->second;
    s.finds.erase(s.finds.begin());
    answer(request_id, base::fail("stream_not_found", "nobody publishes " + s.name));
  }
}

void owner_table::answer(uint64_t request_id, base::result<assignment> outcome) {
  const auto found = requests_.find(request_id);
  const bool is_claim = found->second.is_claim;
  requests_.erase(found);
  if (is_claim) {
    out_.push_back(action::reply_claim{request_id, std::move(outcome)});
  } else {
    out_.push_back(action::reply_find{request_id, std::move(outcome)});
  }
}

void owner_table::answer_finds(stream& s, const base::result<assignment>& outcome) {
  for (const auto& [deadline, request_id] : std::exchange(s.finds, {})) answer(request_id, outcome);
}

uint64_t owner_table::submit(store_request request, op_kind kind) {
  request.op = ++last_op_;
  operation op{request.key, kind, {}};
  if (kind == op_kind::renew) op.of = request.record->epoch;
  operations_.emplace(request.op, std::move(op));
  out_.push_back(action::store{std::move(request)});
  return last_op_;
}

base::time_point owner_table::deadline_of(const stream& s) const {
  base::time_point next = s.renew_at;
  if (!s.parked.empty()) next = std::min(next, s.parked.begin()->first);
  if (!s.finds.empty()) next = std::min(next, s.finds.begin()->first);
  if (!s.pending.empty()) next = std::min(next, s.pending.front().until);
  const bool asks_again = s.op == 0 && !s.finds.empty();
  // What the store said is kept for its own time only if nothing else keeps the stream.
  if (asks_again || s.idle == idleness::remembered) next = std::min(next, std::max(s.owner_until, s.miss_until));
  return next;
}

void owner_table::settle(stream& s, moment at) {
  undo_unstarted(s);
  if (s.op == 0 && s.publishers == 0 && s.claims.empty() && s.pending.empty()) uncount(s);
  const bool is_busy = s.op != 0 || s.publishers > 0 || !s.claims.empty() || !s.parked.empty() || !s.finds.empty();
  file_idle(s, is_busy ? idleness::busy : s.pending.empty() ? idleness::remembered : idleness::unstarted);
  const bool is_needed = s.idle != idleness::remembered || std::max(s.owner_until, s.miss_until) > at.now;
  if (s.parked.empty() && s.finds.empty()) {
    waiting_.erase(&s);
  } else {
    waiting_.insert(&s);
  }
  const base::time_point next = is_needed ? deadline_of(s) : base::never;
  if (next != s.timer) {
    if (s.timer != base::never) timers_.erase({s.timer, &s});
    if (next != base::never) timers_.emplace(next, &s);
    s.timer = next;
  }
  if (is_needed) return;
  file_idle(s, idleness::busy);
  streams_.erase(streams_.find(*s.key));
}

void owner_table::on_timeout(moment at) {
  std::vector<stream*> due;
  for (const auto& [when, s] : timers_) {
    if (when > at.now) break;
    due.push_back(s);
  }
  for (stream* s : due) {  // handling one never removes another
    expire_pending(*s, at);
    if (s->renew_at <= at.now) {
      submit_renewal(*s);
      s->renew_at = at.now + config_.stream_ttl / 4 + config_.stream_ttl / 12 * (random() % 1024) / 1024;
    }
    expire_requests(*s, at);
    advance(*s, at);
  }
}

}  // namespace sluice::cluster
