#include "media/bridge/mp4_track.hpp"

#include <algorithm>
#include <array>

#include "codec/aac.hpp"
#include "codec/av1.hpp"
#include "codec/avc.hpp"
#include "codec/flac.hpp"
#include "codec/hevc.hpp"
#include "codec/nal.hpp"
#include "codec/opus.hpp"
#include "codec/vpx.hpp"
#include "proto/amf0/value.hpp"
#include "proto/flv/script.hpp"
#include "proto/mp4/sample_entry.hpp"

namespace sluice::media {
namespace {

// 90 kHz for video: whole milliseconds are exact, and it is MPEG-TS's clock, so that both forms of a stream say the
// same times.
constexpr uint32_t video_timescale = 90000;
constexpr uint32_t opus_rate = 48000;

void set_size(mp4_track& t, codec::picture_size size) {
  t.track.width = static_cast<uint16_t>(std::min<uint32_t>(size.width, 0xFFFF));
  t.track.height = static_cast<uint16_t>(std::min<uint32_t>(size.height, 0xFFFF));
}

codec::picture_size metadata_size(const header_set& headers) {
  return {static_cast<uint32_t>(metadata_number(headers, "width")),
          static_cast<uint32_t>(metadata_number(headers, "height"))};
}

bool avc_track(mp4_track& t, base::bytes_view record) {
  const auto c = codec::avc::parse_config(record);
  if (!c || c->sps.empty()) return false;
  if (const auto sps = codec::avc::parse_sps(c->sps.front())) set_size(t, sps->size);
  t.codec_string = codec::avc::codec_string(*c);
  t.track.sample_entry = mp4::visual_entry("avc1", "avcC", record, t.track.width, t.track.height);
  return true;
}

bool hevc_track(mp4_track& t, base::bytes_view record) {
  constexpr uint8_t sps_type = 33;
  const auto c = codec::hevc::parse_config(record);
  if (!c) return false;
  for (const auto& array : c->arrays) {
    if (array.type != sps_type || array.units.empty()) continue;
    if (const auto sps = codec::hevc::parse_sps(array.units.front())) set_size(t, sps->size);
  }
  t.codec_string = codec::hevc::codec_string(*c);
  t.track.sample_entry = mp4::visual_entry("hvc1", "hvcC", record, t.track.width, t.track.height);
  return true;
}

bool av1_track(mp4_track& t, base::bytes_view record, const header_set& headers) {
  const auto c = codec::av1::parse_config(record);
  if (!c) return false;
  set_size(t, metadata_size(headers));
  t.codec_string = codec::av1::codec_string(*c);
  t.track.sample_entry = mp4::visual_entry("av01", "av1C", record, t.track.width, t.track.height);
  return true;
}

bool vp9_track(mp4_track& t, base::bytes_view record, const header_set& headers) {
  const auto c = codec::vpx::parse_config(record);
  if (!c) return false;
  constexpr size_t box_header_size = 4, record_size = 8;
  if (record.size() >= box_header_size + record_size) record = record.subspan(box_header_size);
  set_size(t, metadata_size(headers));
  t.codec_string = codec::vpx::codec_string(*c);
  t.track.sample_entry = mp4::vp9_entry(record, t.track.width, t.track.height);
  return true;
}

bool aac_track(mp4_track& t, base::bytes_view config) {
  const auto c = codec::aac::parse_config(config);
  if (!c || c->sample_rate_hz > 192000) return false;
  t.track.timescale = c->sample_rate_hz;
  t.frame_samples = c->short_frames ? 960 : 1024;
  t.codec_string = codec::aac::codec_string(*c);
  t.track.sample_entry =
      mp4::mp4a_entry(mp4::object_type_aac, config, std::max<uint8_t>(c->channels, 1), c->sample_rate_hz);
  return true;
}

bool opus_track(mp4_track& t, base::bytes_view header) {
  const auto c = codec::opus::parse_config(header);
  if (!c) return false;
  t.track.timescale = opus_rate;
  t.codec_string = codec::opus::codec_string;
  t.track.sample_entry = mp4::opus_entry(*c);
  return true;
}

bool flac_track(mp4_track& t, base::bytes_view header) {
  const auto c = codec::flac::parse_config(header);
  if (!c || c->sample_rate_hz == 0) return false;
  constexpr size_t stream_info_at = 8, stream_info_size = 34;
  t.track.timescale = c->sample_rate_hz;
  t.frame_samples = c->block_samples_min == c->block_samples_max ? c->block_samples_min : 0;
  t.codec_string = codec::flac::codec_string;
  t.track.sample_entry = mp4::flac_entry(header.subspan(stream_info_at, stream_info_size), c->channels,
                                         c->bits_per_sample, c->sample_rate_hz);
  return true;
}

}  // namespace

double metadata_number(const header_set& headers, std::string_view name) {
  constexpr double most = 65535;
  for (const auto& f : headers) {
    if (f.type != rtmp::data_amf0) continue;
    const auto script = flv::parse_script(f.body().view());
    base::byte_reader in(script.value);
    const auto properties = script.is_metadata() ? amf0::decode(in) : base::result<amf0::value>();
    const auto* found = properties ? properties->find(name) : nullptr;
    const double v = found ? found->number_or(0) : 0;
    if (v > 0 && v <= most) return v;
  }
  return 0;
}

std::optional<mp4_track> video_track(base::bytes_view body, const header_set& headers) {
  const auto tag = flv::parse_video_tag(body);
  if (!tag || !tag->sequence_header) return std::nullopt;
  const auto record = body.subspan(tag->header_size, tag->payload_size);
  mp4_track t;
  t.codec = tag->codec;
  t.track.video = true;
  t.track.timescale = video_timescale;
  const bool known = tag->codec == flv::codec::avc    ? avc_track(t, record)
                     : tag->codec == flv::codec::hevc ? hevc_track(t, record)
                     : tag->codec == flv::codec::av1  ? av1_track(t, record, headers)
                     : tag->codec == flv::codec::vp9  ? vp9_track(t, record, headers)
                                                      : false;
  return known ? std::optional(std::move(t)) : std::nullopt;
}

std::optional<mp4_track> audio_track(base::bytes_view body) {
  const auto tag = flv::parse_audio_tag(body);
  if (!tag || !tag->sequence_header) return std::nullopt;
  const auto record = body.subspan(tag->header_size, tag->payload_size);
  mp4_track t;
  t.codec = tag->codec;
  const bool known = tag->codec == flv::codec::aac    ? aac_track(t, record)
                     : tag->codec == flv::codec::opus ? opus_track(t, record)
                     : tag->codec == flv::codec::flac ? flac_track(t, record)
                                                      : false;
  return known ? std::optional(std::move(t)) : std::nullopt;
}

std::optional<mp4_track> mp3_track(base::bytes_view frame) {
  base::byte_reader in(frame);
  const uint32_t head = in.u32();
  const uint32_t version = head >> 19 & 3, layer = head >> 17 & 3, rate_index = head >> 10 & 3;
  constexpr uint32_t layer_3 = 1, version_1 = 3, version_2 = 2, reserved = 1, mono = 3;
  if (in.failed() || head >> 21 != 0x7FF || layer != layer_3 || version == reserved || rate_index == 3) {
    return std::nullopt;
  }
  constexpr std::array<uint32_t, 3> rates{44100, 48000, 32000};
  mp4_track t;
  t.codec = flv::codec::mp3;
  t.track.timescale = rates[rate_index] / (version == version_1 ? 1 : version == version_2 ? 2 : 4);
  t.frame_samples = version == version_1 ? 1152 : 576;
  t.codec_string = "mp4a.40.34";
  const uint16_t channels = (head >> 6 & 3) == mono ? 1 : 2;
  t.track.sample_entry = mp4::mp4a_entry(mp4::object_type_mp3, {}, channels, t.track.timescale);
  return t;
}

uint32_t opus_samples(base::bytes_view packet) {
  if (packet.empty()) return 0;
  const uint32_t config = packet[0] >> 3, code = packet[0] & 3;
  constexpr std::array<uint32_t, 4> silk{480, 960, 1920, 2880}, celt{120, 240, 480, 960};
  const uint32_t frame = config < 12 ? silk[config & 3] : config < 16 ? (config & 1 ? 960 : 480) : celt[config & 3];
  if (code < 3) return frame * (code == 0 ? 1 : 2);
  constexpr uint32_t packet_samples_max = 5760;  // 120 ms
  const uint32_t count = packet.size() > 1 ? packet[1] & 63 : 0;
  return frame * count <= packet_samples_max ? frame * count : 0;
}

}  // namespace sluice::media
