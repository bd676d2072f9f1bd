// The part of owner_table that empties origins which are drained: streams published through this proxy are moved to
// others, a few at a time. The relay makes the new publish before it breaks the old one; the store is written between.

#include <algorithm>
#include <utility>

#include "cluster/core/owner_table.hpp"

namespace sluice::cluster {

base::result<size_t> owner_table::drain(const std::string& server_id, bool on, moment at) {
  if (!origins_.has_server(server_id) && (on || !origins_.is_draining(server_id))) {
    return base::fail("unknown_origin", "no origin has the server id " + server_id);
  }
  origins_.set_draining(server_id, on);
  if (on) {
    drains_.begin(server_id);
    for (auto& [key, s] : streams_) {
      if (s.publishers > 0) plan_move(s);
    }
    begin_moves(at);
    return drains_.to_move(server_id);
  }
  drains_.end(server_id);
  for (auto& [key, s] : streams_) {
    if (s.drained_from != server_id) continue;
    s.drained_from.clear();  // a move under way goes on
    s.move_at = base::never;
  }
  return size_t{0};
}

/// It is published here: must it be moved?
void owner_table::plan_move(stream& s) {
  const origin* o = origins_.find(s.owner->origin_id);
  if (o == nullptr || !drains_.is_on(o->reg.server)) return;
  s.drained_from = o->reg.server;
  drains_.add(s.drained_from, *s.key);
}

void owner_table::unplan_move(stream& s) {
  if (!s.drained_from.empty()) drains_.remove(s.drained_from, *s.key);
  s.drained_from.clear();
  s.move_at = base::never;
  end_move(s);
}

void owner_table::begin_moves(moment at) {
  while (moving_ < config_.drain_moves_max) {
    const auto turn = drains_.next();
    if (!turn) return;
    const auto found = streams_.find(turn->key);
    if (found == streams_.end() || found->second.drained_from != turn->server_id) continue;
    begin_move(found->second, at);
    settle(found->second, at);
  }
}

void owner_table::begin_move(stream& s, moment at) {
  if (s.publishers == 0 || s.lost || s.moving) return;
  if (s.moved_at + config_.move_interval > at.now) {
    s.move_at = s.moved_at + config_.move_interval;
    return;
  }
  const auto candidates = origins_.candidates(at.now, {.drained = false, .by = s.by});
  const std::vector<std::string> exclude{s.owner->origin_id};
  const auto picked = pick_origin(s.name, candidates, exclude);
  if (!picked) {
    drains_.block(s.drained_from, *s.key);
    return;
  }
  owner_record record = *s.owner;
  record.origin_id = candidates[*picked].origin_id;
  record.epoch = next_epoch(s, at);
  // Counted at once: those that follow are not to take the same place.
  origins_.count_known(record.origin_id, 1);
  const uint64_t beat = origins_.placed(record.origin_id, at.now);
  s.moving = move{record.origin_id, record.epoch, at.now + config_.unstarted_ttl, beat};
  ++moving_;
  out_.push_back(
      action::move{*s.key, s.owner->epoch, assignment_to(*origins_.find(record.origin_id), std::optional(record))});
}

void owner_table::end_move(stream& s) {
  fail_commit(s, {"store_conflict", "the publish of the old epoch is over"});
  if (!s.moving) return;
  origins_.unplaced(s.moving->to, s.moving->placed_beat);
  origins_.count_known(s.moving->to, -1);
  s.moving.reset();
  --moving_;
}

bool owner_table::is_uncommitted(const stream& s, const epoch& e) const {
  return (s.moving && s.moving->proposed == e) || (s.committing && s.committing->to.epoch == e) || s.abandoned == e;
}

void owner_table::commit_move(uint64_t request_id, const stream_key& key, const epoch& from, const assignment& to,
                              moment at) {
  const auto found = streams_.find(key);
  const bool is_current = found != streams_.end() && found->second.publishers > 0 &&
                          found->second.owner->epoch == from && from < to.epoch && !found->second.committing;
  if (!is_current || origins_.find_living(to.origin_id) == nullptr) {
    out_.push_back(action::reply_claim{
        request_id, base::fail("store_conflict", is_current ? "the new owner is lost" : "another owner by now")});
    if (is_current) refuse_move(found->second, to.origin_id, "no_origin", at);
    begin_moves(at);
    return;
  }
  stream& s = found->second;
  if (s.moving) s.moving->until = base::never;  // the store decides
  highest_seen_ = std::max(highest_seen_, to.epoch.counter);
  s.committing = commit{request_id, to, at.now + config_.claim_wait, base::never};
  submit_commit(s, at);
  settle(s, at);
  begin_moves(at);
}

void owner_table::submit_commit(stream& s, moment at) {
  if (!reachable_) return commit_here(s, at);
  store_request ask;
  ask.what = store_request::kind::claim;
  ask.key = *s.key;
  ask.replaces = s.stored.value_or(s.owner->epoch);
  ask.ttl = config_.stream_ttl;
  ask.record = s.owner;
  ask.record->origin_id = s.committing->to.origin_id;
  ask.record->epoch = s.committing->to.epoch;
  ask.record->proxy_id = config_.proxy_id;
  ask.record->published = true;
  operation op;
  op.kind = op_kind::move;
  op.of = s.owner->epoch;
  op.request_id = s.committing->request_id;
  s.committing->retry_at = base::never;
  submit(std::move(ask), std::move(op));
}

/// Without a store the publisher's proxy decides alone; it is written when there is one.
void owner_table::commit_here(stream& s, moment at) {
  const commit done = *std::exchange(s.committing, std::nullopt);
  owner_record to = *s.owner;
  to.origin_id = done.to.origin_id;
  to.epoch = done.to.epoch;
  to.proxy_id = config_.proxy_id;
  to.published = true;
  if (!s.unwritten && !s.stored) s.stored = s.owner->epoch;
  moved(s, to, at);
  s.unwritten = true;
  ++decided_here_;
  out_.push_back(action::reply_claim{done.request_id, done.to});
}

/// The answer to commit_move(), if there is one to be given; whether it was written may be unknown.
void owner_table::fail_commit(stream& s, base::error why) {
  if (!s.committing) return;
  s.abandoned = s.committing->to.epoch;
  out_.push_back(action::reply_claim{s.committing->request_id, tl::unexpected(std::move(why))});
  s.committing.reset();
}

void owner_table::move_replied(const operation& op, store_reply& reply, moment at) {
  const auto found = streams_.find(op.key);
  if (found == streams_.end()) return;
  stream& s = found->second;
  if (!s.committing || s.committing->request_id != op.request_id) return abandoned_replied(s, op, reply, at);
  if (!reply.owner) {
    s.committing->retry_at = ask_again_at(at);
    if (s.committing->retry_at > s.committing->give_up_at) {
      const std::string to = s.committing->to.origin_id;
      const std::string reason(reply.owner.error().reason);
      fail_commit(s, std::move(reply.owner.error()));
      refuse_move(s, to, reason, at);
      begin_moves(at);
    }
    settle(s, at);
    return;
  }
  const std::optional<owner_record> owner = *reply.owner;
  const commit done = *s.committing;
  s.committing.reset();
  if (owner && owner->epoch == done.to.epoch) {
    moved(s, *owner, at);
    out_.push_back(action::reply_claim{done.request_id, done.to});
    settle(s, at);
  } else {
    refuse_move(s, done.to.origin_id, "store_conflict", at);
    out_.push_back(action::reply_claim{done.request_id, base::fail("store_conflict", "another owner by now")});
    if (owner && owner->epoch > s.owner->epoch) learn(s, owner, "store", at);
    advance(s, at);
  }
  begin_moves(at);
}

/// The commit was given up in between: the publish of the old epoch goes on. If it is written all the same, or may be,
/// the store is put right.
void owner_table::abandoned_replied(stream& s, const operation& op, store_reply& reply, moment at) {
  if (s.publishers == 0 || !s.owner || s.owner->epoch != op.of) return;
  if (!reply.owner) {
    check_abandoned(s, at);
    settle(s, at);
  } else if (*reply.owner && (*reply.owner)->epoch == s.abandoned) {
    overtaken(s, **reply.owner, at);
  }
}

/// Its publisher goes on at the new owner: from now on the publish is the one of the new epoch.
void owner_table::moved(stream& s, const owner_record& to, moment at) {
  unplan_move(s);
  const std::optional<owner_record> before = std::exchange(s.owner, to);
  s.owner_until = ask_again_at(at);
  s.moved_to = to.epoch;
  s.publishers = 1;  // a second one stays behind with an epoch that is over
  s.published_on = to.origin_id;
  s.moved_at = at.now;
  s.lost = origins_.find_living(to.origin_id) == nullptr;
  place_on(s, to.origin_id, at);
  owner_learned(s, before, "drain", at);
  plan_move(s);  // that one may be drained by now, too
}

void owner_table::move_refused(const stream_key& key, const epoch& from, const std::string& to_origin,
                               const std::string& reason, moment at) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || !found->second.owner || found->second.owner->epoch != from) return;
  refuse_move(found->second, to_origin, reason, at);
  settle(found->second, at);
  begin_moves(at);
}

