#include "cluster/core/owner_table.hpp"

#include <algorithm>
#include <utility>

namespace sluice::cluster {
namespace {

/// One part in so many of each limit is for claims alone.
constexpr size_t kept_for_claims = 32;

template <typename Map>
void erase_request(Map& by_deadline, base::time_point deadline, uint64_t request_id) {
  auto [at, end] = by_deadline.equal_range(deadline);
  while (at != end && at->second != request_id) ++at;
  if (at != end) by_deadline.erase(at);
}

}  // namespace

owner_table::owner_table(const coordinator_config& config, registry& origins, history& past,
                         std::deque<coordinator_action>& out, base::time_point now)
    : config_(config),
      origins_(origins),
      past_(past),
      out_(out),
      held_(2 * config.streams_max),
      random_state_(config.seed),
      cold_until_(now + cold_time) {}

assignment owner_table::assignment_to(const origin& o, const std::optional<owner_record>& record) const {
  assignment a;
  a.origin_id = o.id;
  a.server_id = o.reg.server;
  a.device_id = o.reg.device_id;
  a.rtmp = o.reg.rtmp;
  a.http = o.reg.http;
  a.srt = o.reg.srt;
  a.rtc_udp = o.reg.rtc_udp;
  a.rtc_tcp = o.reg.rtc_tcp;
  a.api = o.reg.api;
  a.is_sluice = o.reg.sluice.has_value();
  a.owned = record.has_value();
  if (record) a.epoch = record->epoch;
  return a;
}

void owner_table::remember(const stream& s, moment at, std::string_view what, std::string_view origin_id,
                           const epoch& e, std::string_view reason) {
  past_.add(*s.key, {at.wall_ms, std::string(what), std::string(origin_id), e, std::string(reason)});
}

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
    at->second.serial = ++last_serial_;
  }
  return at->second;
}

void owner_table::claim(uint64_t request_id, const stream_key& key, claim_request wanted, moment at) {
  stream* s = admit(request_id, key, true, at);
  if (s == nullptr) return;
  request& r = requests_.at(request_id);
  const bool tried_before = !wanted.exclude.empty();
  r.session = std::move(wanted.session);
  r.exclude = std::move(wanted.exclude);
  r.fail_over = wanted.fail_over;
  r.refused = wanted.refused;
  r.by = wanted.by;
  highest_seen_ = std::max(highest_seen_, r.refused.counter);
  r.patient_until = at.now + config_.claim_wait / 2;
  if (r.fail_over) ++s->failing;
  drop_proven(r.exclude);
  const auto first_deadline = supersede(*s, r.session);
  r.deadline = wanted.deadline != base::never   ? wanted.deadline
               : tried_before && first_deadline ? *first_deadline
                                                : at.now + config_.claim_wait;
  s->claims.push_back(request_id);
  advance(*s, at);
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
  if (r.fail_over) --s.failing;
  if (r.is_claim) {
    std::erase(s.claims, request_id);
    erase_request(s.parked, r.deadline, request_id);
  } else {
    erase_request(s.finds, r.deadline, request_id);
  }
  settle(s, at);
}

void owner_table::claim_refused(uint64_t request_id, moment at) {
  const auto granted = granted_.find(request_id);
  if (granted == granted_.end()) return;
  stream& s = *granted->second;
  if (s.owner && !s.unwritten) {
    s.spared = s.owner->epoch;
    s.spared_until = at.now + config_.unstarted_ttl;
  }
  for (size_t i = 0; i < s.pending.size(); ++i) {
    if (s.pending[i].request_id == request_id) remove_pending(s, i);
  }
  settle(s, at);
}

/// Carries the stream as far as it goes without the store, then asks the store one thing.
void owner_table::advance(stream& s, moment at) {
  while (s.op == 0 && !s.claims.empty()) step_claim(s, at);
  if (s.op == 0 && !s.finds.empty()) step_find(s, at);
  settle(s, at);
}

void owner_table::store_replied(store_reply reply, moment at) {
  const auto found = operations_.find(reply.op);
  if (found == operations_.end()) return;
  const operation op = std::move(found->second);
  operations_.erase(found);
  if (reply.owner) {
    store_worked(at);
  } else {
    store_failed(reply.owner.error(), at);
  }
  if (op.kind == op_kind::renew) {
    renewed(op.key, op.of, reply, at);
    return;
  }
  if (op.kind == op_kind::move) return move_replied(op, reply, at);
  if (op.kind == op_kind::reassert) return reasserted(op, reply, at);
  if (op.kind == op_kind::drop) return taken_back(op, reply, at);
  stream& s = streams_.at(op.key);  // a step under way keeps its stream
  s.op = 0;
  step_done(s, reply, at);
  advance(s, at);
}

base::time_point owner_table::ask_again_at(moment at) const {
  return at.now + std::max<base::duration>(config_.miss_ttl, std::chrono::milliseconds(10));
}

