#pragma once

#include <chrono>

#include "base/time.hpp"
#include "media/segment_clock.hpp"

namespace sluice::servers {

/// How the segments of a publication that begins now are counted: by the wall clock, so that no later one, at whatever
/// server, begins below it.
inline media::publication_start segments_from_now(base::duration target) {
  using std::chrono::duration_cast;
  using std::chrono::milliseconds;
  const auto wall_ms = duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  const auto seconds = static_cast<uint64_t>(wall_ms / 1000);
  return {seconds, seconds, wall_ms, static_cast<uint32_t>(duration_cast<milliseconds>(target).count()), 0};
}

/// The same for one that comes back: `next` is what the one before left (hub::next_segments_start), so that players
/// find its segments in the playlist that they have.
inline media::publication_start segments_go_on(media::publication_start next, base::duration target) {
  const auto now = segments_from_now(target);
  // What was sent faster than real time may have come so far that a later publication elsewhere would begin below it.
  if (next.number > now.number || next.discontinuities > now.discontinuities) return now;
  next.wall_ms = now.wall_ms;
  next.target_ms = now.target_ms;
  return next;
}

}  // namespace sluice::servers
