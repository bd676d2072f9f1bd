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
  std::vector<base::endpoint> rtmp, http, srt, rtc_udp, rtc_tcp, api;
  bool is_sluice = false;
  /// False: nobody owns the stream and play_unowned says to try this origin; `epoch` is then zero.
  bool owned = true;
  cluster::epoch epoch;
};

enum class play_unowned : uint8_t { wait, relay };

/// By whom a registration came.
enum class registered_by : uint8_t {
  origin,  ///< it sent this proxy a heartbeat, and gets the reply
  proxy,   ///< another proxy had the heartbeat and passed it on: nobody hears the reply
  store,   ///< the store remembers it: the origin need not be any more
};

/// By which a publisher comes; an origin that does not serve it (transport.hpp) is of no use to him.
enum class transport : uint8_t { rtmp, srt, rtc };

/// What a publisher asks for.
struct claim_request {
  std::string session;                      ///< names the publisher
  std::vector<std::string> exclude;         ///< ids of origins that this session could not reach just now
  base::time_point deadline = base::never;  ///< of its wait for an origin; never: claim_wait from now
  /// The session publishes already, and its owner is lost: the stream counts as degraded until publish_started().
  bool fail_over = false;
  /// The epoch that the owner has just refused as stale_epoch or, if it told, the one that it has seen; zero: none. A
  /// record of it, or of a lower one, is replaced by a new epoch above it, at the same origin if that lives.
  epoch refused = {};
  /// The owner must serve it. One that does not is replaced, unless somebody publishes the stream there.
  transport by = transport::rtmp;
};

struct coordinator_config {
  std::string proxy_id;
  uint64_t seed = 0;                                      ///< of claim ids and jitter: from the kernel's randomness
  base::duration origin_ttl = std::chrono::seconds(300);  ///< PROXY_ORIGIN_SERVER_TTL
  base::duration stream_ttl = std::chrono::seconds(60);   ///< an owner is kept so long after the last use
  /// What is published is renewed in the store after 3/4 of it to all of it; zero: a third of stream_ttl. Nothing else
  /// asks the store about a stream that is published and watched without a fault.
  base::duration renew_interval{};
  base::duration play_wait = std::chrono::seconds(10);      ///< what find() waits when told no deadline
  base::duration claim_wait = std::chrono::seconds(3);      ///< how long a publisher waits for an origin to appear
  base::duration unstarted_ttl = std::chrono::seconds(10);  ///< a granted claim must start to publish within it
  base::duration miss_ttl = std::chrono::seconds(1);        ///< a store that knew no owner is not asked again before
  base::duration probe_timeout = std::chrono::milliseconds(300);
  base::duration probe_interval = std::chrono::seconds(2);  ///< of origins that send no heartbeats, or are dead
  /// Of every origin that may carry streams: pings by which its silence is measured (see `suspect_after`).
  base::duration ping_interval = std::chrono::milliseconds(500);
  base::duration suspect_after =
      std::chrono::seconds(1);  ///< no byte from it on any connection, no answer, no heartbeat
  base::duration dead_after = std::chrono::seconds(2);
  /// Of the origins that lived, half or more (and at least two) silent within this time: the fault is ours, none of
  /// them is taken for dead by its silence.
  base::duration mass_silence_window = std::chrono::seconds(10);
  /// A stream whose owner fell silent, or was drained, moves at most once in this time. One whose owner is proven gone
  /// moves at once.
  base::duration move_interval = std::chrono::seconds(10);
  unsigned breaker_failures =
      5;  ///< sessions in a row that an origin failed, while it answers probes: no new streams …
  base::duration breaker_open = std::chrono::seconds(5);  ///< … for so long, then one is tried
  unsigned drain_moves_max = 16;                          ///< moves under way at once
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
  dead,     ///< never picked; comes back by a good probe or dial (a heartbeat starts a probe at once)
};

enum class origin_verdict : uint8_t { alive, dead, new_incarnation };

/// How an origin was lost.
enum class loss_reason : uint8_t {
  gone,    ///< it refuses connections, or another incarnation is in its place
  silent,  ///< it gave no sign of life for dead_after
};

