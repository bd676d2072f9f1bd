#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cluster/core/coordinator.hpp"
#include "cluster/core/placement.hpp"

namespace sluice::cluster {

/// Who answered an origin's last probe.
enum class identity : uint8_t {
  not_asked,
  itself,         ///< its API named this incarnation
  untold,         ///< an answer that names nobody (RTMP, an API without names)
  somebody_else,  ///< its API named another incarnation
  silent,
};

/// Whether the two share an RTMP endpoint.
bool same_address(const origin_registration& a, const origin_registration& b);

/// Somebody asked whether the origin lives, after it closed a connection.
struct closed_ask {
  uint64_t id = 0;
  base::time_point at;
  bool agreed = true;  ///< the origin had agreed to the session
};

/// One incarnation of an origin, and what is known of its life.
struct origin {
  origin_registration reg;
  std::string id;
  origin_health health = origin_health::alive;
  bool fabricated = false;                               ///< the default backend: never registers, never expires
  base::time_point direct_at = base::time_point::min();  ///< the last registration that it sent this proxy itself
  bool relayed = false;  ///< other proxies have passed on registrations, of which some may be lost
  base::time_point registered_at;
  base::time_point told_at;  ///< when the latest that is known of it was said: by registrations and the store
  bool remembered = false;   ///< by the store only: no heartbeat has come

  // Heartbeats: the last intervals, from which the period is judged.
  std::array<base::duration, 5> intervals{};
  size_t intervals_seen = 0;

  // Silence (registry_liveness.cpp).
  base::time_point sign_at = base::time_point::min();   ///< the last byte or answer; no heartbeat
  base::time_point bytes_at = base::time_point::min();  ///< the last byte of a session
  base::time_point asked_at = base::never;              ///< the first probe since then, never: none
  base::time_point fell_at = base::never;               ///< when it was found silent, never: it is not
  base::time_point died_at = base::time_point::min();
  loss_reason lost_by = loss_reason::gone;

  // Probes: at most one is out.
  bool probe_out = false;
  probe_kind probing = probe_kind::rtmp_handshake;
  base::time_point probe_lost_at = base::never;  ///< when the probe that is out counts as failed
  base::time_point probe_from;                   ///< from which the interval to the next one counts
  base::time_point probe_sent_at = base::time_point::min();
  bool api_answered = false;  ///< its API has answered a probe once
  bool api_useless = false;   ///< silent or somebody else's: probe by RTMP
  /// A dial, ping or handshake was refused since RTMP last answered: neither a heartbeat nor its API proves that it
  /// serves.
  bool rtmp_doubted = false;
  /// It was found dead and has registered since: suspect, but taken for dead until it answers the probe that is out.
  bool unproven = false;
  base::time_point failed_at = base::time_point::min();  ///< the last failed dial, or death
  base::time_point proven_at = base::time_point::min();  ///< the last good dial, or start of a good probe
  identity said = identity::not_asked;                   ///< when last asked who it is
  bool to_identify = false;                              ///< another is at its address: it is to be asked
  bool api_proved = false;                               ///< of this probe: its API has named it, RTMP is asked besides
  std::vector<std::string> disputes;  ///< older origins of other servers at its address: no streams meanwhile
  bool returning = false;             ///< void, at another address now: taken back when it answers there
  std::string contested_by;           ///< a newer incarnation of its server; this probe decides
  bool contested_here = false;        ///< … at its address: only if its API names it the newer one is wrong
  std::vector<closed_ask> asks;       ///< answered by the probe that is out
  std::vector<closed_ask> asks_next;  ///< came while it was out: they need a fresh one

  // Circuit breaker: sessions in a row that it failed.
  unsigned failures = 0;
  bool breaker_open = false;
  base::time_point breaker_until = base::never;

  // Load.
  uint64_t placed = 0;  ///< streams placed by this proxy since the last heartbeat
  uint64_t beats = 1;   ///< counts its registrations
  uint64_t known = 0;   ///< streams placed or published by this proxy now

