#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <random>
#include <unordered_map>
#include <vector>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "cluster/core/stream_key.hpp"
#include "media/hub.hpp"
#include "relay/dial_gate.hpp"
#include "relay/director.hpp"
#include "relay/failover_metrics.hpp"
#include "relay/upstream.hpp"
#include "relay/watchers.hpp"
#include "runtime/loop.hpp"
#include "servers/rtmp/hub_flusher.hpp"

namespace sluice::relay {

enum class relay_mode : uint8_t {
  automatic,   ///< collapse for Sluice origins, per viewer for all others
  per_viewer,  ///< each viewer has an upstream connection: the origin sees each
  collapse,    ///< one pull per stream and proxy
};

enum class address_prefix : uint8_t { sluice_only, always, never };

/// Memory that all publishers' retention may hold together. Shared by the shards.
struct retention_budget {
  std::atomic<size_t> used{0};
  size_t bytes_max = SIZE_MAX;
};

class publication_ends;

/// What all relays of a proxy go by. Immutable, but for the budgets that it points to.
struct relay_config {
  relay_mode mode = relay_mode::automatic;
  address_prefix prefix = address_prefix::sluice_only;
  cluster::vhost_rules vhosts;
  upstream_config upstream;
  media::hub_limits shared_hub;           ///< of a pull with many viewers
  media::hub_limits private_hub;          ///< of a per-viewer relay
  media::hub_limits retention_hub;        ///< of a publisher
  retention_budget* retention = nullptr;  ///< outlives the shards
  publication_ends* ends = nullptr;       ///< likewise; without: each publication is numbered anew
  size_t retention_bytes_max = 8u << 20;  ///< per stream: over it the oldest GOP goes, once the origin has it
  base::duration hls_segment = std::chrono::seconds(2);  ///< the least length of a segment of what is published here
  base::duration play_wait = std::chrono::seconds(10);
  base::duration recover_wait = std::chrono::seconds(30);  ///< of publishers and viewers whose origin is gone
  base::duration linger = std::chrono::seconds(3);         ///< a pull without viewers is kept so long
  size_t backlog_max = 2u << 20;          ///< unsent bytes towards an origin above which the publisher is not read
  size_t viewer_backlog_max = 64u << 10;  ///< the same of a per-viewer relay towards its viewer
  unsigned claim_attempts = 5;            ///< origins tried for one publish
  /// SRS says Publish.Start, then asks its hooks, and refuses by a bare close: one so soon after the start means no.
  base::duration refusal_time = std::chrono::seconds(2);
  /// After a fail-over to an origin without numbers viewers come first: it is shown the replay after so long.
  base::duration replay_delay = std::chrono::milliseconds(200);
  dial_gate_limits dials;  ///< of what replaces lost connections
};

/// What publishers' retention holds on one shard.
struct retention_metrics {
  explicit retention_metrics(base::metrics& m)
      : bytes(m.gauge("sluice_retained_bytes", "Media of publishers kept for a fail-over.")),
        evicted(m.counter("sluice_retention_evicted_frames_total",
                          "Frames given up early: over the limit of a stream or of all.")) {}
  base::metric_cell& bytes;
  base::metric_cell& evicted;
};

class feed_set;
class publish_relay;
class pull_feed;

/// What the relays of one shard share. One per loop; all shards of a proxy are made before any runs.
struct shard_context {
  unsigned index;
  runtime::loop& loop;
  base::log_sink& log;
  base::metrics& metrics;
  const relay_config& config;
  director& control;
  servers::hub_flusher& flusher;         ///< with the configured merge delay
  servers::hub_flusher& prompt_flusher;  ///< without: for what was merged by another shard already
  upstream_metrics upstream_cells;
  retention_metrics retention_cells;
  failover_metrics failover_cells;
  const std::vector<feed_set*>& all;  ///< of every shard, by index

  // Who is to hear what the control thread finds out. Each enters and leaves by himself.
  origin_watchers watchers{};
  std::unordered_multimap<cluster::stream_key, publish_relay*> publishers{};  ///< those that run, by stream
  std::unordered_multimap<cluster::stream_key, pull_feed*> pulls{};
  std::unordered_multimap<cluster::stream_key, owner_watcher*> followers{};
  dial_gate gate{loop, config.dials};
  uint64_t publications = 0;  ///< begun on this shard
  std::minstd_rand random{static_cast<uint32_t>(loop.now().time_since_epoch().count()) + index};  ///< for waits

  /// What has ended but may still be on the stack, or has something left to do: destroyed by release(), or when the
  /// shard stops.
  std::unordered_map<const void*, std::shared_ptr<void>> ending{};
  void keep(std::shared_ptr<void> object) { ending.emplace(object.get(), std::move(object)); }
  void release(const void* object) {
    loop.defer([this, object] { ending.erase(object); });
  }

  // Posted by the control thread (coordinator actions of these names).
  void origin_lost(const std::string& origin_id, cluster::loss_reason reason) { watchers.lost(origin_id, reason); }
  void owner_changed(const cluster::stream_key& key, const cluster::assignment& to);
  void move(const cluster::action::move& what);
};

/// A follower's entry, for as long as it lives or until it leaves.
class owner_watch {
 public:
  owner_watch(shard_context& shard, owner_watcher& w) : shard_(shard), watcher_(w) {}
  ~owner_watch() { stop(); }
  owner_watch(const owner_watch&) = delete;
  owner_watch& operator=(const owner_watch&) = delete;
  void start(const cluster::stream_key& key) {
    stop();
    shard_.followers.emplace(key, &watcher_);
    key_ = key;
  }
  void stop() {
    if (!key_) return;
    auto [at, end] = shard_.followers.equal_range(*key_);
    while (at != end && at->second != &watcher_) ++at;
    if (at != end) shard_.followers.erase(at);
    key_.reset();
  }

 private:
  shard_context& shard_;
  owner_watcher& watcher_;
  std::optional<cluster::stream_key> key_;
};

}  // namespace sluice::relay
