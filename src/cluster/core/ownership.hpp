#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/time.hpp"
#include "cluster/core/stream_key.hpp"

namespace sluice::cluster {

/// Orders the owners that a stream has had: a higher one fences all lower ones. The claim id tells two claims of one
/// counter apart. All zero: no epoch (nobody claimed).
struct epoch {
  uint64_t counter = 0;
  uint64_t claim_id = 0;
  auto operator<=>(const epoch&) const = default;
};

/// `counter.claim_id`, both decimal, as messages between servers carry it.
std::string text_of(const epoch& e);
inline std::string to_string(const epoch& e) { return text_of(e); }
/// Nothing if it is malformed or above epoch_counter_max.
std::optional<epoch> parse_epoch(std::string_view text);

/// No message may carry more: a counter is wall clock milliseconds and a little, and the next must fit for ever.
inline constexpr uint64_t epoch_counter_max = uint64_t{1} << 62;

/// The counter of the next claim: above what the store holds and what this proxy has seen, and not below the wall
/// clock, so that a store that lost everything does not start again below epochs that origins remember.
uint64_t next_epoch_counter(uint64_t stored, uint64_t highest_seen, uint64_t wall_ms);

/// Who owns a stream. Soft state: the truth is with the origins.
struct owner_record {
  std::string origin_id;  ///< `server-service-pid`
  cluster::epoch epoch;
  std::string proxy_id;     ///< who claimed it, or publishes with it
  uint64_t started_ms = 0;  ///< wall clock of the first claim of this stream; kept when the owner changes
  /// A publisher of `proxy_id` uses it now: said by the renewals of a publish and by moves, not by a claim, and no more
  /// by the renewal that follows the publish's end.
  bool published = false;
  bool operator==(const owner_record&) const = default;
};

/// One atomic step in a store.
struct store_request {
  enum class kind : uint8_t {
    claim,  ///< write `record` if the store holds none, or the one of epoch `replaces`
    find,   ///< read
    /// Write `record` if the store holds none or one of the same or a lower epoch. Of the same epoch one that is
    /// published by another proxy, while `record` is not published, stays as it is, and just lives longer.
    renew,
    drop,  ///< remove, if the store still holds the epoch of `record`, written by the same proxy
  };
  uint64_t op = 0;  ///< chosen by the caller, returned in the reply
  kind what = kind::find;
  stream_key key;
  std::optional<epoch> replaces;       ///< claim only
  std::optional<owner_record> record;  ///< claim, renew, drop
  base::duration ttl{};                ///< claim, renew: life of the record from now
};

/// The record after a renewal of one that is held, none, or of an epoch that is not higher: the rule of
/// store_request::kind::renew.
owner_record after_renewal(const owner_record* held, const owner_record& renewal);

/// What the store holds after the step. Error reasons: store_full, store_unavailable (it may have been done all the
/// same). A store that others write to who know of no epochs may answer with an owner that they chose: a claim with the
/// epoch and proxy that were proposed, but another origin; a find with epoch zero and no proxy.
struct store_reply {
  uint64_t op = 0;
  base::result<std::optional<owner_record>> owner;
};

/// Where proxies agree on owners. Control thread only.
class owner_store {
 public:
  using on_reply = std::function<void(store_reply)>;
  virtual ~owner_store() = default;
  /// Each request gets one reply, possibly from within the call. Requests for one key take effect in order.
  virtual void submit(store_request request, on_reply done) = 0;
};

}  // namespace sluice::cluster