enum class probe_kind : uint8_t {
  /// PingRequest on a control connection that the shell keeps (made if there is none): ok when the answer came, gone
  /// when the connection is refused or breaks. Routine only, for Sluice origins: gone is followed by a question of one
  /// of
  /// the kinds below, and is no death by itself. The incarnation, if the connection's other end has told it.
  rtmp_ping,
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
/// The origin is dead: sessions with it end now; nothing more is read from it. Each loss is told once: again only if
/// the origin has answered since. Of those that asked by origin_closed() the verdicts follow.
struct origin_lost {
  std::string origin_id;
  loss_reason reason = loss_reason::gone;
};
/// The stream's owner, as far as this proxy cares (somebody here publishes it or was told an owner), is another now:
/// whoever is fed from a lower epoch, or from an origin without a publisher, goes there. Comes when the owner is
/// claimed (its publisher is then still on his way there), or when an origin with a publisher is found; `to.epoch` may
/// be lower than what was told before, or zero, if only there is a publisher. A publisher of this proxy with another
/// epoch than `to.epoch` has lost the stream, unless it was he who claimed or moved it (then this comes before his
/// reply_claim). Without endpoints the owner's origin is not known here, which concerns nobody but such a publisher.
struct owner_changed {
  stream_key key;
  assignment to;
};
/// Of a drain. The publisher of this proxy who publishes `key` with epoch `from` shall move to `to`, make before break:
/// publish there with `to.epoch`, which nobody knows yet; once accepted commit_move(), then switch. Else
/// move_refused(). What is not answered within unstarted_ttl counts as refused (`no_answer`); a commit after that is
/// still taken. If the publisher leaves, publish_ended(from) is answer enough.
struct move {
  stream_key key;
  epoch from;
  assignment to;
};
/// snapshot() has changed; at most one per snapshot_interval.
struct snapshot_changed {};
struct log {
  base::log_level level = base::log_level::info;
  std::string_view event;
  std::vector<base::log_field> fields;
};
}  // namespace action

using coordinator_action =
    std::variant<action::probe, action::store, action::reply_claim, action::reply_find, action::verdict,
                 action::origin_lost, action::owner_changed, action::move, action::snapshot_changed, action::log>;

/// What the proxy tells an origin in reply to its heartbeat.
struct registration_reply {
  /// Streams that this origin says to hold and that have a higher epoch elsewhere: it drops its copy. Told with every
  /// reply until its lists show that it did; of a copy without a publisher with the replies to heartbeats that list it.
  /// Elsewhere means: published (or being failed over) through this proxy at another origin, or held with a publisher
  /// by another living origin.
  std::vector<std::pair<std::string, epoch>> fenced;
  bool want_whole = false;  ///< this proxy wants the whole list of streams with the next heartbeat
};

/// How a probe went.
enum class probe_answer : uint8_t {
  ok,
  silent,  ///< connected, or not even that, and no answer within the timeout
  gone,    ///< refused, reset, closed: nobody serves there
};

/// One line of a stream's history, for `explain`.
struct history_event {
  uint64_t wall_ms = 0;
  /// Of this class: owner (with why it is another), published, move_refused, ended. By note(), of those who know what
  /// it meant for the media: lost, failed_over, moved, gap …
  std::string what;
  std::string origin;  ///< id of the origin concerned, may be empty
  cluster::epoch epoch;
  std::string reason;
};

/// A stream that this proxy has to do with, for status pages.
struct stream_status {
  stream_key key;
  std::string origin_id;  ///< of the owner as last heard, empty: none
  cluster::epoch epoch;
  std::string session;    ///< that publishes it through this proxy, empty: none
  bool degraded = false;  ///< published here, and without an owner now
  bool held = false;      ///< an origin says that it has a publisher for it
};

/// For metrics and status pages.
struct cluster_snapshot {
  struct origin {
    std::string id, server_id, device_id;
    std::vector<base::endpoint> rtmp;
    origin_health health = origin_health::alive;
    bool is_sluice = false;
    size_t streams = 0;  ///< load as placement sees it
    std::string service, pid;
    double weight = 1;
    uint32_t capacity = 0;
    bool draining = false;
    size_t to_move = 0;                     ///< streams published here that are still there, while draining
    std::vector<std::string> move_refused;  ///< `stream: reason`, of this drain, the last 100
    bool breaker_open = false;
    base::time_point heard_at{};  ///< the last sign of life of any kind
  };
  std::vector<origin> origins;
  size_t streams = 0;   ///< streams published through this proxy now
  size_t degraded = 0;  ///< of these, without an owner now
  bool mass_silence = false;
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