  /// Streams for placement: what the origin says and what was sent there since, or what this proxy knows if that is
  /// more.
  uint64_t streams() const;
  /// As many streams as it takes: placement sends it no more.
  bool is_full() const { return reg.sluice && reg.sluice->capacity != 0 && streams() >= reg.sluice->capacity; }
  /// What may own a stream: not dead, nor dead before and without an answer since.
  bool is_living() const { return health != origin_health::dead && !unproven; }
  /// The median of its last heartbeat intervals; before there are any what a Sluice origin announces; else nothing.
  std::optional<base::duration> period() const;
};

/// By whom a registration came, and when it was said.
struct news {
  registered_by by = registered_by::origin;
  base::time_point told_at;
};

/// An origin that is no more, or dead.
struct departure {
  std::string id;
  bool was_living = false;  ///< action::origin_lost has told of it
  loss_reason reason = loss_reason::gone;
};

/// The origins, their incarnations and whether they live. Part of the coordinator, whose action queue it feeds with
/// probes, verdicts and log events. See coordinator.hpp for the meaning of the inputs.
class registry {
 public:
  registry(const coordinator_config& config, std::deque<coordinator_action>& out, base::time_point now);

  base::result<void> registration(origin_registration reg, const news& from, base::time_point now);
  /// While the store is away other proxies cannot pass on registrations: who lives does not expire.
  void store_state(bool reachable, base::time_point now);
  void heard(const std::string& id, base::time_point when);
  /// When this process went on after it had last been stopped; time_point::min() if it never was.
  base::time_point awake_since() const { return floor_; }
  void dial_failed(const std::string& id, base::time_point now);
  void dial_ok(const std::string& id, base::time_point now);
  void ask(const std::string& id, closed_ask who);
  void probe_result(const std::string& id, probe_answer answer, const std::optional<std::string>& incarnation,
                    base::time_point now);
  void on_timeout(base::time_point now);
  base::time_point next_deadline() const;
  /// To be told before anything else, with what next_deadline() was after the last input: if that is long over, this
  /// process was stopped itself, and nobody's silence counts that falls into that time.
  void woke(base::time_point now, base::time_point due);

  /// The origin, whatever its health; null if it never was, is void or has expired.
  const origin* find(const std::string& id) const;
  /// The origin unless it is dead, or was and has not answered since: what may own a stream.
  const origin* find_living(const std::string& id) const;
  const std::map<std::string, origin>& all() const { return origins_; }
  /// It may yet register: it never did, and neither is it void nor is another incarnation of its server here.
  bool is_unheard(const std::string& id) const;
  /// It is silent, and so are so many that its silence, and what sessions saw of it, is taken for our own fault.
  bool is_excused(const std::string& id, base::time_point now) const;
  struct candidate_rules {
    bool only_alive = false;         ///< no suspect ones
    bool drained = true;             ///< those that are drained as well, where there are no others
    transport by = transport::rtmp;  ///< only those that serve it
  };
  /// Those that may take a new stream now: alive; if there are none, those with an open circuit breaker; if there are
  /// none of these either, the suspect ones; and if there is nobody else, those that are drained and alive: better
  /// there than nowhere. Views into the registry, valid until it changes.
  std::vector<candidate> candidates(base::time_point now, candidate_rules rules) const;
  /// It failed a dial or a probe once, and has answered after that.
  bool proven_since_failure(const std::string& id) const;

  /// A stream was placed there. Returns what to tell unplaced(), should it be undone.
  uint64_t placed(const std::string& id, base::time_point now);
  void unplaced(const std::string& id, uint64_t beat);
  void count_known(const std::string& id, int difference);

  /// Gets nothing new until it is undone, in any incarnation.
  void set_draining(const std::string& server_id, bool on);
  bool is_draining(const std::string& server_id) const { return draining_.contains(server_id); }
  bool has_server(const std::string& server_id) const;
  bool mass_silence() const { return mass_silence_; }

  std::vector<departure> take_departures() { return std::exchange(departures_, {}); }
  /// Those that are new, or were dead and live again.
  std::vector<std::string> take_returned() { return std::exchange(returned_, {}); }
  /// Whether an origin was added, is alive again, proven to be gone or has room again, or a mass silence has ended,
  /// since the last call.
  bool take_confirmed() { return std::exchange(confirmed_, false); }
  /// True once after anything that a snapshot shows has changed.
  bool take_changed() { return std::exchange(changed_, false); }

