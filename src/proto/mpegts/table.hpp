#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"

// Program specific information: ISO/IEC 13818-1 §2.4.4.
namespace sluice::mpegts {

enum class content : uint8_t { h264, hevc, aac_adts, mpeg1_audio, mpeg2_audio, opus, ac3, eac3 };

/// An elementary stream as the PMT describes it.
struct track {
  mpegts::content content = content::h264;
  uint8_t opus_channel_config = 0;  ///< channel_config_code of "Opus in MPEG-TS", table 4-2; 0 for all but Opus
  bool operator==(const track&) const = default;
};

/// One programme. Each track has a PID of its own whether or not the other exists.
struct program {
  std::optional<track> video, audio;
  bool operator==(const program&) const = default;
};

inline constexpr uint16_t pat_pid = 0, pmt_pid = 0x1000, video_pid = 0x100, audio_pid = 0x101;
inline constexpr uint16_t program_number = 1;

/// CRC_32 of a section (annex A): polynomial 0x04C11DB7, not reflected.
uint32_t crc32(base::bytes_view bytes);

/// program_association_section() with its CRC, §2.4.4.3. It never changes.
std::vector<uint8_t> pat_section();
/// TS_program_map_section(), §2.4.4.8. `version`: 5 bits. At most 64 bytes, so it fits into one packet.
std::vector<uint8_t> pmt_section(const program& p, uint8_t version);

}  // namespace sluice::mpegts
