// The part of owner_table that forgets: claims that came to nothing, and streams that only take room.

#include <utility>

#include "cluster/core/owner_table.hpp"

namespace sluice::cluster {
namespace {

/// Of one stream; of those above it the oldest are no longer told apart.
constexpr size_t pending_max = 16;
constexpr size_t undone_max = 4096;
/// For what the store has failed to do, and may have done.
constexpr base::duration take_back_time = std::chrono::seconds(10);

}  // namespace

void owner_table::count_on(stream& s, const std::string& origin_id) {
  uncount(s);
  origins_.count_known(origin_id, 1);
  s.counted_on = origin_id;
}

/// Counts it there as a stream that the origin does not know of yet.
void owner_table::place_on(stream& s, const std::string& origin_id, moment at) {
  if (s.counted_on == origin_id) return;
  count_on(s, origin_id);
  s.placed_beat = origins_.placed(origin_id, at.now);
}

void owner_table::uncount(stream& s) {
  if (s.counted_on.empty()) return;
  origins_.count_known(s.counted_on, -1);
  if (s.placed_beat != 0) origins_.unplaced(s.counted_on, s.placed_beat);
  s.placed_beat = 0;
  s.counted_on.clear();
}

void owner_table::add_pending(stream& s, const request& r, uint64_t request_id, moment at) {
  if (s.pending.size() >= pending_max) remove_pending(s, 0);
  s.pending.push_back({request_id, r.session, s.owner->epoch, at.now + config_.unstarted_ttl, r.deadline, r.fail_over});
  if (r.fail_over) ++s.failing;
  granted_.emplace(request_id, &s);
}

void owner_table::remove_pending(stream& s, size_t index) {
  granted_.erase(s.pending[index].request_id);
  if (s.pending[index].fail_over) --s.failing;
  s.pending.erase(s.pending.begin() + static_cast<std::ptrdiff_t>(index));
}

/// A session claims anew: its former claim is over. Returns until when that one would have waited for an origin.
std::optional<base::time_point> owner_table::supersede(stream& s, const std::string& session) {
  for (size_t i = 0; i < s.pending.size(); ++i) {
    if (s.pending[i].session != session) continue;
    const base::time_point deadline = s.pending[i].deadline;
    remove_pending(s, i);
    return deadline;
  }
  return std::nullopt;
}

void owner_table::expire_pending(stream& s, moment at) {
  while (!s.pending.empty() && s.pending.front().until <= at.now) {
    remember_undone(s);
    remove_pending(s, 0);
  }
}

void owner_table::remember_undone(const stream& s) {
  if (!s.owner || !undone_.try_emplace(s.owner->epoch, *s.key, *s.owner).second) return;
  undone_order_.push_back(s.owner->epoch);
  if (undone_order_.size() <= undone_max) return;
  undone_.erase(undone_order_.front());
  undone_order_.pop_front();
}

/// The publish of a claim that was given up has started after all: its owner is the owner again, unless there is
/// another by now.
owner_table::stream* owner_table::restore_undone(const stream_key& key, const epoch& e) {
  const auto undone = undone_.find(e);
  if (undone == undone_.end() || undone->second.first != key) return nullptr;
  stream& s = stream_of(key);
  if (s.owner) return nullptr;
  s.owner = std::move(undone->second.second);
  undone_.erase(undone);
  return &s;
}

/// Drops the record that a claim of this proxy wrote, if all who were granted it have left before they published. (What
/// the store cannot be told now expires.)
void owner_table::undo_unstarted(stream& s, moment at) {
  if (!s.unstarted || s.op != 0 || s.publishers > 0 || !s.claims.empty() || !s.pending.empty()) return;
  if (*s.unstarted == s.spared && s.spared_until > at.now) return;
  // Somebody publishes with it at another proxy, and has put his proxy's name on it.
  if (s.owner->proxy_id != config_.proxy_id) return s.unstarted.reset();
  if (reachable_ && !s.unwritten) {
    store_request ask;
    ask.what = store_request::kind::drop;
    ask.key = *s.key;
    ask.record = s.owner;
    operation op;
    op.kind = op_kind::drop;
    submit(std::move(ask), std::move(op));
  }
  s.owner.reset();
  s.owner_until = base::time_point::min();
  s.unstarted.reset();
  s.unwritten = false;
}

/// The store may have a proposal that it has not answered, in place of the owner that this proxy goes by; and whoever
/// claimed has left. It is asked for a while to drop it, for what made it fail once may go on; then the record expires.
void owner_table::take_back(stream& s, moment at) {
  if (s.abandoned == epoch{} || s.op != 0 || is_claimed_here(s) || s.take_back_at > at.now) return;
  if (std::exchange(s.taking_back, s.abandoned) != s.abandoned) s.take_back_until = at.now + take_back_time;
  s.take_back_at = ask_again_at(at);
  if (!reachable_ && at.now < s.take_back_until) return;
  const epoch dropped = std::exchange(s.abandoned, {});
  if (at.now >= s.take_back_until) return;
  store_request ask;
  ask.what = store_request::kind::drop;
  ask.key = *s.key;
  ask.record = owner_record{};
  ask.record->epoch = dropped;
  ask.record->proxy_id = config_.proxy_id;
  operation op;
  op.kind = op_kind::drop;
  op.dropped = dropped;
  if (s.owner && s.owner->published) op.of = s.owner->epoch;
  submit(std::move(ask), std::move(op));
}

/// If nobody's record is left, the owner that it had replaced is written again, in the name of who publishes there.
void owner_table::taken_back(const operation& op, const store_reply& reply, moment at) {
  const auto found = streams_.find(op.key);
  if (found == streams_.end()) return;
  stream& s = found->second;
  if (op.of != epoch{} && reply.owner && !*reply.owner && s.owner && s.owner->epoch == op.of) {
    store_request ask;
    ask.what = store_request::kind::renew;
    ask.key = op.key;
    ask.record = s.owner;
    ask.ttl = config_.stream_ttl;
    operation ignored;
    ignored.kind = op_kind::drop;
    submit(std::move(ask), std::move(ignored));
  }
  if (op.dropped == epoch{} || s.taking_back != op.dropped) return;
  if (reply.owner) {
    s.taking_back = {};
    s.take_back_until = base::time_point::min();
  } else if (s.abandoned == epoch{} && at.now < s.take_back_until) {
    s.abandoned = op.dropped;
  }
  settle(s, at);
}

void owner_table::file_idle(stream& s, idleness now) {
  if (s.idle == now) return;
  if (s.idle != idleness::busy) idle_[static_cast<size_t>(s.idle)].erase(s.idle_at);
  s.idle = now;
  if (now == idleness::busy) return;
  auto& list = idle_[static_cast<size_t>(now)];
  s.idle_at = list.insert(list.end(), &s);
}

/// Forgets the stream that has been idle longest, one without claims if there is one; false if all are in use.
bool owner_table::evict_one(moment at) {
  for (auto& list : idle_) {
    if (list.empty()) continue;
    stream& s = *list.front();
    if (!s.pending.empty()) remember_undone(s);
    while (!s.pending.empty()) remove_pending(s, 0);
    s.owner_until = s.miss_until = s.told_until = s.spared_until = s.take_back_until = base::time_point::min();
    s.told.reset();
    settle(s, at);
    return true;
  }
  return false;
}

}  // namespace sluice::cluster
