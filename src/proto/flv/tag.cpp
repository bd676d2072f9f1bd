#include "proto/flv/tag.hpp"

#include <algorithm>
#include <array>

namespace sluice::flv {
namespace {

constexpr uint32_t fourcc(const char (&text)[5]) {
  uint32_t v = 0;
  for (int i = 0; i < 4; ++i) v = v << 8 | static_cast<uint8_t>(text[i]);
  return v;
}

struct fourcc_entry {
  uint32_t code;
  flv::codec codec;
};
constexpr std::array video_fourccs{
    fourcc_entry{fourcc("avc1"), codec::avc}, fourcc_entry{fourcc("hvc1"), codec::hevc},
    fourcc_entry{fourcc("av01"), codec::av1}, fourcc_entry{fourcc("vp08"), codec::vp8},
    fourcc_entry{fourcc("vp09"), codec::vp9}, fourcc_entry{fourcc("vvc1"), codec::vvc},
};
constexpr std::array audio_fourccs{
    fourcc_entry{fourcc("mp4a"), codec::aac},  fourcc_entry{fourcc(".mp3"), codec::mp3},
    fourcc_entry{fourcc("Opus"), codec::opus}, fourcc_entry{fourcc("ac-3"), codec::ac3},
    fourcc_entry{fourcc("ec-3"), codec::eac3}, fourcc_entry{fourcc("fLaC"), codec::flac},
};

template <size_t n>
codec find_codec(const std::array<fourcc_entry, n>& table, uint32_t code) {
  const auto found = std::find_if(table.begin(), table.end(), [&](const auto& entry) { return entry.code == code; });
  return found == table.end() ? codec::unknown : found->codec;
}

// FLV 10.1 §E.4.3.1. 12 (HEVC) and 13 (AV1) were never standardised but are common in the field, with AVC's layout.
codec legacy_video_codec(unsigned id) {
  switch (id) {
    case 2:
      return codec::h263;
    case 3:
    case 6:
      return codec::screen_video;
    case 4:
    case 5:
      return codec::vp6;
    case 7:
      return codec::avc;
    case 12:
      return codec::hevc;
    case 13:
      return codec::av1;
    default:
      return codec::unknown;
  }
}

// FLV 10.1 §E.4.2.1.
codec legacy_audio_codec(unsigned format) {
  switch (format) {
    case 0:
    case 3:
      return codec::pcm;
    case 1:
      return codec::adpcm;
    case 2:
    case 14:
      return codec::mp3;
    case 4:
    case 5:
    case 6:
      return codec::nellymoser;
    case 7:
      return codec::g711_alaw;
    case 8:
      return codec::g711_mulaw;
    case 10:
      return codec::aac;
    case 11:
      return codec::speex;
    default:
      return codec::unknown;
  }
}

enum frame_type : uint8_t { key_frame = 1, generated_key_frame = 4, command_frame = 5 };
enum video_packet_type : uint8_t {
  video_sequence_start = 0,
  video_coded_frames = 1,
  video_sequence_end = 2,
  video_coded_frames_x = 3,
  video_metadata = 4,
  video_mpeg2ts_sequence_start = 5,
  video_multitrack = 6,
};
enum audio_packet_type : uint8_t {
  audio_sequence_start = 0,
  audio_coded_frames = 1,
  audio_sequence_end = 2,
  audio_multichannel_config = 4,
  audio_multitrack = 5,
};
constexpr uint8_t mod_ex_packet = 7;
enum multitrack_type : uint8_t { one_track = 0, many_tracks = 1, many_tracks_many_codecs = 2 };

tl::unexpected<base::error> truncated() { return base::fail("flv_truncated", "audio or video header is cut"); }

int32_t si24(base::byte_reader& in) {
  const uint32_t v = in.u24();
  return static_cast<int32_t>(v << 8) >> 8;
}

// Enhanced RTMP v2, ModEx: a chain of extensions in front of the packet type proper. Returns that type.
uint8_t read_mod_ex(base::byte_reader& in, uint8_t packet_type, uint32_t& timestamp_offset_ns) {
  while (packet_type == mod_ex_packet && !in.failed()) {
    size_t size = in.u8() + size_t{1};
    if (size == 256) size = in.u16() + size_t{1};
    base::byte_reader data(in.bytes(size));
    const uint8_t next = in.u8();
    if (next >> 4 == 0 && size >= 3) timestamp_offset_ns = data.u24();
    packet_type = next & 0x0F;
  }
  return packet_type;
}

struct track_header {
  uint8_t packet_type;
  uint32_t fourcc;
  uint8_t track_id = 0;
  size_t size_left;  // of the track from here on
};

// Everything between ModEx and the first track's body: FourCC, and for multitrack its types, track id and size.
base::result<track_header> read_track(base::byte_reader& in, uint8_t packet_type, uint8_t multitrack_packet) {
  if (packet_type != multitrack_packet) {
    const uint32_t code = in.u32();
    if (in.failed()) return truncated();
    return track_header{packet_type, code, 0, in.remaining()};
  }
  const uint8_t types = in.u8();
  const unsigned kind = types >> 4;
  track_header track{static_cast<uint8_t>(types & 0x0F), in.u32(), 0, 0};  // one FourCC, before or in the first track
  track.track_id = in.u8();
  const size_t size = kind == one_track ? in.remaining() : in.u24();
  if (in.failed() || size > in.remaining()) return truncated();
  if (kind > many_tracks_many_codecs || track.packet_type == multitrack_packet) {
    return base::fail("flv_bad_multitrack", "unknown multitrack type, or multitrack inside multitrack");
  }
  track.size_left = size;
  return track;
}

base::result<video_tag> parse_enhanced_video(base::byte_reader& in, size_t body_size, uint8_t first) {
  video_tag tag;
  tag.enhanced = true;
  const unsigned frame = first >> 4 & 7;
  const uint8_t packet_type = read_mod_ex(in, first & 0x0F, tag.timestamp_offset_ns);
  if (in.failed()) return truncated();
  if (frame == command_frame && packet_type != video_metadata) {
    in.u8();  // seek start or end
    if (in.failed()) return truncated();
    tag.header_size = body_size - in.remaining();
    tag.payload_size = in.remaining();
    return tag;
  }
  const auto track = read_track(in, packet_type, video_multitrack);
  if (!track) return tl::unexpected(track.error());
  tag.multitrack = packet_type == video_multitrack;
  tag.track_id = track->track_id;
  tag.codec = find_codec(video_fourccs, track->fourcc);
  tag.sequence_header =
      track->packet_type == video_sequence_start || track->packet_type == video_mpeg2ts_sequence_start;
  tag.coded = track->packet_type == video_coded_frames || track->packet_type == video_coded_frames_x;
  tag.end_of_sequence = track->packet_type == video_sequence_end;
  tag.metadata = track->packet_type == video_metadata;
  tag.keyframe = tag.coded && (frame == key_frame || frame == generated_key_frame);
  tag.payload_size = track->size_left;
  const bool reordered = tag.codec == codec::avc || tag.codec == codec::hevc || tag.codec == codec::vvc;
  if (track->packet_type == video_coded_frames && reordered) {
    tag.composition_time_ms = si24(in);
    if (in.failed() || track->size_left < 3) return truncated();
    tag.payload_size -= 3;
  }
  tag.header_size = body_size - in.remaining();
  return tag;
}

base::result<audio_tag> parse_enhanced_audio(base::byte_reader& in, size_t body_size, uint8_t first) {
  audio_tag tag;
  tag.enhanced = true;
  const uint8_t packet_type = read_mod_ex(in, first & 0x0F, tag.timestamp_offset_ns);
  if (in.failed()) return truncated();
  const auto track = read_track(in, packet_type, audio_multitrack);
  if (!track) return tl::unexpected(track.error());
  tag.multitrack = packet_type == audio_multitrack;
  tag.track_id = track->track_id;
  tag.codec = find_codec(audio_fourccs, track->fourcc);
  tag.sequence_header = track->packet_type == audio_sequence_start;
  tag.coded = track->packet_type == audio_coded_frames;
  tag.end_of_sequence = track->packet_type == audio_sequence_end;
  tag.multichannel_config = track->packet_type == audio_multichannel_config;
  tag.header_size = body_size - in.remaining();
  tag.payload_size = track->size_left;
  return tag;
}

}  // namespace

std::string_view name(codec c) {
  switch (c) {
    case codec::unknown:
      return "unknown";
    case codec::avc:
      return "H264";
    case codec::hevc:
      return "HEVC";
    case codec::av1:
      return "AV1";
    case codec::vp8:
      return "VP8";
    case codec::vp9:
      return "VP9";
    case codec::vvc:
      return "VVC";
    case codec::h263:
      return "H263";
    case codec::screen_video:
      return "ScreenVideo";
    case codec::vp6:
      return "VP6";
    case codec::aac:
      return "AAC";
    case codec::mp3:
      return "MP3";
    case codec::opus:
      return "Opus";
    case codec::ac3:
      return "AC-3";
    case codec::eac3:
      return "E-AC-3";
    case codec::flac:
      return "FLAC";
    case codec::speex:
      return "Speex";
    case codec::pcm:
      return "PCM";
    case codec::adpcm:
      return "ADPCM";
    case codec::nellymoser:
      return "Nellymoser";
    case codec::g711_alaw:
      return "G711A";
    case codec::g711_mulaw:
      return "G711U";
  }
  return "unknown";
}

base::result<video_tag> parse_video_tag(base::bytes_view body) {
  base::byte_reader in(body);
  const uint8_t first = in.u8();
  if (in.failed()) return truncated();
  if (first & 0x80) return parse_enhanced_video(in, body.size(), first);

  video_tag tag;
  const unsigned frame = first >> 4;
  tag.codec = legacy_video_codec(first & 0x0F);
  const bool avc_layout = tag.codec == codec::avc || tag.codec == codec::hevc || tag.codec == codec::av1;
  if (frame == command_frame) {
    in.u8();
    if (in.failed()) return truncated();
  } else if (avc_layout) {
    const uint8_t packet_type = in.u8();
    tag.composition_time_ms = si24(in);
    if (in.failed()) return truncated();
    tag.sequence_header = packet_type == video_sequence_start;
    tag.coded = packet_type == video_coded_frames;
    tag.end_of_sequence = packet_type == video_sequence_end;
  } else {
    tag.coded = in.remaining() > 0;
  }
  tag.keyframe = tag.coded && (frame == key_frame || frame == generated_key_frame);
  tag.header_size = body.size() - in.remaining();
  tag.payload_size = in.remaining();
  return tag;
}

base::result<audio_tag> parse_audio_tag(base::bytes_view body) {
  base::byte_reader in(body);
  audio_tag tag;
  if (body.empty()) {
    tag.end_of_sequence = true;
    return tag;
  }
  const uint8_t first = in.u8();
  constexpr unsigned enhanced_format = 9;
  if (first >> 4 == enhanced_format) return parse_enhanced_audio(in, body.size(), first);

  tag.codec = legacy_audio_codec(first >> 4);
  if (tag.codec == codec::aac) {
    const uint8_t packet_type = in.u8();
    if (in.failed()) return truncated();
    tag.sequence_header = packet_type == audio_sequence_start;
    tag.coded = packet_type == audio_coded_frames;
  } else {
    tag.coded = in.remaining() > 0;
  }
  tag.header_size = body.size() - in.remaining();
  tag.payload_size = in.remaining();
  return tag;
}

}  // namespace sluice::flv
