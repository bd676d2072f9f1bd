#include "sim/prober.hpp"

#include "sim/proxy.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

// As in src/relay/control_link.cpp and prober.hpp.
constexpr duration stale_after = 2s;
constexpr unsigned redials_max = 3;
constexpr duration redial_pause = 20ms;

}  // namespace

using cluster::probe_answer;

void prober::ask(const cluster::action::probe& a) {
  line& l = lines_[a.origin_id];
  // After a stop of the proxy the core may give up a probe before its timer has run here.
  if (l.out && l.until > px_.now()) w_.fail(fmt::format("a second probe of {} while one is out", a.origin_id));
  w_.trace("{} probes {}, kind {}", w_.name_of(px_.self()), a.origin_id, static_cast<int>(a.kind));
  l.out = true;
  l.until = px_.now() + a.timeout;
  l.breaks = 0;
  l.handshake = a.kind != cluster::probe_kind::rtmp_ping;
  const uint64_t turn = ++l.turn;
  px_.after(a.timeout, [this, id = a.origin_id, turn] {
    line& waiting = lines_[id];
    if (waiting.out && waiting.turn == turn) answer(id, waiting, probe_answer::silent);
  });
  const bool stale = l.unanswered_since != base::never && l.unanswered_since + stale_after <= w_.queue.now();
  if (l.handshake || stale || !l.proven) hang_up(l);
  if (l.conn < 0) return dial(a.origin_id, l);
  if (l.unanswered_since == base::never) l.unanswered_since = w_.queue.now();
  packet ping;
  ping.what = packet::kind::ping;
  w_.net.send(l.conn, side::proxy, ping);
}

void prober::dial(const std::string& origin_id, line& l) {
  l.conn = px_.dial_probe(origin_id);
  by_conn_[l.conn] = origin_id;
  packet ping;
  ping.what = packet::kind::ping;
  w_.net.send(l.conn, side::proxy, ping);
}

void prober::hang_up(line& l) {
  if (l.conn >= 0) {
    by_conn_.erase(l.conn);
    w_.net.close(l.conn, side::proxy);
  }
  l.conn = -1;
  l.proven = false;
  l.unanswered_since = base::never;
}

bool prober::on_packet(int conn, const packet& p) {
  const auto found = by_conn_.find(conn);
  if (found == by_conn_.end()) return false;
  const std::string id = found->second;
  px_.heard(id);
  line& l = lines_[id];
  l.proven = true;
  l.unanswered_since = base::never;
  if (l.out) answer(id, l, probe_answer::ok);
  return true;
}

bool prober::on_closed(int conn) {
  const auto found = by_conn_.find(conn);
  if (found == by_conn_.end()) return false;
  const std::string id = found->second;
  by_conn_.erase(found);
  line& l = lines_[id];
  const bool was_proven = l.proven;
  l.conn = -1;
  hang_up(l);
  if (!l.out) {
    if (was_proven) px_.link_broken(id);
    return true;
  }
  if (!was_proven) {  // refused
    answer(id, l, probe_answer::gone);
  } else if (++l.breaks > redials_max) {
    answer(id, l, probe_answer::silent);
  } else {
    px_.after(redial_pause, [this, id = id, turn = l.turn] {
      line& again = lines_[id];
      if (again.out && again.turn == turn && again.conn < 0) dial(id, again);
    });
  }
  return true;
}

void prober::answer(const std::string& origin_id, line& l, probe_answer a) {
  w_.trace("{} probe of {}: {}", w_.name_of(px_.self()), origin_id, static_cast<int>(a));
  l.out = false;
  if (l.handshake || (a != probe_answer::ok && !l.proven)) hang_up(l);
  px_.probe_answered(origin_id, a);
}

}  // namespace sluice::sim
