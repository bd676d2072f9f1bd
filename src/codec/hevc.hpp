#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "codec/nal.hpp"

// H.265: ISO 14496-15 §8.3.3.1 (decoder configuration record), ITU-T H.265 §7.3.2.2 (sequence parameter set).
namespace sluice::codec::hevc {

/// profile_tier_level, H.265 §7.3.3.
struct profile {
  uint8_t space = 0;
  bool high_tier = false;
  uint8_t idc = 0;
  uint32_t compatibility = 0;
  uint64_t constraints = 0;  ///< 48 bits
  uint8_t level = 0;         ///< 30 times the level's number
};

/// Parameter sets of one NAL unit type.
struct unit_array {
  uint8_t type = 0;  ///< 32 VPS, 33 SPS, 34 PPS, 39 SEI
  std::vector<std::vector<uint8_t>> units;
};

/// HEVCDecoderConfigurationRecord.
struct config {
  hevc::profile profile;
  uint8_t chroma_format = 1, bit_depth_luma = 8, bit_depth_chroma = 8;
  unsigned length_size = 4;        ///< bytes of a NAL unit's length: 1, 2 or 4
  std::vector<unit_array> arrays;  ///< at most 64 units in all
};

struct sps {
  hevc::profile profile;
  picture_size size;  ///< of the conformance window
};

/// Error: bad_hevc_config.
base::result<config> parse_config(base::bytes_view record);
/// A whole NAL unit of type 33. Error: bad_hevc_sps.
base::result<sps> parse_sps(base::bytes_view unit);
/// True if a length-prefixed sample holds an IRAP picture (IDR, CRA, BLA).
bool is_keyframe(base::bytes_view sample, unsigned length_size);
/// ISO 14496-15 annex E, e.g. hvc1.1.6.L93.B0.
std::string codec_string(const config& c);

}  // namespace sluice::codec::hevc
