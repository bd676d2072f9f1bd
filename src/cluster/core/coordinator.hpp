#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/endpoint.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "cluster/core/ownership.hpp"
#include "cluster/core/registration.hpp"
#include "cluster/core/stream_key.hpp"

namespace sluice::cluster {

/// When an input came: the monotonic time decides deadlines, the wall clock only epochs.
struct moment {
  base::time_point now;
  uint64_t wall_ms = 0;
};

/// Where a client of a stream is to be sent.
struct assignment {
  std::string origin_id;  ///< the incarnation, `server-service-pid`
  std::string server_id;
  std::string device_id;
  std::vector<base::endpoint> rtmp;
  bool is_sluice = false;
  /// False: nobody owns the stream and play_unowned says to try this origin; `epoch` is then zero.
  bool owned = true;
  cluster::epoch epoch;
};

enum class play_unowned : uint8_t { wait, relay };

struct coordinator_config {
  std::string proxy_id;
  uint64_t seed = 0;                                        ///< of claim ids and jitter: from the kernel's randomness
  base::duration origin_ttl = std::chrono::seconds(300);    ///< PROXY_ORIGIN_SERVER_TTL
  base::duration stream_ttl = std::chrono::seconds(60);     ///< an owner is kept so long after the last use
  base::duration play_wait = std::chrono::seconds(10);      ///< what find() waits when told no deadline
  base::duration claim_wait = std::chrono::seconds(3);      ///< how long a publisher waits for an origin to appear
  base::duration unstarted_ttl = std::chrono::seconds(10);  ///< a granted claim must start to publish within it
  base::duration miss_ttl = std::chrono::seconds(1);        ///< a store that knew no owner is not asked again before
  base::duration probe_timeout = std::chrono::milliseconds(300);
  base::duration probe_interval = std::chrono::seconds(2);  ///< of origins that send no heartbeats, or are dead
  base::duration snapshot_interval = std::chrono::milliseconds(100);
  cluster::play_unowned play_unowned = play_unowned::wait;
  size_t origins_max = 1000;
  /// Streams known, owned or waited for. A small part of both limits is kept for claims: a flood of players cannot lock
  /// publishers out. Streams merely remembered, and claims granted but not used, make way before anybody is refused.
  size_t streams_max = 100'000;
  size_t requests_max = 100'000;  ///< claims and finds without an answer yet
  /// PROXY_DEFAULT_BACKEND: an origin that never registers, kept alive by probes.
  std::optional<origin_registration> default_backend;
};

enum class origin_health : uint8_t {
  alive,
  suspect,  ///< silent or refusing: being probed; picked only if nobody is alive, and not if it was dead before
  dead,     ///< never picked; comes back by a good probe or dial, or by a heartbeat if it was those that stopped
};

enum class origin_verdict : uint8_t { alive, dead, new_incarnation };

enum class probe_kind : uint8_t {
  api_versions,  ///< GET /api/v1/versions at one of `targets`: ok on status 200; incarnation from server, service, pid
                 ///< if there
  rtmp_handshake,  ///< connect, send C0 C1, ok when S0 S1 came
};

namespace action {
/// Ask the origin whether it lives; tell probe_result(). Connecting in vain or an answer after `timeout` is not ok.
struct probe {
  std::string origin_id;
  probe_kind kind = probe_kind::rtmp_handshake;
  std::vector<base::endpoint> targets;  ///< the first that answers will do
  base::duration timeout{};
};
/// Submit to the owner_store; tell store_replied().
struct store {
  store_request request;
};
struct reply_claim {
  uint64_t request_id = 0;
  base::result<assignment>
      answer;  ///< reasons: no_origin, origins_full, too_many_streams, too_many_waiters, store_conflict, store_…
};
struct reply_find {
  uint64_t request_id = 0;
  base::result<assignment>
      answer;  ///< reasons: stream_not_found, no_origin (relay), too_many_streams, too_many_waiters
};
/// The answer to origin_closed().
struct verdict {
  uint64_t ask_id = 0;
  origin_verdict answer = origin_verdict::alive;
};
/// snapshot() has changed; at most one per snapshot_interval.
struct snapshot_changed {};
struct log {
  base::log_level level = base::log_level::info;
  std::string_view event;
  std::vector<base::log_field> fields;
};
}  // namespace action

using coordinator_action = std::variant<action::probe, action::store, action::reply_claim, action::reply_find,
                                        action::verdict, action::snapshot_changed, action::log>;

/// For metrics and status pages.
struct cluster_snapshot {
  struct origin {
    std::string id, server_id, device_id;
    std::vector<base::endpoint> rtmp;
    origin_health health = origin_health::alive;
    bool is_sluice = false;
    size_t streams = 0;  ///< load as placement sees it
  };
  std::vector<origin> origins;
  size_t streams = 0;  ///< streams published through this proxy now
  size_t waiting = 0;  ///< claims and finds without an answer
};

/// The brain of a proxy's control thread, without I/O: which origins live (registry), where a new stream goes
/// (placement), who owns a stream (through a store). Every input may leave actions: drain poll_action() after each,
/// carry them out, and call on_timeout() at next_deadline(). One thread. Request and ask ids are the caller's, unique
/// while unanswered; each request gets exactly one reply, or none after cancel(). Rules: docs of "who owns a stream" in
/// src/cluster/core/README.md.
class coordinator {
 public:
  coordinator(coordinator_config config, moment at);
  ~coordinator();
  coordinator(const coordinator&) = delete;
  coordinator& operator=(const coordinator&) = delete;

  /// A heartbeat or a first registration. Error reasons: voided_incarnation, too_many_origins.
  base::result<void> registration(origin_registration reg, moment at);

  /// A publisher wants to start (or to go on elsewhere). Answered with the owner there is while its origin lives, else
  /// a new owner is placed and claimed. `exclude`: ids of origins that this session could not reach just now; they stay
  /// excluded until they have answered since. `session` names the publisher: when it claims the stream again with
  /// `exclude`, its claim_wait counts from its first claim. A grant that publish_started() does not follow within
  /// unstarted_ttl is undone.
  void claim(uint64_t request_id, const stream_key& key, std::string session, std::vector<std::string> exclude,
             moment at);
  /// A player wants the owner. Never writes. Waits until `deadline` (base::never: play_wait from now) for one.
  void find(uint64_t request_id, const stream_key& key, base::time_point deadline, moment at);
  /// The asker is gone: no reply. Of a claim, answered or not, what it wrote is undone, unless somebody publishes with
  /// it, or did. Nothing for a claim whose publish has started.
  void cancel(uint64_t request_id, moment at);

  /// The origin agreed to the publish that claim() answered with this epoch: the mapping is renewed until
  /// publish_ended().
  void publish_started(const stream_key& key, const epoch& e, moment at);
  void publish_ended(const stream_key& key, const epoch& e, moment at);

  /// Outcome of a session's connect to an origin. A failed one makes it suspect and probes it.
  void dial_failed(const std::string& origin_id, moment at);
  void dial_ok(const std::string& origin_id, moment at);
  /// An origin closed a connection: is it gone? Answered by action::verdict after a probe (at most two probe timeouts).
  void origin_closed(uint64_t ask_id, const std::string& origin_id, moment at);

  /// `incarnation`: `server-service-pid` as the origin told it, if it did.
  void probe_result(const std::string& origin_id, bool ok, const std::optional<std::string>& incarnation, moment at);
  void store_replied(store_reply reply, moment at);
  void on_timeout(moment at);

  base::time_point next_deadline() const;
  std::optional<coordinator_action> poll_action();
  cluster_snapshot snapshot() const;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace sluice::cluster
