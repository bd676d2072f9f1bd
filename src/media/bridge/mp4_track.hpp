#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.hpp"
#include "media/hub.hpp"
#include "proto/flv/tag.hpp"
#include "proto/mp4/fragment.hpp"

namespace sluice::media {

/// How one track of a stream goes into MP4.
struct mp4_track {
  flv::codec codec = flv::codec::unknown;
  mp4::track track;            ///< its id is set by the muxer
  std::string codec_string;    ///< RFC 6381
  uint32_t frame_samples = 0;  ///< audio: samples of every frame; 0: they differ, or it is not known
};

/// Of a sequence header: the body of an FLV tag. Nothing if MP4 does not carry it, or it cannot be read.
/// H.264, HEVC, AV1, VP9; AAC, Opus, FLAC. The size of AV1 and VP9 pictures is that of the publisher's metadata.
std::optional<mp4_track> video_track(base::bytes_view body, const header_set& headers);
std::optional<mp4_track> audio_track(base::bytes_view body);
/// MP3 has no sequence header: of its first frame (ISO 11172-3 §2.4.1.3, ISO 13818-3 for the low rates).
std::optional<mp4_track> mp3_track(base::bytes_view frame);

/// A number of the publisher's metadata (onMetaData), e.g. width, framerate; 0 if it is not there, or above 65,535.
double metadata_number(const header_set& headers, std::string_view name);
/// Samples at 48 kHz of an Opus packet (RFC 6716 §3.1); 0 if it is broken.
uint32_t opus_samples(base::bytes_view packet);

}  // namespace sluice::media