  /// A heartbeat or a first registration. What it lists is taken even from an origin that is dead, and counts once that
  /// lives. Its lists are wanted whole after each time that it was added or dead. Error reasons: voided_incarnation,
  /// outdated_record, too_many_origins.
  /// What the store remembers was said `ago` (by the clocks of two proxies; negative counts as now), and is no sign
  /// that the origin goes on. Of the incarnations of a server, which may be in the store side by side until their time
  /// is over, only a later one takes the place of another. What other proxies pass on may be lost, late or doubled;
  /// lists of streams are then told apart by sluice_info::beat. Whoever gets the heartbeat of an origin answers for all
  /// proxies, by what he knows.
  base::result<registration_reply> registration(origin_registration reg, moment at,
                                                registered_by by = registered_by::origin, base::duration ago = {});
  /// The last byte from the origin, on any connection, came then. To be told (for all origins that sessions are
  /// connected to) before on_timeout() and probe_result(). Leaves no actions: what it changes shows at the next
  /// on_timeout(). It brings nobody back from the dead.
  void heard(const std::string& origin_id, base::time_point when);

  /// A publisher wants to start (or to go on elsewhere). Answered with the owner there is while its origin lives, else
  /// a new owner is placed and claimed. Excluded origins stay so until they have answered since. When a session claims
  /// the stream again with `exclude`, its wait counts from its first claim (if request.deadline is never). A grant that
  /// publish_started() does not follow within unstarted_ttl is undone. A claim waits, within its time: for the origin
  /// of a record that was never heard of, up to half of claim_wait; for an excluded owner that is silent in a mass
  /// silence and may have the stream, until it answers (and is kept), is dead, or the silence is over for dead_after.
  /// With `fail_over`, publish_ended() of the old epoch comes first. Then the owner is kept if it lives and is not
  /// excluded (also if it is drained and no other origin is there); if it is proven gone it is replaced at once; if it
  /// is merely silent, or excluded, and the stream has moved within move_interval, the claim waits until that is over,
  /// the owner is proven gone, or it answers (and is kept). An owner that was claimed but never published with has no
  /// such protection. While nobody can take the stream the claim waits until its deadline (no_origin); an origin that
  /// registers, comes back or has room wakes it. A store that fails does not end it.
  /// An owner that does not serve the claimant's transport is replaced once the store has said, for this claim, that
  /// nobody publishes there; one that may be about to get its publisher not before half of claim_wait. While somebody
  /// publishes the stream at such an origin the claim fails (already_published).
  void claim(uint64_t request_id, const stream_key& key, claim_request request, moment at);
  /// A player wants the owner. Never writes. Waits until `deadline` (base::never: play_wait from now) for one.
  void find(uint64_t request_id, const stream_key& key, base::time_point deadline, moment at);
  /// Players here are still fed from this stream: that they are to hear of its next owner is remembered for another
  /// stream_ttl. To be told more often than that (not needed for streams that their origin lists). Asks nobody.
  void watched(const stream_key& key, moment at);
  /// The asker is gone: no reply. Of a claim, answered or not, what it wrote is undone, unless somebody publishes with
  /// it, or did. Nothing for a claim whose publish has started.
  void cancel(uint64_t request_id, moment at);
  /// The owner that the claim was answered with refuses its publisher for good, who has left. What the claim wrote is
  /// not undone before unstarted_ttl: another one who publishes there may do so with that record, and needs a moment to
  /// put his proxy's name on it, in which a third one would find no owner.
  void claim_refused(uint64_t request_id, moment at);

  /// The origin agreed to the publish that claim() answered with this epoch: the mapping is renewed until
  /// publish_ended(). One for each session and epoch: a session that is dialled again at the same origin, without a
  /// publish_ended() before, goes on. If the epoch is over by now nothing starts, and action::owner_changed names the
  /// owner.
  void publish_started(const stream_key& key, const epoch& e, moment at);
  void publish_ended(const stream_key& key, const epoch& e, moment at);

