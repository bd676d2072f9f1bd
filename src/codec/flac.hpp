#pragma once

#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"

// FLAC: RFC 9639 §8.1 and §8.2 (metadata block header, STREAMINFO).
namespace sluice::codec::flac {

inline constexpr std::string_view codec_string = "flac";

/// STREAMINFO.
struct config {
  uint16_t block_samples_min = 0, block_samples_max = 0;
  uint32_t frame_bytes_max = 0;  ///< 0 if not known
  uint32_t sample_rate_hz = 0;
  uint8_t channels = 0, bits_per_sample = 0;
  uint64_t samples = 0;  ///< 0 if not known
};

/// The signature "fLaC", then the STREAMINFO block with its header (Enhanced RTMP's FLAC sequence header). Error:
/// bad_flac_config.
base::result<config> parse_config(base::bytes_view header);

}  // namespace sluice::codec::flac
