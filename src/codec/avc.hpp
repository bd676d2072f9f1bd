#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "codec/nal.hpp"

// H.264: ISO 14496-15 §5.3.3.1 (decoder configuration record), ITU-T H.264 §7.3.2.1.1 (sequence parameter set).
namespace sluice::codec::avc {

/// AVCDecoderConfigurationRecord.
struct config {
  uint8_t profile = 0, compatibility = 0, level = 0;  ///< as in the first sequence parameter set
  unsigned length_size = 4;                           ///< bytes of a NAL unit's length: 1, 2 or 4
  std::vector<std::vector<uint8_t>> sps, pps;         ///< whole NAL units, at most 31 and 255
  std::vector<uint8_t> extension;  ///< what follows (chroma format, depths of the High profiles), verbatim
};

struct sps {
  uint8_t profile = 0, compatibility = 0, level = 0;
  picture_size size;  ///< cropped
};

/// Error: bad_avc_config.
base::result<config> parse_config(base::bytes_view record);
/// Units longer than 65,535 bytes and more units than the record can count are not written.
std::vector<uint8_t> serialise(const config& c);
/// A whole NAL unit of type 7. Error: bad_avc_sps.
base::result<sps> parse_sps(base::bytes_view unit);
/// True if a length-prefixed sample holds an IDR slice.
bool is_keyframe(base::bytes_view sample, unsigned length_size);
/// RFC 6381, e.g. avc1.64001f.
std::string codec_string(const config& c);

}  // namespace sluice::codec::avc
