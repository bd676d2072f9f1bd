#include "sim/monitor.hpp"

#include <algorithm>
#include <cstdlib>

#include "sim/clients.hpp"
#include "sim/origin.hpp"
#include "sim/proxy.hpp"
#include "sim/session.hpp"
#include "sim/store.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

// What faults.md and architecture.md promise.
constexpr duration heartbeat = 1s;
constexpr duration dead_after = 2s;
constexpr duration move_interval = 10s;
constexpr duration move_tolerance = 100ms;  // between the core's decision and what its sessions see
constexpr duration mass_window = 10s;
/// Messages under way, requests that are sent again, the grain of this check.
constexpr duration slack = 1s;
constexpr int64_t behind_max = 8;  // messages that may be under way to a viewer

/// An encoder that was closed comes back within a second.
constexpr duration served_bound = dead_after + 2 * heartbeat + 2 * slack;
constexpr duration watched_bound = served_bound + 2 * slack;
/// Until a proxy sees the store again, two heartbeats, and the grain of this check.
constexpr duration agree_bound = 1s + 2 * heartbeat + slack;

}  // namespace

monitor::monitor(world& w)
    : w_(w),
      origins_(static_cast<size_t>(w.how.origins)),
      doubled_since_(static_cast<size_t>(w.how.streams), base::never),
      unserved_since_(static_cast<size_t>(w.how.streams), base::never),
      unlike_since_(static_cast<size_t>(w.how.streams), base::never) {}

void monitor::origin_started(node n) {
  at_origin& o = origins_[static_cast<size_t>(w_.origin_index(n))];
  o = {};
  o.highest.resize(static_cast<size_t>(w_.how.streams));
  o.fenced.resize(static_cast<size_t>(w_.how.streams));
}

void monitor::publish_accepted(node n, int stream, const cluster::epoch& e) {
  w_.note(e.counter ^ static_cast<uint64_t>(n));
  cluster::epoch& highest = origins_[static_cast<size_t>(w_.origin_index(n))].highest[static_cast<size_t>(stream)];
  if (e < highest)
    w_.fail(fmt::format("a: {} accepts epoch {}.{:x} of s{}, has seen {}.{:x}", w_.name_of(n), e.counter,
                        e.claim_id & 0xFFFF, stream, highest.counter, highest.claim_id & 0xFFFF));
  highest = e;
  if (e == cluster::epoch{}) return;
  // The next incarnation of an origin has its place; the one before is dead.
  const auto [by, is_new] = accepted_by_.try_emplace({stream, e}, n);
  if (!is_new && by->second != n)
    w_.fail(fmt::format("b: {} and {} both accept epoch {}.{:x} of s{}", w_.name_of(by->second), w_.name_of(n),
                        e.counter, e.claim_id & 0xFFFF, stream));
}

void monitor::epoch_told(node n, int stream, const cluster::epoch& e, bool fenced) {
  at_origin& o = origins_[static_cast<size_t>(w_.origin_index(n))];
  const auto s = static_cast<size_t>(stream);
  o.highest[s] = std::max(o.highest[s], e);
  if (fenced) o.fenced[s] = std::max(o.fenced[s], e);
}

void monitor::media_sent(node n, int stream, const cluster::epoch& e) {
  const at_origin& o = origins_[static_cast<size_t>(w_.origin_index(n))];
  if (o.unconfirmed)
    w_.fail(fmt::format("d: {} sends s{} though it was stopped and is not confirmed", w_.name_of(n), stream));
  if (e < o.fenced[static_cast<size_t>(stream)])
    w_.fail(fmt::format("d: {} sends s{} of an epoch that it knows to be over", w_.name_of(n), stream));
}

void monitor::origin_stopped_for(node n, duration d) {
  at_origin& o = origins_[static_cast<size_t>(w_.origin_index(n))];
  if (d <= cluster::fence::stop_max) return;
  o.unconfirmed = true;
  o.stopped_until = w_.queue.now();
}

void monitor::origin_confirmed(node n, time_point beat_sent_at) {
  at_origin& o = origins_[static_cast<size_t>(w_.origin_index(n))];
  if (beat_sent_at >= o.stopped_until) o.unconfirmed = false;
}

void monitor::gap(node n, int stream, int64_t from, int64_t oldest, int64_t kept) {
  w_.trace("a viewer of s{} at {} misses {} … {}", stream, w_.name_of(n), from, oldest - 1);
  if (from >= kept)
    w_.fail(fmt::format("f: a viewer of s{} misses {} … {} at {}, though its publisher's proxy kept all from {}",
                        stream, from, oldest - 1, w_.name_of(n), kept));
}

void monitor::origin_lost(node n, const std::string& origin_id, cluster::loss_reason reason,
                          const std::vector<silence>& origins) {
  const int index = std::atoi(origin_id.c_str() + 1);
  const origin& truth = *w_.origins[static_cast<size_t>(index)];
  if (reason == cluster::loss_reason::gone) {
    if (truth.up() && truth.id() == origin_id)
      w_.fail(fmt::format("{} takes {} for gone, which lives", w_.name_of(n), origin_id));
    return;
  }
  size_t silent = 0, judged = 0;
  for (const silence& s : origins) {
    if (s.id == origin_id && s.bytes < dead_after)
      w_.fail(fmt::format("{} takes {} for dead {} ms after its last byte", w_.name_of(n), origin_id, s.bytes / 1ms));
    if (s.lost_at <= w_.queue.now() - mass_window) continue;
    ++judged;
    if (!s.gone && s.any >= dead_after && s.bytes < mass_window) ++silent;
  }
  if (silent >= 2 && silent * 2 >= judged)
    w_.fail(fmt::format("i: {} takes {} for dead while {} of {} origins are silent", w_.name_of(n), origin_id, silent,
                        judged));
}

