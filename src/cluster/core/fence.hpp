#pragma once

#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "cluster/core/ownership.hpp"
#include "cluster/core/stream_key.hpp"

namespace sluice::cluster {

/// An origin's side of ownership: which epochs it has seen, so that nobody with an older one can publish here, and
/// whether it may send new media after it was stopped itself. Pure; one thread. See "Who owns a stream".
///
/// Epochs are remembered while the stream is held, and afterwards for the last `forgotten_max` streams.
class fence {
 public:
  /// `proxies`: whether this origin has anybody to ask; without, a stop confirms itself.
  fence(bool proxies, base::time_point now, size_t streams_max = 100'000, size_t forgotten_max = 100'000);

  /// A publisher came with the epoch (zero: none, straight from an encoder). On success returns the epoch under which
  /// it publishes: its own, or the current one when it has none (whether the stream has a publisher already is for the
  /// directory to judge). Error reasons: stale_epoch, too_many_streams.
  base::result<epoch> publish(const stream_key& key, const epoch& e);
  /// A proxy told of an epoch; from now on no lower one can publish here. True: it is above that under which the copy
  /// held here was published. If a reply to a heartbeat said so, another origin has the stream, and the copy must be
  /// dropped. A player's connect names the epoch of which *this* origin is the owner: its publisher is on his way here,
  /// and whether he may push out the one there is second_publisher's business.
  bool told(const stream_key& key, const epoch& e);
  /// The stream's copy is held (has a publisher) from now on, or not any more. To be called after publish() when the
  /// directory took the publisher, too.
  void held(const stream_key& key, bool on);
  epoch current(const stream_key& key) const;

  /// To be called at every wake-up, before any other work: a gap of more than `stop_max` since the last call means that
  /// this process was stopped. From then on suspended() is true until confirmed().
  void woke(base::time_point now);
  /// No new media may be sent to anybody.
  bool suspended() const { return suspended_; }
  /// A proxy has answered a heartbeat that was sent, with the whole list, after the stop was noticed (`sent_at`);
  /// fenced streams were told() before.
  void confirmed(base::time_point sent_at);

  static constexpr base::duration stop_max = std::chrono::seconds(3);
  /// The caller wakes up at least this often.
  static constexpr base::duration wake_interval = std::chrono::milliseconds(500);

 private:
  struct entry {
    cluster::epoch highest;
    cluster::epoch copy;  // under which the copy held here was published
    bool held = false;
    std::list<stream_key>::iterator forgotten_at;  // in forgotten_ unless held
  };
  entry& see(const stream_key& key, const epoch& e);
  void trim();

  const bool proxies_;
  const size_t streams_max_, forgotten_max_;
  std::unordered_map<stream_key, entry> entries_;
  std::list<stream_key> forgotten_;  // not held, oldest first
  size_t held_ = 0;
  base::time_point woke_at_;
  base::time_point suspended_at_{};
  bool suspended_ = false;
};

}  // namespace sluice::cluster