 private:
  using origin_map = std::map<std::string, origin>;
  static bool is_older(const origin_registration& reg, const origin& known);
  void heartbeat(origin& o, origin_registration reg, base::time_point now);
  void contest_older(const origin& newer, base::time_point now);
  // Of several servers at one address (registry_contest.cpp).
  bool settle_contest(origin_map::iterator at, bool ok, const std::optional<std::string>& incarnation,
                      base::time_point now);
  bool is_outdated(const origin_registration& reg, base::time_point told_at, base::time_point now) const;
  void unvoid(const std::string& id, const news& from, base::time_point now);
  bool may_return(const std::string& id, const origin_registration& reg) const;
  size_t servers_at(const origin_registration& reg) const;
  void dispute_address(origin& newer, base::time_point now);
  void settle_disputes(const std::string& id, base::time_point now);
  void settle_dispute(const std::string& older, const std::string& newer, base::time_point now);
  void forget_disputes(const std::string& id);
  origin_map::iterator erase(origin_map::iterator at);
  origin_map::iterator make_void(origin_map::iterator at, const std::string& by);
  void add(origin o, base::time_point now);
  void revive(origin& o, std::string_view by);
  void prove(origin& o, base::time_point at, std::string_view by);
  void depart(const origin& o, loss_reason reason);
  void answer(std::vector<closed_ask>& asks, origin_verdict verdict);
  void log(base::log_level level, std::string_view event, const origin& o, std::string_view reason);
  bool heartbeats_stopped(const origin& o, base::time_point now) const;
  base::time_point expires_at(const origin& o) const;
  bool is_expired(const origin& o, base::time_point now) const { return now >= expires_at(o); }
  bool is_shadowed(const origin& o) const;

  // Signs of life and their absence (registry_liveness.cpp).
  void sign(origin& o, base::time_point when);
  base::duration silence(const origin& o, base::time_point now) const;
  /// False if it is silent for so long that it is dead, unless all are.
  bool judge_silence(origin& o, base::time_point now);
  /// When the silence that has lasted since then is death.
  base::time_point dies_at(base::time_point silent_since) const;
  bool is_mass_silence(base::time_point now) const;
  void lose(origin& o, loss_reason reason, origin_verdict verdict, base::time_point now);
  void suspect(origin& o, std::string_view reason);
  void failed_session(origin& o, base::time_point now);

  // Probes (registry_probe.cpp).
  base::duration interval(const origin& o) const;
  bool is_questioned(const origin& o) const;
  /// Who are you, and do you serve? By its API if it has one, unless a probe is out. One that fails there is followed
  /// by a handshake: only what the API says decides by itself, not its silence.
  void question(origin& o, base::time_point now);
  void ping(origin& o, base::time_point now);
  void send_probe(origin& o, probe_kind kind, base::time_point now);
  void probe_succeeded(origin& o, base::time_point now);
  void probe_failed(origin& o, probe_answer answer, base::time_point now);
  void identified(origin& o, bool somebody_else, bool ok, bool named);

  const coordinator_config& config_;
  std::deque<coordinator_action>& out_;
  origin_map origins_;
  struct voided {
    std::vector<base::endpoint> at;
    std::string by;
  };
  std::unordered_map<std::string, voided> voided_;
  std::deque<std::string> voided_order_;      // oldest first: the set is bounded
  std::unordered_set<std::string> draining_;  // server ids
  std::vector<departure> departures_;
  std::vector<std::string> returned_;
  base::time_point floor_ = base::time_point::min();  // silence counts from here at the earliest
  bool store_away_ = false;
  base::time_point store_back_at_ = base::time_point::min();  // since then registrations are passed on
  size_t fallen_ = 0;  // living origins that are silent, as of the last on_timeout()
  bool mass_silence_ = false;
  base::time_point mass_until_ = base::time_point::min();  // the last one ended then
  bool confirmed_ = false;
  bool changed_ = false;
};

}  // namespace sluice::cluster
