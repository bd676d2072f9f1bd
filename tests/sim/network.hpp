#pragma once

#include <array>
#include <deque>
#include <functional>
#include <vector>

#include "cluster/core/ownership.hpp"
#include "sim/event_queue.hpp"
#include "sim/random.hpp"

namespace sluice::sim {

/// Index of a process in the network: first the proxies, then the origins, then the store.
using node = int;

enum class refusal : uint8_t {
  none,
  stale_epoch,
  second_publisher,
  at_capacity,
  fenced,
  taken_over,
  kicked,
  no_publisher
};
const char* name_of(refusal why);

/// What goes over a connection between a proxy and an origin.
struct packet {
  enum class kind : uint8_t {
    publish,    ///< connect and publish: epoch, source, first = oldest number that the proxy still has
    published,  ///< agreed: number = the next one that the origin wants of this source
    play,       ///< connect and play: epoch, source and number = where to go on (source 0: nowhere yet)
    playing,    ///< agreed
    media,      ///< message `number` of `source`, sent under `epoch`
    ack,        ///< bytes that only show life
    ping,       ///< on a connection of its own
    pong,
    refuse,     ///< a status: why; the sender closes after it
    goodbye,    ///< the publisher has ended in an orderly way
    keepalive,  ///< of the kernel, as are the next two
    fin,
    reset,
  };
  kind what = kind::ack;
  refusal why = refusal::none;
  int stream = 0;
  uint32_t session = 0;
  cluster::epoch epoch;
  uint64_t source = 0;
  int64_t number = 0;
  int64_t first = 0;
};

enum class side : uint8_t { proxy, origin };

/// How a network misbehaves, throughout a schedule.
struct network_conditions {
  duration delay_min = 200us, delay_max = 2ms;
  int loss_percent = 0;        ///< of one-shot requests; on a connection it costs a retransmission
  int duplicate_percent = 0;   ///< of one-shot requests
  int late_percent = 0;        ///< of one-shot requests: overtaken by those that follow
  int lost_reset_percent = 0;  ///< a reset that meets a partition is not sent again
};

/// Links with delay, loss, duplication and partitions; connections on them, in order and reliable, as TCP is: a
/// partition only stalls them, until the sender's kernel gives up.
class network {
 public:
  /// What is at the other end of a connection. Calls come within the process.
  class endpoint {
   public:
    virtual void on_packet(int conn, const packet& p) = 0;
    /// The peer or its kernel closed it; nothing follows.
    virtual void on_closed(int conn, bool by_reset) = 0;

   protected:
    ~endpoint() = default;
  };
  enum class traffic : uint8_t { all, connections };  ///< what a partition stops: everything, or RTMP alone

  network(event_queue& queue, random_source& random, const network_conditions& conditions)
      : queue_(queue), random_(random), conditions_(conditions) {}
  /// In the order of the nodes' numbers. `handler` may be null for a node without connections.
  void add(process& p, endpoint* handler) { nodes_.push_back({&p, handler, {}}); }
  void start() { links_.assign(nodes_.size() * nodes_.size(), {}); }

  /// Partitions may overlap: the link is up again when each has ended.
  void cut(node a, node b, traffic what);
  void mend(node a, node b, traffic what);
  bool is_cut(node a, node b, traffic what) const;
  /// No loss, duplication or lateness from now on.
  void calm();

  /// A request of its own (HTTP): it arrives once, twice, late or never. `make` gives what runs at `to`.
  void post(node from, node to, const std::function<inner_callback()>& make);
  /// The same, never doubled. False: it is lost already.
  bool deliver(node from, node to, inner_callback fn);
  duration delay();

  /// A connection to whoever serves at the origin's address when the first packet arrives.
  int dial(node proxy, node origin);
  void send(int conn, side from, const packet& p);
  /// Nothing more is handed to `from`; the other side learns in its turn.
  void close(int conn, side from, bool by_reset = false);
  bool is_open(int conn, side s) const { return connections_[static_cast<size_t>(conn)].open[index(s)]; }
  /// A process has taken the connection.
  bool was_connected(int conn) const { return connections_[static_cast<size_t>(conn)].bound; }
  /// All its connections are gone; `silent`: with its machine, so that nobody is told.
  void died(node n, bool silent);

 private:
  struct lane {            // towards one side
    time_point last{};     // that something was sent
    time_point arrived{};  // that something came
    std::deque<packet> stalled;
    uint64_t stall = 0;  // of the kernel's patience
  };
  struct connection {
    node proxy = 0, origin = 0;
    uint32_t proxy_life = 0, origin_life = 0;
    bool bound = false;  // to the origin's life
    std::array<bool, 2> open{true, true};
    std::array<lane, 2> lanes;
    duration user_timeout{};
  };
  struct member {
    process* runs;
    endpoint* handler;
    std::vector<int> open;  // its connections, closed ones among them until the next look
  };
  struct link {
    int cut_all = 0, cut_connections = 0;
  };
  static size_t index(side s) { return static_cast<size_t>(s); }
  static side other(side s) { return s == side::proxy ? side::origin : side::proxy; }
  link& between(node a, node b) { return links_[static_cast<size_t>(a) * nodes_.size() + static_cast<size_t>(b)]; }
  const link& between(node a, node b) const { return const_cast<network*>(this)->between(a, b); }
  void arrive(int conn, side to, const packet& p);
  void watch(int conn, side to);
  void keep_alive(int conn, side of);
  void resume(int conn, side to);
  void take(int conn, side to, const packet& p);
  void hand_over(int conn, side to, const packet& p);
  void give_up(int conn, side from);

  event_queue& queue_;
  random_source& random_;
  network_conditions conditions_;
  std::vector<member> nodes_;
  std::vector<link> links_;
  std::deque<connection> connections_;
};

}  // namespace sluice::sim
