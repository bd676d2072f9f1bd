#include "sim/network.hpp"

namespace sluice::sim {
namespace {

/// A retransmission's time at the least, and after a partition, when the backoff has grown.
constexpr duration retransmit_min = 200ms, retransmit_max = 400ms, resumed_max = 800ms;
/// TCP_USER_TIMEOUT of 2 s fired after 3–5 s in a trial (architecture.md); Sluice's own is 20 s.
constexpr duration user_timeout_min = 3s, user_timeout_max = 5s, user_timeout_usual = 20s;
/// As src/relay/upstream.cpp and src/servers/rtmp/connection.cpp set it.
constexpr duration keepalive_idle = 15s;

}  // namespace

const char* name_of(refusal why) {
  constexpr std::array names{"none",   "stale_epoch", "second_publisher", "at_capacity",
                             "fenced", "taken_over",  "kicked",           "no_publisher"};
  return names[static_cast<size_t>(why)];
}

duration network::delay() { return random_.between(conditions_.delay_min, conditions_.delay_max); }

void network::calm() {
  conditions_.loss_percent = conditions_.duplicate_percent = conditions_.late_percent = 0;
  conditions_.lost_reset_percent = 0;
}

void network::cut(node a, node b, traffic what) {
  for (link* l : {&between(a, b), &between(b, a)}) ++(what == traffic::all ? l->cut_all : l->cut_connections);
}

void network::mend(node a, node b, traffic what) {
  for (link* l : {&between(a, b), &between(b, a)}) --(what == traffic::all ? l->cut_all : l->cut_connections);
  if (is_cut(a, b, traffic::connections)) return;
  for (const node n : {a, b}) {
    for (const int conn : nodes_[static_cast<size_t>(n)].open) {
      connection& c = connections_[static_cast<size_t>(conn)];
      if ((c.proxy != a || c.origin != b) && (c.proxy != b || c.origin != a)) continue;
      for (const side to : {side::proxy, side::origin}) {
        lane& l = c.lanes[index(to)];
        // Retransmitted when the backoff is over; until then what follows queues up behind.
        if (!l.stalled.empty())
          queue_.at(queue_.now() + random_.between(duration(1ms), resumed_max), [this, conn, to] { resume(conn, to); });
      }
    }
  }
}

bool network::is_cut(node a, node b, traffic what) const {
  const link& l = between(a, b);
  return l.cut_all > 0 || (what == traffic::connections && l.cut_connections > 0);
}

bool network::deliver(node from, node to, inner_callback fn) {
  if (is_cut(from, to, traffic::all) || random_.chance(conditions_.loss_percent)) return false;
  duration d = delay();
  if (random_.chance(conditions_.late_percent)) d += random_.between(duration(100ms), duration(1500ms));
  process* const target = nodes_[static_cast<size_t>(to)].runs;
  queue_.at(queue_.now() + d, [this, from, to, target, fn = std::move(fn)]() mutable {
    if (!is_cut(from, to, traffic::all)) target->input(std::move(fn));
  });
  return true;
}

void network::post(node from, node to, const std::function<inner_callback()>& make) {
  deliver(from, to, make());
  if (random_.chance(conditions_.duplicate_percent)) deliver(from, to, make());
}

int network::dial(node proxy, node origin) {
  const int conn = static_cast<int>(connections_.size());
  connection& c = connections_.emplace_back();
  c.proxy = proxy;
  c.origin = origin;
  c.proxy_life = nodes_[static_cast<size_t>(proxy)].runs->life();
  c.user_timeout = random_.chance(50) ? user_timeout_usual : random_.between(user_timeout_min, user_timeout_max);
  nodes_[static_cast<size_t>(proxy)].open.push_back(conn);
  return conn;
}

void network::send(int conn, side from, const packet& p) {
  connection& c = connections_[static_cast<size_t>(conn)];
  const side to = other(from);
  lane& l = c.lanes[index(to)];
  duration d = delay();
  if (random_.chance(conditions_.loss_percent)) d += random_.between(retransmit_min, retransmit_max);
  l.last = std::max(queue_.now() + d, l.last + 1us);
  queue_.at(l.last, [this, conn, to, p] { arrive(conn, to, p); });
}

void network::close(int conn, side from, bool by_reset) {
  connection& c = connections_[static_cast<size_t>(conn)];
  if (!std::exchange(c.open[index(from)], false)) return;
  if (lane& l = c.lanes[index(other(from))]; !c.bound && !l.stalled.empty()) {  // never connected
    l.stalled.clear();
    return;
  }
  packet p;
  p.what = by_reset ? packet::kind::reset : packet::kind::fin;
  send(conn, from, p);
}

void network::died(node n, bool silent) {
  for (const int conn : std::exchange(nodes_[static_cast<size_t>(n)].open, {})) {
    connection& c = connections_[static_cast<size_t>(conn)];
    const side self = c.proxy == n ? side::proxy : side::origin;
    if (silent) {
      c.open[index(self)] = false;
    } else {
      close(conn, self, true);
    }
  }
}

/// At the receiver's network card.
void network::arrive(int conn, side to, const packet& p) {
  connection& c = connections_[static_cast<size_t>(conn)];
  lane& l = c.lanes[index(to)];
  if (!is_cut(c.proxy, c.origin, traffic::connections) && l.stalled.empty()) return take(conn, to, p);
  if (p.what == packet::kind::reset && random_.chance(conditions_.lost_reset_percent)) return;
  l.stalled.push_back(p);
  if (l.stalled.size() == 1) watch(conn, to);
}

void network::watch(int conn, side to) {
  const connection& c = connections_[static_cast<size_t>(conn)];
  queue_.at(queue_.now() + c.user_timeout,
            [this, conn, to, stall = ++connections_[static_cast<size_t>(conn)].lanes[index(to)].stall] {
              const lane& l = connections_[static_cast<size_t>(conn)].lanes[index(to)];
              if (l.stall == stall && !l.stalled.empty()) give_up(conn, other(to));
            });
}

void network::resume(int conn, side to) {
  connection& c = connections_[static_cast<size_t>(conn)];
  if (is_cut(c.proxy, c.origin, traffic::connections)) return watch(conn, to);
  for (const packet& p : std::exchange(c.lanes[index(to)].stalled, {})) take(conn, to, p);
}

void network::take(int conn, side to, const packet& p) {
  connection& c = connections_[static_cast<size_t>(conn)];
  const node receiver = to == side::proxy ? c.proxy : c.origin;
  process& target = *nodes_[static_cast<size_t>(receiver)].runs;
  c.lanes[index(to)].arrived = queue_.now();
  if (to == side::origin && !c.bound && target.up()) {
    for (const side of : {side::proxy, side::origin}) {
      c.lanes[index(of)].arrived = queue_.now();
      queue_.at(queue_.now() + keepalive_idle, [this, conn, of] { keep_alive(conn, of); });
    }
    c.bound = true;
    c.origin_life = target.life();
    nodes_[static_cast<size_t>(receiver)].open.push_back(conn);
  }
  const uint32_t life = to == side::proxy ? c.proxy_life : c.origin_life;
  const bool reachable = target.up() && target.life() == life && c.open[index(to)];
  if (p.what == packet::kind::keepalive && reachable) {
    c.lanes[index(other(to))].arrived = queue_.now();  // acknowledged
  } else if (reachable) {
    target.input([this, conn, to, p] { hand_over(conn, to, p); });
  } else if (p.what != packet::kind::fin && p.what != packet::kind::reset && c.open[index(other(to))]) {
    packet back;  // what the kernel says of a connection that it does not know
    back.what = packet::kind::reset;
    send(conn, to, back);
  }
}

void network::keep_alive(int conn, side of) {
  const connection& c = connections_[static_cast<size_t>(conn)];
  if (!c.open[index(of)]) return;
  time_point next = c.lanes[index(of)].arrived + keepalive_idle;
  if (next <= queue_.now()) {
    packet p;
    p.what = packet::kind::keepalive;
    send(conn, of, p);
    next = queue_.now() + 1s;
  }
  queue_.at(next, [this, conn, of] { keep_alive(conn, of); });
}

/// In the receiver's event loop, which may have closed it while the packet waited.
void network::hand_over(int conn, side to, const packet& p) {
  connection& c = connections_[static_cast<size_t>(conn)];
  if (!c.open[index(to)]) return;
  endpoint* const handler = nodes_[static_cast<size_t>(to == side::proxy ? c.proxy : c.origin)].handler;
  if (p.what != packet::kind::fin && p.what != packet::kind::reset) return handler->on_packet(conn, p);
  c.open[index(to)] = false;
  handler->on_closed(conn, p.what == packet::kind::reset);
}

/// Nothing was acknowledged for so long: the sender's kernel ends the connection, the peer does not learn.
void network::give_up(int conn, side from) {
  connection& c = connections_[static_cast<size_t>(conn)];
  if (!c.open[index(from)]) return;
  const node sender = from == side::proxy ? c.proxy : c.origin;
  process& target = *nodes_[static_cast<size_t>(sender)].runs;
  if (!target.up() || target.life() != (from == side::proxy ? c.proxy_life : c.origin_life)) return;
  target.input([this, conn, from] {
    connection& then = connections_[static_cast<size_t>(conn)];
    if (!std::exchange(then.open[index(from)], false)) return;
    nodes_[static_cast<size_t>(from == side::proxy ? then.proxy : then.origin)].handler->on_closed(conn, true);
  });
}

}  // namespace sluice::sim