void monitor::moved(int stream, const std::string& from, bool off_silent, time_point before, time_point decided_at) {
  // Silent first, it may have been proven gone while the publisher waited.
  const origin& left = *w_.origins[static_cast<size_t>(std::atoi(from.c_str() + 1))];
  const bool lives = left.up() && left.id() == from;
  if (lives && off_silent && before != time_point::min() && decided_at - before < move_interval - move_tolerance)
    w_.fail(fmt::format("j: s{} moves off a silent or drained origin {} ms after its last move", stream,
                        (decided_at - before) / 1ms));
}

bool monitor::is_served(int stream) const {
  bool wanted = false;
  for (const auto& e : w_.encoders) {
    if (e->stream() != stream || !e->active()) continue;
    wanted = true;
    if (e->at() == nullptr || !e->at()->running()) continue;
    auto* const px = const_cast<proxy*>(e->at());
    const publish_session* s = px->publisher(e->session());
    if (s == nullptr || !s->running()) continue;
    for (const auto& o : w_.origins) {
      const origin::copy& c = o->held(stream);
      if (!o->running() || c.publisher < 0 || c.session != s->id() || c.next + behind_max < s->next()) continue;
      return true;
    }
  }
  return !wanted;
}

bool monitor::is_watched(const viewer& v) const {
  const bool connected = v.at() != nullptr && v.at()->running();
  const view_session* view = connected ? const_cast<proxy*>(v.at())->view(v.session()) : nullptr;
  for (const auto& o : w_.origins) {
    const origin::copy& c = o->held(v.stream());
    if (!o->running() || c.publisher < 0) continue;
    return view != nullptr && view->source() == c.source && view->next() + behind_max >= c.next;
  }
  return std::none_of(w_.encoders.begin(), w_.encoders.end(),
                      [&](const auto& e) { return e->stream() == v.stream() && e->active(); });
}

void monitor::check_owners() {
  for (int s = 0; s < w_.how.streams; ++s) {
    const auto publishers = std::count_if(w_.origins.begin(), w_.origins.end(),
                                          [&](const auto& o) { return o->running() && o->held(s).publisher >= 0; });
    time_point& since = doubled_since_[static_cast<size_t>(s)];
    if (publishers < 2) {
      since = base::never;
    } else if (since == base::never) {
      since = w_.queue.now();
    } else if (since + 2 * heartbeat + slack < w_.queue.now()) {
      w_.fail(fmt::format("c: {} origins accept s{} for more than two heartbeats", publishers, s));
    }
  }
}

void monitor::check_served() {
  const duration healed_for = w_.queue.now() - w_.healed_at();
  // One that stays dead may be merely silent, for all that anybody knows.
  const bool all_up = std::all_of(w_.origins.begin(), w_.origins.end(), [](const auto& o) { return o->up(); });
  const duration brake = all_up ? duration{} : move_interval;
  for (int s = 0; s < w_.how.streams; ++s) {
    time_point& since = unserved_since_[static_cast<size_t>(s)];
    if (is_served(s)) {
      since = base::never;
      continue;
    }
    if (since == base::never) since = w_.queue.now();
    served_after_max_ = std::max(served_after_max_, healed_for);
    // Who is told of a higher epoch publishes anew, and is away for a moment.
    if (healed_for > served_bound + brake && since + slack < w_.queue.now())
      w_.fail(fmt::format("e: s{} has no owner that accepts it {} ms after the last fault", s, healed_for / 1ms));
  }
  for (const auto& v : w_.viewers) {
    if (is_watched(*v)) continue;
    watched_after_max_ = std::max(watched_after_max_, healed_for);
    if (healed_for > watched_bound + brake)
      w_.fail(fmt::format("e: view {} of s{} gets nothing {} ms after the last fault", v->session(), v->stream(),
                          healed_for / 1ms));
  }
}

/// What is published is known to the store, as soon as that is well for long enough.
void monitor::check_store() {
  if (w_.how.memory_store) return;
  for (const auto& e : w_.encoders) {
    const auto stream = static_cast<size_t>(e->stream());
    if (!e->active() || e->at() == nullptr || !e->at()->running()) continue;
    auto* const px = const_cast<proxy*>(e->at());
    const publish_session* s = px->publisher(e->session());
    if (s == nullptr || !s->running()) continue;
    const bool is_there = std::any_of(w_.origins.begin(), w_.origins.end(), [&](const auto& o) {
      return o->running() && o->id() == s->to().origin_id && o->held(e->stream()).publisher >= 0 &&
             o->held(e->stream()).session == s->id();
    });
    if (!is_there) continue;
    const auto record = w_.store->peek(w_.key(e->stream()));
    time_point& since = unlike_since_[stream];
    // Whoever was not told of another's claim finds it at his next renewal.
    const bool is_unaware = record && px->has_missed(e->stream(), record->epoch);
    if (is_unaware || (record && record->origin_id == s->to().origin_id)) {
      since = base::never;
    } else if (since == base::never) {
      since = w_.queue.now();
    } else if (since + agree_bound < w_.queue.now()) {
      w_.fail(fmt::format("m: s{} is at {}, and the store says {} for {} ms", stream, s->to().origin_id,
                          record ? record->origin_id : "nobody", (w_.queue.now() - since) / 1ms));
    }
  }
}

void monitor::look() {
  const bool quiet = w_.healed() && w_.queue.now() - w_.healed_at() > watched_bound + move_interval;
  for (const auto& p : w_.proxies) p->check(quiet);
  if (!w_.healed()) return;
  check_owners();
  check_served();
  check_store();
}

}  // namespace sluice::sim