void owner_table::origins_confirmed(moment at) {
  ++confirmations_;
  const std::vector<std::pair<uint64_t, stream*>> waiting(waiting_.begin(), waiting_.end());
  for (const auto& [serial, s] : waiting) {
    unpark(*s);
    advance(*s, at);
  }
  drains_.unblock();
  begin_moves(at);
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
  // What is granted stays a claim of fail_over while it is pending (add_pending).
  if (found->second.fail_over) --found->second.of->failing;
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

uint64_t owner_table::submit(store_request request, operation op) {
  request.op = ++last_op_;
  op.key = request.key;
  operations_.emplace(request.op, std::move(op));
  out_.push_back(action::store{std::move(request)});
  return last_op_;
}

/// Until when a stream that nobody needs is remembered.
base::time_point owner_table::kept_until(const stream& s) const {
  return std::max({s.owner_until, s.miss_until, s.told_until, s.spared_until, s.take_back_until});
}

base::time_point owner_table::deadline_of(const stream& s) const {
  base::time_point next = std::min(s.renew_at, s.reread_at);
  if (!s.parked.empty()) next = std::min({next, s.parked.begin()->first, s.unpark_at});
  if (!s.finds.empty()) next = std::min(next, s.finds.begin()->first);
  if (!s.pending.empty()) next = std::min(next, s.pending.front().until);
  if (s.moving) next = std::min(next, s.moving->until);
  if (s.committing) next = std::min(next, s.committing->retry_at);
  next = std::min({next, s.move_at, s.recheck_at});
  if (s.op == 0 && !is_claimed_here(s)) {
    if (s.unstarted && *s.unstarted == s.spared) next = std::min(next, s.spared_until);
    if (s.abandoned != epoch{}) next = std::min(next, s.take_back_at);
  }
  if (s.op == 0 && !s.finds.empty() && reachable_) next = std::min(next, std::max(s.owner_until, s.miss_until));
  // What the store said is kept for its own time only if nothing else keeps the stream.
  if (s.idle == idleness::remembered) next = std::min(next, kept_until(s));
  return next;
}

void owner_table::count_published(stream& s) {
  const bool is_published = s.publishers > 0 || s.failing > 0;
  const bool is_degraded = s.publishers > 0 ? s.lost : s.failing > 0;
  publishing_ = publishing_ + (is_published ? 1 : 0) - (s.is_published ? 1 : 0);
  degraded_ = degraded_ + (is_degraded ? 1 : 0) - (s.is_degraded ? 1 : 0);
  s.is_published = is_published;
  s.is_degraded = is_degraded;
}

void owner_table::settle(stream& s, moment at) {
  undo_unstarted(s, at);
  take_back(s, at);
  count_published(s);
  if (s.op == 0 && s.publishers == 0 && s.claims.empty() && s.pending.empty()) uncount(s);
  const bool is_busy = s.op != 0 || s.publishers > 0 || !s.claims.empty() || !s.parked.empty() || !s.finds.empty();
  file_idle(s, is_busy ? idleness::busy : s.pending.empty() ? idleness::remembered : idleness::unstarted);
  // What players watch is remembered as long as an origin says that it is there.
  if (s.idle == idleness::remembered && s.told && s.told_until <= at.now && s.told_until != base::time_point::min() &&
      !held_.of(*s.key).empty()) {
    s.told_until = at.now + config_.stream_ttl;
  }
  const bool is_needed = s.idle != idleness::remembered || kept_until(s) > at.now;
  if (s.parked.empty() && s.finds.empty()) {
    waiting_.erase(s.serial);
  } else {
    waiting_.emplace(s.serial, &s);
  }
  const base::time_point next = is_needed ? deadline_of(s) : base::never;
  if (next != s.timer) {
    if (s.timer != base::never) timers_.erase({s.timer, s.serial});
    if (next != base::never) timers_.emplace(std::pair(next, s.serial), &s);
    s.timer = next;
  }
  if (is_needed) return;
  file_idle(s, idleness::busy);
  streams_.erase(streams_.find(*s.key));
}

void owner_table::on_timeout(moment at) {
  std::vector<stream*> due;
  for (const auto& [when, s] : timers_) {
    if (when.first > at.now) break;
    due.push_back(s);
  }
  for (stream* s : due) {  // handling one never removes another
    expire_pending(*s, at);
    if (s->renew_at <= at.now) {
      submit_renewal(*s);
      s->renew_at = at.now + renewal_wait();
    }
    if (s->reread_at <= at.now) reread(*s);
    if (s->unpark_at <= at.now) unpark(*s);
    expire_requests(*s, at);
    if (s->recheck_at <= at.now) recheck(*s, at);
    move_timers(*s, at);
    advance(*s, at);
  }
  begin_moves(at);
}

}  // namespace sluice::cluster
