#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::cluster {

/// A 64-bit hash of `text`, the same on every machine and in every version of Sluice: proxies that cannot talk agree by
/// it. Not for untrusted sizes of work: it is not keyed.
uint64_t hash64(std::string_view text, uint64_t seed = 0);

/// An origin that may take a stream, as placement sees it.
struct candidate {
  std::string_view origin_id;  ///< the incarnation: what `exclude` names
  std::string_view server_id;  ///< stable: what the hash ranks
  uint64_t streams = 0;        ///< published there + placed there since it last said
  double weight = 1;
  uint32_t capacity = 0;  ///< hard limit of streams; 0: none
};

struct placement_rules {
  bool use_load = true;       ///< false: by hash alone, so that proxies agree without talking
  double balance_max = 1.25;  ///< no origin gets above this multiple of the mean (by weight), rounded up
};

/// Weighted rendezvous hashing: the higher score wins the stream. With equal weights adding an origin moves only the
/// streams that it wins, removing one only its own.
double rendezvous_score(std::string_view key, const candidate& c);

/// The index of the origin for a new stream `key`: of the two that rank highest the less loaded one (load = streams /
/// weight); if neither may take it, the next in rank. Origins in `exclude`, or full, are left out; nothing if no origin
/// remains.
std::optional<size_t> pick_origin(std::string_view key, std::span<const candidate> candidates,
                                  std::span<const std::string> exclude, const placement_rules& rules = {});

}  // namespace sluice::cluster
