#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "codec/opus.hpp"

// Sample entries: what a track's samples are and how a decoder is set up (ISO 14496-12 §8.5.2, §12.1.3, §12.2.3).
namespace sluice::mp4 {

using bytes = std::vector<uint8_t>;

/// VisualSampleEntry `type` with one configuration box. `config`: the record as encoders send it:
/// avc1/avcC and hvc1/hvcC (ISO 14496-15 §5.4.2, §8.4.1), av01/av1C (AV1 in ISO BMFF §2.2). For vp09/vpcC see below.
bytes visual_entry(std::string_view type, std::string_view config_type, base::bytes_view config, uint16_t width,
                   uint16_t height);
/// vp09 with vpcC, a full box of version 1 (VP codec binding); `record` without version and flags.
bytes vp9_entry(base::bytes_view record, uint16_t width, uint16_t height);

/// Object type indications of MPEG-4 descriptors (ISO 14496-1 §7.2.6.6.2).
inline constexpr uint8_t object_type_aac = 0x40, object_type_mp3 = 0x6B;

/// mp4a with esds (ISO 14496-14 §5.6). `config`: the AudioSpecificConfig; empty for MP3.
bytes mp4a_entry(uint8_t object_type, base::bytes_view config, uint16_t channels, uint32_t sample_rate_hz);
/// Opus with dOps (Encapsulation of Opus in ISO BMFF §4.3).
bytes opus_entry(const codec::opus::config& c);
/// fLaC with dfLa (Encapsulation of FLAC in ISO BMFF §3.3). `stream_info`: the 34 bytes of the STREAMINFO block.
bytes flac_entry(base::bytes_view stream_info, uint16_t channels, uint16_t bits, uint32_t sample_rate_hz);

}  // namespace sluice::mp4
