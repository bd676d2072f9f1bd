#pragma once

#include <map>
#include <string>
#include <unordered_map>

#include "cluster/core/coordinator.hpp"
#include "sim/network.hpp"

namespace sluice::sim {

class proxy;
class world;

/// Carries out a coordinator's probes, as src/relay/control_link does: pings on a connection that is kept, and made
/// anew when it broke or no answer came for a while; handshakes on a fresh one.
class prober {
 public:
  explicit prober(proxy& px, world& w) : px_(px), w_(w) {}
  void ask(const cluster::action::probe& a);
  /// False: not a connection of probes.
  bool on_packet(int conn, const packet& p);
  bool on_closed(int conn);

 private:
  struct line {
    int conn = -1;
    bool proven = false;     // something came on this connection
    bool handshake = false;  // the probe that is out wants no more than one answer
    bool out = false;
    time_point until{};
    uint64_t turn = 0;  // counts the probes
    unsigned breaks = 0;
    time_point unanswered_since = base::never;
  };
  void dial(const std::string& origin_id, line& l);
  void hang_up(line& l);
  void answer(const std::string& origin_id, line& l, cluster::probe_answer a);

  proxy& px_;
  world& w_;
  std::map<std::string, line> lines_;
  std::unordered_map<int, std::string> by_conn_;
};

}  // namespace sluice::sim
