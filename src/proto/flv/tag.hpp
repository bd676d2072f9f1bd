#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.hpp"
#include "base/result.hpp"

// The first bytes of audio and video: bodies of FLV tags, which are also the payloads of RTMP's audio and video
// messages. Sources: Adobe FLV file format 10.1, annex E; Veovera Enhanced RTMP v2 (v1 included), "Enhanced Audio" and
// "Enhanced Video".
namespace sluice::flv {

enum class codec : uint8_t {
  unknown,  ///< a FourCC or codec id that we do not know: passed through all the same
  avc,
  hevc,
  av1,
  vp8,
  vp9,
  vvc,
  h263,
  screen_video,
  vp6,
  aac,
  mp3,
  opus,
  ac3,
  eac3,
  flac,
  speex,
  pcm,
  adpcm,
  nellymoser,
  g711_alaw,
  g711_mulaw,
};

/// The usual name, e.g. "H264", "HEVC", "AAC"; "unknown" for unknown.
std::string_view name(codec c);

/// What a video message is. Of a multitrack message: what its first track is.
struct video_tag {
  flv::codec codec = flv::codec::unknown;
  bool keyframe = false;         ///< carries a frame that a decoder may start with; implies `coded`
  bool sequence_header = false;  ///< decoder configuration: send it before any frame
  bool end_of_sequence = false;
  bool metadata =
      false;           ///< Enhanced RTMP metadata (colour info, AMF): the latest one holds for the frames that follow
  bool coded = false;  ///< carries a frame
  bool enhanced = false;  ///< Enhanced RTMP header (FourCC)
  bool multitrack = false;
  uint8_t track_id = 0;
  int32_t composition_time_ms = 0;   ///< PTS - DTS
  uint32_t timestamp_offset_ns = 0;  ///< to add to the message's timestamp (ModEx)
  size_t header_size = 0;            ///< the (first track's) payload starts here
  size_t payload_size = 0;           ///< of the (first track's) payload
};

/// What an audio message is. Of a multitrack message: what its first track is.
struct audio_tag {
  flv::codec codec = flv::codec::unknown;
  bool sequence_header = false;  ///< decoder configuration: send it before any frame
  bool end_of_sequence = false;  ///< also the empty message, which means silence
  bool multichannel_config = false;
  bool coded = false;  ///< carries a frame
  bool enhanced = false;
  bool multitrack = false;
  uint8_t track_id = 0;
  uint32_t timestamp_offset_ns = 0;  ///< to add to the message's timestamp (ModEx)
  size_t header_size = 0;
  size_t payload_size = 0;
};

/// Reads the header of a video message. Unknown codecs and packet types are no error (no flag is set then).
/// Errors: flv_truncated, flv_bad_multitrack.
base::result<video_tag> parse_video_tag(base::bytes_view body);
/// Reads the header of an audio message. Errors as above.
base::result<audio_tag> parse_audio_tag(base::bytes_view body);

}  // namespace sluice::flv
