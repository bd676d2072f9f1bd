#pragma once

#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"

// AC-3 and E-AC-3: ATSC A/52 §5.3.1 - §5.3.2 (syncinfo, bsi), annex E §2.2 - §2.3. There is no sequence header: every
// frame says what it is.
namespace sluice::codec::ac3 {

struct frame_info {
  bool enhanced = false;  ///< E-AC-3
  uint32_t sample_rate_hz = 0;
  uint8_t channels = 0;  ///< LFE included
  bool lfe = false;
  uint32_t frame_bytes = 0;
};

/// The frame that `bytes` begin with; its first 8 bytes are enough. Error: bad_ac3_frame.
base::result<frame_info> parse_frame(base::bytes_view bytes);
inline constexpr std::string_view codec_string(const frame_info& f) { return f.enhanced ? "ec-3" : "ac-3"; }

}  // namespace sluice::codec::ac3
