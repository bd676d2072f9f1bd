#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

// AAC: ISO 14496-3 §1.6.2.1 (AudioSpecificConfig), §4.4.1 (GASpecificConfig, program_config_element).
namespace sluice::codec::aac {

/// AudioSpecificConfig.
struct config {
  uint8_t object_type = 2;      ///< of the core: 1 Main, 2 LC, 3 SSR, 4 LTP, … 95
  uint32_t sample_rate_hz = 0;  ///< of the core
  uint8_t channel_configuration = 0;
  uint8_t channels = 0;           ///< as configured, or counted in the program config element; 0 if neither says
  size_t program_config_bit = 0;  ///< where the program config element begins in the bytes, in bits; 0: there is none
  bool short_frames = false;      ///< 960 samples a frame instead of 1024
  bool sbr = false;               ///< HE-AAC, explicitly signalled
  bool ps = false;                ///< HE-AAC v2, explicitly signalled
  uint32_t sbr_rate_hz = 0;       ///< output sample rate with SBR, else 0
};

/// Error: bad_aac_config.
base::result<config> parse_config(base::bytes_view bytes);
/// For the general audio types 1 to 4 with a channel configuration 1 to 7 (7 = 8 channels). SBR and PS are signalled in
/// the backward compatible way (sync extension), so that a plain AAC decoder takes it too.
std::vector<uint8_t> serialise(const config& c);
/// What makes a raw frame one that says what it is: ISO 14496-3 §1.A.2.2 (ADTS).
struct adts {
  uint8_t profile = 0;     ///< the object type less one
  uint8_t rate_index = 0;  ///< of the core: SBR and PS are found by the decoder
  uint8_t channel_configuration = 0;
  /// What goes between header and frame: nothing, or (channel configuration 0) the program config element, as the first
  /// element of the raw data block.
  std::vector<uint8_t> prefix;
};
inline constexpr size_t adts_header_size = 7, adts_frame_bytes_max = 0x1FFF;
/// Error: aac_not_for_adts: object types above 4, frames of 960 samples, sample rates without an index, and what
/// parse_config() refuses.
base::result<adts> make_adts(base::bytes_view audio_specific_config);
/// The header (without CRC) in front of `raw_size` bytes, the prefix not counted. Header, prefix and frame together
/// may have adts_frame_bytes_max bytes.
std::array<uint8_t, adts_header_size> adts_header(const adts& a, size_t raw_size);
/// RFC 6381, e.g. mp4a.40.2.
std::string codec_string(const config& c);

}  // namespace sluice::codec::aac
