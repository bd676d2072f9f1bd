#pragma once

#include <string>

#include "base/bytes.hpp"
#include "base/result.hpp"

// VP8 and VP9: VP Codec ISO Media File Format Binding, "VP Codec Configuration Box".
namespace sluice::codec::vpx {

/// VPCodecConfigurationRecord.
struct config {
  uint8_t profile = 0, level = 0;  ///< level: ten times its number; 0 if not known
  uint8_t bit_depth = 8;
  uint8_t chroma_subsampling = 1;
  bool full_range = false;
  uint8_t colour_primaries = 2, transfer_characteristics = 2, matrix_coefficients = 2;
};

/// The record with or without the four bytes (version 1, flags 0) that precede it in its MP4 box: encoders send both.
/// Error: bad_vpx_config.
base::result<config> parse_config(base::bytes_view record);
/// The binding's "Codecs Parameter String", short form; `fourcc` vp08 or vp09, e.g. vp09.00.31.08.
std::string codec_string(const config& c, std::string_view fourcc = "vp09");

}  // namespace sluice::codec::vpx
