#include <algorithm>

#include "codec/ac3.hpp"
#include "codec/opus.hpp"
#include "media/bridge/ts.hpp"

// The audio side of ts_bridge.
namespace sluice::media {
namespace {

using mpegts::content;
using mpegts::ticks;
using mpegts::ticks_per_ms;

constexpr size_t record_bytes_max = 16 * 1024, waiting_bytes_max = 60'000;

// channel_config_code of "Opus in MPEG-TS" (table 4-2): 1 to 8 are the channel layouts of RFC 7845 §5.1.1.2 with as
// many coupled streams as there are pairs, each channel mapped as Vorbis has it. Nothing: a layout that only the
// explicit form could describe.
std::optional<uint8_t> opus_channel_config(const codec::opus::config& c) {
  if (c.mapping_family == 0) return c.channels;
  struct layout {
    uint8_t streams, coupled;
    std::array<uint8_t, 8> mapping;
  };
  static constexpr std::array<layout, 8> layouts{{{1, 0, {0}},
                                                  {1, 1, {0, 1}},
                                                  {2, 1, {0, 2, 1}},
                                                  {2, 2, {0, 1, 2, 3}},
                                                  {3, 2, {0, 4, 1, 2, 3}},
                                                  {4, 2, {0, 4, 1, 2, 3, 5}},
                                                  {4, 3, {0, 4, 1, 2, 3, 5, 6}},
                                                  {5, 3, {0, 6, 1, 2, 3, 4, 5, 7}}}};
  if (c.mapping_family != 1 || c.channels > layouts.size()) return std::nullopt;
  const layout& l = layouts[c.channels - 1];
  const bool same = c.streams == l.streams && c.coupled_streams == l.coupled &&
                    std::equal(c.mapping.begin(), c.mapping.begin() + c.channels, l.mapping.begin());
  return same ? std::optional(c.channels) : std::nullopt;
}

bool carries_audio(flv::codec c) {
  return c == flv::codec::aac || c == flv::codec::mp3 || c == flv::codec::opus || c == flv::codec::ac3 ||
         c == flv::codec::eac3;
}

void add(std::vector<uint8_t>& out, base::bytes_view bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }

}  // namespace

// False: it cannot be read. A configuration that TS cannot carry is none of that: it refuses the track.
bool ts_bridge::configure_audio(base::bytes_view record) {
  if (record.size() > record_bytes_max) return false;
  if (audio_.codec == flv::codec::aac) {
    if (!codec::aac::parse_config(record)) return false;
    auto a = codec::aac::make_adts(record);
    audio_.refused = !a;
    if (a) adts_ = std::move(*a);
    set_audio(a ? std::optional(mpegts::track{content::aac_adts}) : std::nullopt);
  } else if (audio_.codec == flv::codec::opus) {
    const auto c = codec::opus::parse_config(record);
    if (!c) return false;
    const auto channels = opus_channel_config(*c);
    audio_.refused = !channels;
    set_audio(channels ? std::optional(mpegts::track{content::opus, *channels}) : std::nullopt);
  }
  return true;  // the others' frames say what they are
}

void ts_bridge::write_audio(const frame& f, std::vector<uint8_t>& out) {
  const auto body = f.body().view();
  const auto tag = flv::parse_audio_tag(body);
  if (!tag) {
    ++broken_;
    return;
  }
  if (!tag->sequence_header && !tag->coded) return;
  bool changed = false;
  if (!audio_.choose(tag->track_id, tag->codec, &changed)) return;
  // What waits was made under the configuration so far.
  if (changed || tag->sequence_header) flush(out);
  if (changed) set_audio(std::nullopt);
  if (!carries_audio(tag->codec)) audio_.refused = true;

  const auto payload = body.subspan(tag->header_size, tag->payload_size);
  if (tag->sequence_header) {
    if (carries_audio(tag->codec) && !configure_audio(payload)) ++broken_;
    return;
  }
  if (audio_.refused) return;
  const ticks dts = dts_of(f.timestamp, tag->timestamp_offset_ns);
  const ticks limit = options_.audio_pes_ms * ticks_per_ms;
  // Also when time goes back: that is a very large difference.
  if (!waiting_.empty() && (dts - waiting_since_ >= limit || waiting_.size() + payload.size() > waiting_bytes_max))
    flush(out);
  const auto track = audio_track_of(payload);
  if (track && track != mux_.current().audio) {
    flush(out);
    set_audio(track);
  }
  if (waiting_.empty()) waiting_since_ = dts;
  if (!track || !append_audio(payload)) {
    ++broken_;
    return;
  }
  if (limit == 0) flush(out);
}

void ts_bridge::flush(std::vector<uint8_t>& out) {
  if (waiting_.empty()) return;
  const base::bytes_view bytes(waiting_);
  mpegts::access_unit unit;
  unit.pts = unit.dts = waiting_since_;
  unit.random_access = !mux_.current().video;
  unit.parts = std::span(&bytes, 1);
  mux_.write(mpegts::kind::audio, unit, out);
  waiting_.clear();
}

// What the PMT must say for this frame. Nothing: it cannot be read, or has no configuration yet.
std::optional<mpegts::track> ts_bridge::audio_track_of(base::bytes_view raw) const {
  if (audio_.codec == flv::codec::mp3) {
    // ISO 11172-3 §2.4.2.3: the sync word and the version; the lower rates of 13818-3 have another stream type.
    if (raw.size() < 4 || raw[0] != 0xFF || (raw[1] & 0xE0) != 0xE0) return std::nullopt;
    const bool mpeg1 = (raw[1] >> 3 & 3) == 3;
    return mpegts::track{mpeg1 ? content::mpeg1_audio : content::mpeg2_audio};
  }
  if (audio_.codec == flv::codec::ac3 || audio_.codec == flv::codec::eac3) {
    const auto frame = codec::ac3::parse_frame(raw);
    if (!frame) return std::nullopt;
    return mpegts::track{frame->enhanced ? content::eac3 : content::ac3};
  }
  return mux_.current().audio;
}

// False: no frame, or one that is too long.
bool ts_bridge::append_audio(base::bytes_view raw) {
  if (raw.empty() || raw.size() > waiting_bytes_max) return false;
  if (audio_.codec == flv::codec::opus) {
    append_opus(raw);
    return true;
  }
  if (audio_.codec == flv::codec::aac) {
    using namespace codec::aac;
    if (adts_header_size + adts_.prefix.size() + raw.size() > adts_frame_bytes_max) return false;
    add(waiting_, adts_header(adts_, raw.size()));
    add(waiting_, adts_.prefix);
  }
  add(waiting_, raw);
  return true;
}

// "Opus in MPEG-TS" §3.2, opus_control_header: prefix 0x3FF, no trims, no extension, then the size in bytes of 255 and
// one below.
void ts_bridge::append_opus(base::bytes_view packet) {
  waiting_.push_back(0x7F);
  waiting_.push_back(0xE0);
  waiting_.insert(waiting_.end(), packet.size() / 255, uint8_t{255});
  waiting_.push_back(static_cast<uint8_t>(packet.size() % 255));
  add(waiting_, packet);
}

}  // namespace sluice::media
