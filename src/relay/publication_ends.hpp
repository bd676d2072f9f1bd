#pragma once

#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/time.hpp"
#include "cluster/core/stream_key.hpp"
#include "media/segment_clock.hpp"

namespace sluice::relay {

/// What publications that have ended left of their HLS numbering, for publishers who come back soon: their segments go
/// on in the playlist that players have (RFC 8216 §6.2.2 forbids to remove what they have not had yet). Shared by the
/// shards of a proxy; any thread; a lock for a moment at the begin and the end of a publish.
class publication_ends {
 public:
  static constexpr size_t streams_max = 10'000;  ///< above it the one that ended longest ago is forgotten

  /// `kept`: how long viewers wait for a publisher.
  explicit publication_ends(base::duration kept) : kept_(kept) {}
  void ended(const cluster::stream_key& key, const media::publication_start& next, base::time_point now);
  std::optional<media::publication_start> find(const cluster::stream_key& key, base::time_point now) const;
  /// The stream is published again.
  void forget(const cluster::stream_key& key);

 private:
  struct entry {
    media::publication_start next;
    base::time_point at;
    std::list<const cluster::stream_key*>::iterator place;
  };
  const base::duration kept_;
  mutable std::mutex mutex_;
  std::unordered_map<cluster::stream_key, entry> entries_;
  std::list<const cluster::stream_key*> order_;  // the oldest first
};

}  // namespace sluice::relay
