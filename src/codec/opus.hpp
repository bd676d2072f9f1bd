#pragma once

#include <array>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"

// Opus: RFC 7845 §5.1 (identification header).
namespace sluice::codec::opus {

inline constexpr std::string_view codec_string = "opus";

/// OpusHead. The sample rate is that of the source: Opus itself always runs at 48 kHz.
struct config {
  uint8_t channels = 2;
  uint16_t pre_skip = 0;  ///< samples at 48 kHz
  uint32_t input_rate_hz = 48000;
  int16_t output_gain = 0;  ///< Q7.8 dB
  uint8_t mapping_family = 0;
  uint8_t streams = 1, coupled_streams = 0;
  std::array<uint8_t, 255> mapping{};  ///< of the first `channels` channels
};

/// Error: bad_opus_config.
base::result<config> parse_config(base::bytes_view header);

}  // namespace sluice::codec::opus
