// The part of owner_table that lives with a store that proxies share: it may be away, come back with less than it had,
// and what others write to it is announced.

#include <algorithm>
#include <utility>
#include <vector>

#include "cluster/core/owner_table.hpp"

namespace sluice::cluster {
namespace {

/// All that is written or read anew when the store is back comes within this time, or longer if it is very much.
constexpr base::duration catch_up_time = std::chrono::seconds(1);
constexpr size_t catch_up_rate_max = 5000;  // a second
/// A store that fails now and then is one outage, and one line of the log, until it has worked for so long.
constexpr base::duration outage_over = std::chrono::seconds(5);

}  // namespace

void owner_table::store_state(bool reachable, bool cold, moment at) {
  if (cold) cold_until_ = at.now + cold_time;
  const bool was = std::exchange(reachable_, reachable);
  if (!reachable) {
    if (!was) return;
    out_.push_back(action::log{base::log_level::warn, "store_unreachable", {{"published", publishing_}}});
    decided_here_ = 0;
    return give_up_steps(at);
  }
  failing_since_ = base::never;
  if (!was || cold) {
    out_.push_back(action::log{base::log_level::info,
                               cold ? "store_cold" : "store_back",
                               {{"published", publishing_}, {"decided_here", decided_here_}}});
  }
  catch_up(at);
}

/// What the store was asked is decided without it. (It may have been done all the same: a renewal will show.)
void owner_table::give_up_steps(moment at) {
  std::map<uint64_t, stream*> asking = waiting_;
  for (auto& [key, s] : streams_) {
    if (s.op != 0 || s.committing) asking.emplace(s.serial, &s);
  }
  for (const auto& [serial, s] : asking) {  // handling one never removes another
    if (s->op != 0) {
      operations_.erase(std::exchange(s->op, 0));
      if (s->proposed) s->abandoned = *s->proposed;
    }
    s->reread_at = base::never;
    if (s->committing) {
      s->committing->retry_at = at.now;
      move_timers(*s, at);
    }
    advance(*s, at);
  }
  begin_moves(at);
}

/// The store may have lost anything, and so may we: what is published here is written once more, and what players were
/// told, or wait for, is read. First the former, by all proxies: who reads then finds it.
void owner_table::catch_up(moment at) {
  std::vector<stream*> written, waited_for, read;
  for (auto& [key, s] : streams_) {
    if (s.publishers > 0) {
      written.push_back(&s);
    } else if (!s.finds.empty()) {
      waited_for.push_back(&s);
    } else if (s.told) {
      read.push_back(&s);
    }
  }
  const auto spread = [&](std::vector<stream*>& all, base::time_point from, base::time_point stream::* when) {
    std::sort(all.begin(), all.end(), [](const stream* a, const stream* b) { return a->serial < b->serial; });
    const base::duration each = std::max(catch_up_time / std::max<size_t>(all.size(), 1),
                                         base::duration(std::chrono::seconds(1)) / catch_up_rate_max);
    for (stream* s : all) {
      s->*when = from + random_up_to(each);
      from += each;
      settle(*s, at);
    }
  };
  spread(written, at.now, &stream::renew_at);
  spread(waited_for, at.now, &stream::miss_until);
  spread(read, at.now + catch_up_time, &stream::reread_at);
  std::vector<stream*> parked;
  for (const auto& [serial, s] : waiting_) {
    if (!s->parked.empty()) parked.push_back(s);
  }
  for (stream* s : parked) {
    unpark(*s);
    advance(*s, at);
  }
}

/// What players were told may be over.
void owner_table::reread(stream& s) {
  s.reread_at = base::never;
  if (reachable_ && s.op == 0 && s.claims.empty() && s.publishers == 0 && s.told) submit_find(s);
}

void owner_table::store_failed(const base::error& why, moment at) {
  failed_at_ = at.now;
  ++failures_;
  if (!reachable_ || failing_since_ != base::never) return;
  failing_since_ = at.now;
  failures_ = 1;
  decided_here_ = 0;
  out_.push_back(action::log{base::log_level::warn, "store_failed", {{"reason", why.reason}}});
}

void owner_table::store_worked(moment at) {
  if (failing_since_ == base::never || failed_at_ + outage_over > at.now) return;
  out_.push_back(
      action::log{base::log_level::info, "store_works", {{"failures", failures_}, {"decided_here", decided_here_}}});
  failing_since_ = base::never;
}

/// The owner that is known has its publisher (again): who was sent to another copy meanwhile is told.
void owner_table::publisher_came(stream& s, moment at) {
  s.owner_since = at.now;
  if (!s.told) return;
  if (const auto to = findable(s, at)) announce(s, *to);
}

void owner_table::announced(const stream_key& key, const owner_record& owner, moment at) {
  highest_seen_ = std::max(highest_seen_, owner.epoch.counter);
  const auto found = streams_.find(key);
  if (found == streams_.end() || owner.epoch == epoch{}) return;
  stream& s = found->second;
  if (s.owner && owner.epoch == s.owner->epoch && owner.published && s.publishers == 0) {
    s.owner->proxy_id = owner.proxy_id;
    s.owner->published = true;
    return publisher_came(s, at);
  }
  if (s.owner && owner.epoch <= s.owner->epoch) return;  // late, doubled, or our own
  const bool is_proposed = s.op != 0 && s.proposed == owner.epoch;
  if (is_proposed || is_uncommitted(s, owner.epoch)) return;  // our own: the answer decides
  if (owner.epoch < elsewhere(key, {})) return;               // a higher epoch at a living origin is the owner
  if (s.publishers > 0) return overtaken(s, owner, at);
  s.op_overtaken = true;
  learn(s, owner, "announced", at);
  if (!s.finds.empty()) {
    if (const auto to = findable(s, at)) {
      tell(s, *to, at);
      answer_finds(s, *to);
    }
  }
  advance(s, at);
}

}  // namespace sluice::cluster
