#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/bytes.hpp"

// Fragmented MP4 as HLS takes it (RFC 8216 §3.3): an initialisation segment, then media segments of one `moof` each.
// ISO 14496-12 §8.8 (movie fragments), §8.16 (segments); ISO 23000-19 (CMAF) §7.3 and §7.5 for what players expect.
namespace sluice::mp4 {

using bytes = std::vector<uint8_t>;

struct track {
  uint32_t id = 1;
  bool video = false;
  uint32_t timescale = 1000;  ///< units a second
  uint16_t width = 0, height = 0;
  bytes sample_entry;  ///< sample_entry.hpp
};

struct sample {
  uint32_t duration = 0;           ///< in units of the track's timescale, as the others
  int32_t composition_offset = 0;  ///< PTS - DTS
  bool sync = true;                ///< a decoder may start here
  base::bytes_view data;           ///< of the caller
};

/// One track's part of a segment.
struct track_run {
  uint32_t track_id = 1;
  uint64_t decode_time = 0;  ///< of the first sample
  std::vector<sample> samples;
};

/// ftyp and moov.
bytes init_segment(std::span<const track> tracks);
/// styp, moof and mdat. `sequence`: increases from segment to segment (mfhd). Runs without samples are left out. All
/// data together must be less than 2^31 bytes.
bytes media_segment(uint32_t sequence, std::span<const track_run> runs);

}  // namespace sluice::mp4