void owner_table::refuse_move(stream& s, const std::string& to_origin, const std::string& reason, moment at) {
  if (!s.moving || s.moving->to != to_origin) {  // a late commit may be under way all the same
    if (s.committing && s.committing->to.origin_id == to_origin) fail_commit(s, {"store_conflict", reason});
    return check_abandoned(s, at);
  }
  remember(s, at, "move_refused", to_origin, s.moving->proposed, reason);
  out_.push_back(action::log{
      base::log_level::warn,
      "move_refused",
      {{"stream", s.name}, {"origin", s.owner->origin_id}, {"to", to_origin}, {"reason", std::string_view(reason)}}});
  end_move(s);
  if (origins_.find_living(to_origin) != nullptr) {
    drains_.refuse(s.drained_from, *s.key, reason);
  } else {
    s.move_at = at.now + config_.move_interval;  // it said nothing: another may take the stream, or this one later
  }
  check_abandoned(s, at);
}

/// The store may have written a move that came to nothing: a renewal soon shows it.
void owner_table::check_abandoned(stream& s, moment at) {
  if (s.abandoned != epoch{} && s.publishers > 0) s.renew_at = std::min(s.renew_at, ask_again_at(at));
}

void owner_table::move_timers(stream& s, moment at) {
  if (s.moving && s.moving->until <= at.now) refuse_move(s, std::string(s.moving->to), "no_answer", at);
  if (s.committing && s.committing->retry_at <= at.now) {
    if (origins_.find_living(s.committing->to.origin_id) != nullptr) {
      submit_commit(s, at);
    } else {
      const std::string to = s.committing->to.origin_id;
      fail_commit(s, {"store_conflict", "the new owner is lost"});
      refuse_move(s, to, "no_origin", at);
    }
  }
  if (s.move_at > at.now) return;
  s.move_at = base::never;
  drains_.retry(s.drained_from, *s.key);
}

}  // namespace sluice::cluster
