#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
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

/// One incarnation of an origin, and what is known of its life.
struct origin {
  origin_registration reg;
  std::string id;
  origin_health health = origin_health::alive;
  bool fabricated = false;  ///< the default backend: never registers, never expires
  base::time_point heard_at;

  // Heartbeats: the last intervals, from which the period is judged.
  std::array<base::duration, 5> intervals{};
  size_t intervals_seen = 0;

  // Probes: at most one is out.
  bool probe_out = false;
  probe_kind probing = probe_kind::rtmp_handshake;
  base::time_point probe_lost_at = base::never;  ///< when the probe that is out counts as failed
  base::time_point probe_at = base::never;       ///< the next routine probe
  bool api_answered = false;                     ///< its API has answered a probe once
  bool api_useless = false;                      ///< silent or somebody else's: probe by RTMP
  /// A dial or handshake has failed since RTMP last answered: neither a heartbeat nor its API proves that it serves.
  bool rtmp_doubted = false;
  /// It was found dead and has registered since: suspect, but taken for dead until it answers the probe that is out.
  bool unproven = false;
  bool died_silent = false;  ///< its heartbeats had stopped before: their return is proof enough
  base::time_point probe_sent_at = base::time_point::min();
  base::time_point failed_at = base::time_point::min();  ///< the last failed dial, or death
  base::time_point proven_at = base::time_point::min();  ///< the last good dial, or start of a good probe
  identity said = identity::not_asked;                   ///< by the last probe
  bool api_proved = false;                               ///< of this probe: its API has named it, RTMP is asked besides
  std::vector<std::string> disputes;  ///< older origins of other servers at its address: no streams meanwhile
  bool returning = false;             ///< void, at another address now: taken back when it answers there
  std::string contested_by;           ///< a newer incarnation at another address; this probe decides
  std::vector<uint64_t> asks;         ///< answered by the probe that is out
  std::vector<uint64_t> asks_next;    ///< came while it was out: they need a fresh one

  // Load.
  uint64_t placed = 0;  ///< streams placed by this proxy since the last heartbeat
  uint64_t beats = 1;   ///< counts its registrations
  uint64_t known = 0;   ///< streams placed or published by this proxy now

  /// Streams for placement: what the origin says and what was sent there since, or what this proxy knows if that is
  /// more.
  uint64_t streams() const;
  /// As many streams as it takes: placement sends it no more.
  bool is_full() const { return reg.sluice && reg.sluice->capacity != 0 && streams() >= reg.sluice->capacity; }
  /// The median of its last heartbeat intervals; before there are any what a Sluice origin announces; else nothing.
  std::optional<base::duration> period() const;
};

/// The origins, their incarnations and whether they live. Part of the coordinator, whose action queue it feeds with
/// probes, verdicts and log events. See coordinator.hpp for the meaning of the inputs.
class registry {
 public:
  registry(const coordinator_config& config, std::deque<coordinator_action>& out, base::time_point now);

  base::result<void> registration(origin_registration reg, base::time_point now);
  void dial_failed(const std::string& id, base::time_point now);
  void dial_ok(const std::string& id, base::time_point now);
  void ask(uint64_t ask_id, const std::string& id, base::time_point now);
  void probe_result(const std::string& id, bool ok, const std::optional<std::string>& incarnation,
                    base::time_point now);
  void on_timeout(base::time_point now);
  base::time_point next_deadline() const;

  /// The origin, whatever its health; null if it never was, is void or has expired.
  const origin* find(const std::string& id) const;
  /// The origin unless it is dead, or was and has not answered since: what may own a stream.
  const origin* find_living(const std::string& id) const;
  const std::map<std::string, origin>& all() const { return origins_; }
  /// Those that may take a new stream now; if none is alive the suspect ones. Views into the registry, valid until it
  /// changes.
  std::vector<candidate> candidates(base::time_point now, bool only_alive = false) const;
  /// It failed a dial or a probe once, and has answered after that.
  bool proven_since_failure(const std::string& id) const;

  /// A stream was placed there. Returns what to tell unplaced(), should it be undone.
  uint64_t placed(const std::string& id);
  void unplaced(const std::string& id, uint64_t beat);
  void count_known(const std::string& id, int difference);

  /// Whether an origin was added, is alive again or has room again since the last call.
  bool take_confirmed() { return std::exchange(confirmed_, false); }
  /// True once after anything that a snapshot shows has changed.
  bool take_changed() { return std::exchange(changed_, false); }

 private:
  using origin_map = std::map<std::string, origin>;
  void heartbeat(origin& o, origin_registration reg, base::time_point now);
  void contest_older(const origin& newer, base::time_point now);
  // Of several servers at one address (registry_contest.cpp).
  bool may_return(const std::string& id, const origin_registration& reg) const;
  size_t servers_at(const origin_registration& reg) const;
  void dispute_address(origin& newer, base::time_point now);
  void settle_disputes(const std::string& id, base::time_point now);
  void settle_dispute(const std::string& older, const std::string& newer, base::time_point now);
  void forget_disputes(const std::string& id);
  origin_map::iterator erase(origin_map::iterator at);
  void add(origin o, base::time_point now);
  void revive(origin& o, std::string_view by);
  void prove(origin& o, base::time_point at, std::string_view by);
  void probe_succeeded(origin& o, base::time_point now);
  void probe_failed(origin& o, base::time_point now);
  void lose(origin& o, base::time_point now);
  origin_map::iterator make_void(origin_map::iterator at, const std::string& by);
  /// By its API if it has one, unless a probe is out. One that fails there is followed by a handshake: only what the
  /// API says decides by itself, not its silence.
  void start_probe(origin& o, base::time_point now);
  void send_probe(origin& o, probe_kind kind, base::time_point now);
  void answer(std::vector<uint64_t>& asks, origin_verdict verdict);
  bool is_silent(const origin& o, base::time_point now) const;
  bool needs_probes(const origin& o, base::time_point now) const;
  bool is_expired(const origin& o, base::time_point now) const;
  void log(base::log_level level, std::string_view event, const origin& o, std::string_view reason);

  const coordinator_config& config_;
  std::deque<coordinator_action>& out_;
  origin_map origins_;
  std::unordered_map<std::string, std::vector<base::endpoint>> voided_;  // and where they were
  std::deque<std::string> voided_order_;                                 // oldest first: the set is bounded
  bool confirmed_ = false;
  bool changed_ = false;
};

}  // namespace sluice::cluster
