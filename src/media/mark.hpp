#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "media/segment_clock.hpp"
#include "proto/rtmp/message.hpp"

namespace sluice::media {

/// What one Sluice server tells the next between the messages of a *numbered link* (docs/adr/0006): which message of
/// which publication comes next. It goes as a data message (AMF0: the string `@sluice`, then an object with these
/// members), before the first message, wherever the numbers jump, and where another publication begins; in between both
/// sides count. Never sent to, and not believed from, anybody but a server that asked for it.
struct mark {
  std::string source;   ///< id of the publication; empty: what follows are headers only
  uint64_t next = 0;    ///< number of the next message within it
  uint32_t offset = 0;  ///< ms that its timestamps are above the publisher's own, modulo 2^32
  /// So many messages follow first that are headers in force (metadata, sequence headers): they have no number.
  uint32_t headers = 0;
  /// Of the next segment that begins within this run, if the sender knows of one: what makes the receiver's segments
  /// the same as everybody's.
  struct segment_begin {
    uint64_t at = 0;  ///< number of its first message
    segment_state state;
    bool operator==(const segment_begin&) const = default;
  };
  std::optional<segment_begin> segment;
  /// How the first one is counted, if none has begun yet.
  std::optional<publication_start> segments_start;
  bool operator==(const mark&) const = default;
};

inline constexpr size_t source_bytes_max = 64;

std::vector<uint8_t> encode_mark(const mark& m);
/// The mark if `m` is one; nothing for every other message, and for a malformed mark.
std::optional<mark> parse_mark(const rtmp::message& m);
/// Whether somebody on the way could take `m` for a mark, also when `@setDataFrame` has been taken off it: nothing that
/// a client may publish.
bool poses_as_mark(const rtmp::message& m);

}  // namespace sluice::media
