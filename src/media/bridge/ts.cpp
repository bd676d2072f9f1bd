#include "media/bridge/ts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "codec/avc.hpp"
#include "codec/hevc.hpp"

namespace sluice::media {
namespace {

using mpegts::ticks;
using mpegts::ticks_per_ms;

constexpr size_t record_bytes_max = 16 * 1024, units_max = 4096;
// Added to every timestamp: the PCR, which is behind, then begins above 0 for a stream that begins at 0, also where
// a negative composition time has put the DTS back.
constexpr ticks time_offset = 1000 * ticks_per_ms;
// A composition time further back than the PCR is behind is nonsense.
constexpr int32_t composition_min_ms = -500;

constexpr std::array<uint8_t, 4> start_code{0, 0, 0, 1};
// Access unit delimiters that allow every kind of slice: H.264 §7.3.2.4, H.265 §7.3.2.5. ISO/IEC 13818-1 §2.14.1 and
// §2.17.1 want one in each access unit.
constexpr std::array<uint8_t, 6> avc_delimiter{0, 0, 0, 1, 0x09, 0xF0};
constexpr std::array<uint8_t, 7> hevc_delimiter{0, 0, 0, 1, 0x46, 0x01, 0x50};

constexpr unsigned avc_sps = 7, avc_pps = 8, avc_aud = 9;
constexpr unsigned hevc_vps = 32, hevc_sps = 33, hevc_pps = 34, hevc_aud = 35;

void add_unit(std::vector<uint8_t>& out, const std::vector<uint8_t>& unit) {
  if (unit.empty()) return;
  out.insert(out.end(), start_code.begin(), start_code.end());
  out.insert(out.end(), unit.begin(), unit.end());
}

struct video_config {
  unsigned length_size;
  std::vector<uint8_t> parameter_sets;
};

std::optional<video_config> read_avc(base::bytes_view record) {
  const auto c = codec::avc::parse_config(record);
  if (!c) return std::nullopt;
  video_config v{c->length_size, {}};
  for (const auto& unit : c->sps) add_unit(v.parameter_sets, unit);
  for (const auto& unit : c->pps) add_unit(v.parameter_sets, unit);
  return v;
}

std::optional<video_config> read_hevc(base::bytes_view record) {
  const auto c = codec::hevc::parse_config(record);
  if (!c) return std::nullopt;
  video_config v{c->length_size, {}};
  for (const unsigned type : {hevc_vps, hevc_sps, hevc_pps}) {
    for (const auto& array : c->arrays) {
      if (array.type != type) continue;
      for (const auto& unit : array.units) add_unit(v.parameter_sets, unit);
    }
  }
  return v;
}

}  // namespace

// A frame of track `id`: whether it is ours. The lowest id seen is; *changed is set if what it was is forgotten.
bool ts_bridge::lane::choose(uint8_t id, flv::codec c, bool* changed) {
  if (track_id && id > *track_id) {
    others.set(id);
    return false;
  }
  *changed = track_id != id || codec != c;
  if (track_id && *track_id != id) others.set(*track_id);
  if (*changed) refused = false;
  track_id = id;
  codec = c;
  return true;
}

void ts_bridge::headers(const header_set& headers) {
  std::vector<uint8_t> none;
  for (const frame& f : headers) {
    if (f.header) write(f, none);
  }
}

void ts_bridge::write(const frame& f, std::vector<uint8_t>& out) {
  if (f.type == rtmp::video) {
    write_video(f, out);
  } else if (f.type == rtmp::audio) {
    write_audio(f, out);
  }
}

void ts_bridge::begin_segment() {
  mux_.begin_segment();
  waiting_.clear();
  anchored_ = false;
}

std::vector<std::string> ts_bridge::left_out() const {
  std::vector<std::string> names;
  const auto add = [&](const lane& l, const char* kind) {
    if (l.refused) names.push_back(fmt::format("{} {}", kind, flv::name(l.codec)));
    for (size_t id = 0; id < l.others.size(); ++id) {
      if (l.others[id]) names.push_back(fmt::format("{} track {}", kind, id));
    }
  };
  add(video_, "video");
  add(audio_, "audio");
  return names;
}

void ts_bridge::set_video(std::optional<mpegts::track> t) {
  mpegts::program p = mux_.current();
  p.video = t;
  mux_.set_program(p);
}

void ts_bridge::set_audio(std::optional<mpegts::track> t) {
  mpegts::program p = mux_.current();
  p.audio = t;
  mux_.set_program(p);
}

// 2^32 ms are a multiple of 2^33 ticks: what goes out does not depend on how many wraps there have been.
ticks ts_bridge::dts_of(uint32_t timestamp, uint32_t offset_ns) {
  if (!anchored_) {
    anchored_ = true;
    time_ms_ = timestamp;
  } else {
    time_ms_ += static_cast<uint64_t>(int64_t{static_cast<int32_t>(timestamp - last_timestamp_)});
  }
  last_timestamp_ = timestamp;
  return time_ms_ * ticks_per_ms + time_offset + uint64_t{offset_ns} * 9 / 100'000;
}

// -- video

bool ts_bridge::configure_video(base::bytes_view record) {
  if (record.size() > record_bytes_max) return false;
  auto c = video_.codec == flv::codec::avc ? read_avc(record) : read_hevc(record);
  if (!c) return false;
  length_size_ = c->length_size;
  parameter_sets_ = std::move(c->parameter_sets);
  set_video(mpegts::track{video_.codec == flv::codec::avc ? mpegts::content::h264 : mpegts::content::hevc});
  return true;
}

void ts_bridge::write_video(const frame& f, std::vector<uint8_t>& out) {
  const auto body = f.body().view();
  const auto tag = flv::parse_video_tag(body);
  if (!tag) {
    ++broken_;
    return;
  }
  if (!tag->sequence_header && !tag->coded) return;
  bool changed = false;
  if (!video_.choose(tag->track_id, tag->codec, &changed)) return;
  if (changed) set_video(std::nullopt);
  video_.refused = tag->codec != flv::codec::avc && tag->codec != flv::codec::hevc;
  if (video_.refused) return;

  const auto payload = body.subspan(tag->header_size, tag->payload_size);
  if (tag->sequence_header) {
    if (!configure_video(payload)) ++broken_;
    return;
  }
  if (!mux_.current().video || !make_annex_b(payload, tag->keyframe)) {
    ++broken_;
    return;
  }
  mpegts::access_unit unit;
  unit.dts = dts_of(f.timestamp, tag->timestamp_offset_ns);
  const int32_t composition = tag->composition_time_ms < composition_min_ms ? 0 : tag->composition_time_ms;
  unit.pts = unit.dts + static_cast<ticks>(composition * static_cast<int64_t>(ticks_per_ms));
  // TS has no picture that is shown before it is decoded. When it is shown is what must stay.
  if (composition < 0) unit.dts = unit.pts;
  unit.random_access = tag->keyframe;
  unit.parts = parts_;
  mux_.write(mpegts::kind::video, unit, out);
}

// Fills parts_: delimiter, parameter sets if the frame is a keyframe and does not bring them all, units. The frame's
// own delimiters are left out. False: a length is broken, or there is nothing.
bool ts_bridge::make_annex_b(base::bytes_view sample, bool keyframe) {
  const bool avc = video_.codec == flv::codec::avc;
  parts_.clear();
  parts_.push_back(avc ? base::bytes_view(avc_delimiter) : base::bytes_view(hevc_delimiter));
  parts_.emplace_back();
  bool has_sps = false, has_pps = false;
  codec::nal_iterator units(sample, length_size_);
  size_t count = 0;
  while (const auto unit = units.next()) {
    const unsigned type = avc ? unit->front() & 31u : unit->front() >> 1 & 63u;
    if (type == (avc ? avc_aud : hevc_aud)) continue;
    if (++count > units_max) return false;
    has_sps |= type == (avc ? avc_sps : hevc_sps);
    has_pps |= type == (avc ? avc_pps : hevc_pps);
    parts_.push_back(start_code);
    parts_.push_back(*unit);
  }
  if (keyframe && !(has_sps && has_pps)) parts_[1] = parameter_sets_;
  return !units.failed() && count > 0;
}

}  // namespace sluice::media
