#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "cluster/core/coordinator.hpp"
#include "sim/network.hpp"

namespace sluice::sim {

class encoder;
class viewer;
class world;

/// Knows what truly happens, by its own books, and holds it against the invariants (README.md). Throws `violation`.
class monitor {
 public:
  explicit monitor(world& w);

  // -- at origins
  void origin_started(node n);
  void publish_accepted(node n, int stream, const cluster::epoch& e);
  /// `fenced`: a proxy says that another origin has it.
  void epoch_told(node n, int stream, const cluster::epoch& e, bool fenced);
  void media_sent(node n, int stream, const cluster::epoch& e);
  void origin_stopped_for(node n, duration d);
  void origin_confirmed(node n, time_point beat_sent_at);
  /// A player who had everything below `from` goes on at `oldest`; the publisher's proxy offered all from `kept`.
  void gap(node n, int stream, int64_t from, int64_t oldest, int64_t kept);

  // -- at proxies
  struct silence {  // an origin as a proxy sees it
    std::string id;
    duration bytes{};                  ///< since the last byte
    duration any{};                    ///< since the last byte or heartbeat
    time_point lost_at = base::never;  ///< taken for dead, and not back since
    bool gone = false;                 ///< proven to be
  };
  void origin_lost(node n, const std::string& origin_id, cluster::loss_reason reason,
                   const std::vector<silence>& origins);
  /// A publisher has gone on at another origin; `before`: when he did so the last time.
  void moved(int stream, const std::string& from, bool off_silent, time_point before, time_point decided_at);

  /// Now and then: liveness after the last fault, one owner per stream.
  void look();
  duration served_after_max() const { return served_after_max_; }
  duration watched_after_max() const { return watched_after_max_; }

 private:
  struct at_origin {
    std::vector<cluster::epoch> highest;  // by stream: accepted or told, in this life
    std::vector<cluster::epoch> fenced;   // by stream: told to belong to others
    bool unconfirmed = false;
    time_point stopped_until{};
  };
  bool is_served(int stream) const;
  bool is_watched(const viewer& v) const;
  void check_owners();
  void check_served();
  void check_store();

  world& w_;
  std::vector<at_origin> origins_;
  std::map<std::pair<int, cluster::epoch>, node> accepted_by_;
  std::vector<time_point> doubled_since_;   // by stream: two origins have a publisher; never: they do not
  std::vector<time_point> unserved_since_;  // by stream: no origin accepts it
  std::vector<time_point> unlike_since_;    // by stream: the store names another origin than the one that has it
  duration served_after_max_{}, watched_after_max_{};
};

}  // namespace sluice::sim