  /// Of action::move: the new owner has accepted the publish. Writes the ownership; answered by reply_claim, with
  /// store_conflict if the stream has another owner by now, the publisher has left, or the new owner is lost; with the
  /// store's reason if that has failed for claim_wait (then the new publish is to be ended and the old one goes on;
  /// move_refused() need not follow, and should the store have written the move all the same, the next renewal raises
  /// the epoch of the old owner). Both publishes go on until the answer. move_refused() or publish_ended(from) ends
  /// that wait. From a good answer on the publish counts under `to.epoch`: publish_ended(to.epoch) ends it,
  /// publish_ended(from) is ignored, and publish_started(to.epoch) may come once but need not. action::owner_changed
  /// comes before the answer. Cannot be cancelled.
  void commit_move(uint64_t request_id, const stream_key& key, const epoch& from, const assignment& to, moment at);
  /// The new owner refused, or could not be reached: the stream stays where it is, and the drain reports it.
  void move_refused(const stream_key& key, const epoch& from, const std::string& to_origin, std::string reason,
                    moment at);
  /// A draining origin gets nothing new; streams published through this proxy are moved away. `server_id` as in the
  /// registration. Stays so over restarts of the origin, until undone. Error reason: unknown_origin. Returns how many
  /// streams are to move (0 when undone). A stream that is refused stays, with its reason, and is not tried again in
  /// this drain; one that finds no origin (`no_origin`) is tried again when there may be one; one that has moved within
  /// move_interval waits for that. Players of the origin stay until its streams have moved; a publisher who returns to
  /// the cluster is placed elsewhere. Moves under way when a drain is undone go on.
  base::result<size_t> drain(const std::string& server_id, bool on, moment at);

  /// For explain(): something that happened to a stream outside this class.
  void note(const stream_key& key, history_event what);
  /// The last 32 events of a stream, oldest first; of at most 10,000 streams, those with the oldest events forgotten.
  std::vector<history_event> explain(const stream_key& key) const;
  std::vector<stream_status> streams() const;

  /// Outcome of a session's connect to an origin. A failed one makes it suspect and probes it, and counts for the
  /// circuit breaker. dial_ok() also says that the origin agreed to a publish or play (closes the circuit breaker). An
  /// origin with an open breaker still gets streams if no other is alive.
  void dial_failed(const std::string& origin_id, moment at);
  void dial_ok(const std::string& origin_id, moment at);
  /// An origin closed a connection: is it gone? Answered by action::verdict as soon as a probe tells, and never `dead`
  /// while it is merely silent for less than dead_after (so after dead_after at the latest, or, in a mass silence, when
  /// that is over). `agreed`: the origin had agreed to the session (dial_ok); if not, and it lives, the circuit breaker
  /// counts it.
  void origin_closed(uint64_t ask_id, const std::string& origin_id, moment at, bool agreed = true);

  /// `incarnation`: `server-service-pid` as the origin told it, if it did.
  void probe_result(const std::string& origin_id, probe_answer answer, const std::optional<std::string>& incarnation,
                    moment at);
  void store_replied(store_reply reply, moment at);
  /// The store cannot be reached, or can be again; until told otherwise it can. To be called at each change; with
  /// `reachable` also when nobody knows whether it still has what was written: another master, a new connection, a lost
  /// generation key. Each call with `reachable` writes all that is published here once more, spread over a second (or
  /// 500 streams each 100 ms), and reads once more what players here were told. `cold`: it has lost what it knew: for
  /// two heartbeats a claim without a record waits for the lists of the origins, as after the start.
  ///
  /// While it cannot be reached nothing is submitted, and steps under way are given up (replies to them are ignored).
  /// Claims are decided here and at once, and written when it is back; finds are answered by what is known here. What
  /// is decided here: README.md. A step that fails (store_unavailable) decides just its own claim so.
  void store_state(bool reachable, bool cold, moment at);
  /// Another proxy has written this owner (an echo of our own writes does no harm): a claim, a move, or that it is
  /// published now. May come late, twice, in any order, or not at all. A higher epoch than the one known is the owner:
  /// who waits for one is answered, who was told another hears of it. If somebody publishes the stream here, he loses
  /// it at once to an owner whose origin lists it, or that is `published` if that origin lists nothing; otherwise the
  /// other publisher gets two heartbeats' time, and then a renewal shows who has the stream.
  /// Nothing happens for a stream that nobody here has asked for.
  void announced(const stream_key& key, const owner_record& owner, moment at);
  /// An input that comes more than 500 ms after a deadline of the origins shows that this process was stopped itself:
  /// the time until then is nobody's silence.
  void on_timeout(moment at);

  base::time_point next_deadline() const;
  std::optional<coordinator_action> poll_action();
  cluster_snapshot snapshot() const;
  /// Of the origins that live and have registered, as they did last.
  std::vector<origin_registration> registrations() const;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace sluice::cluster
