#pragma once

#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"

// AV1: AV1 Codec ISO Media File Format Binding §2.3 (configuration record), AV1 bitstream specification §5.3 - §5.9
// (OBUs).
namespace sluice::codec::av1 {

/// AV1CodecConfigurationRecord.
struct config {
  uint8_t profile = 0;  ///< seq_profile
  uint8_t level = 0;    ///< seq_level_idx_0
  bool high_tier = false;
  uint8_t bit_depth = 8;  ///< 8, 10 or 12
  bool monochrome = false;
  bool chroma_subsampling_x = true, chroma_subsampling_y = true;
  size_t obus_offset = 4;  ///< the sequence header OBU starts here in the record
};

/// Error: bad_av1_config.
base::result<config> parse_config(base::bytes_view record);
/// True if a temporal unit (OBUs with size fields) holds a shown key frame. A broken OBU ends the search.
bool is_keyframe(base::bytes_view temporal_unit);
/// The binding's §5, short form, e.g. av01.0.04M.08.
std::string codec_string(const config& c);

}  // namespace sluice::codec::av1
