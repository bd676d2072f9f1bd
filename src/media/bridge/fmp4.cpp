#include "media/bridge/fmp4.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::media {
namespace {

constexpr uint64_t audio_tolerance_ms = 5;

uint64_t units(uint64_t ms, uint32_t timescale) { return (ms * timescale + 500) / 1000; }

uint32_t narrow(uint64_t duration) { return static_cast<uint32_t>(std::min<uint64_t>(duration, UINT32_MAX)); }

bool carries(flv::codec c) {
  using enum flv::codec;
  return c == avc || c == hevc || c == av1 || c == vp9 || c == aac || c == opus || c == flac || c == mp3;
}

}  // namespace

void fmp4_muxer::begin(const header_set& headers, const segment_state& at) {
  sequence_ = static_cast<uint32_t>(at.number);
  video_.reset();
  audio_.reset();
  video_frames_.clear();
  audio_frames_.clear();
  left_out_.clear();
  for (const auto& h : headers) {
    const auto body = h.body().view();
    if (h.type == rtmp::video && !video_) {
      video_ = video_track(body, headers);
    } else if (h.type == rtmp::audio && !audio_) {
      audio_ = audio_track(body);
    }
  }
}

void fmp4_muxer::add(const frame& f, uint64_t dts_ms) {
  if (f.type == rtmp::video) add_video(f, dts_ms);
  if (f.type == rtmp::audio) add_audio(f, dts_ms);
}

void fmp4_muxer::add_video(const frame& f, uint64_t dts_ms) {
  const auto body = f.body().view();
  const auto tag = flv::parse_video_tag(body);
  if (!tag || !tag->coded || tag->payload_size == 0) return;
  if (tag->track_id != 0 || !carries(tag->codec)) return leave_out("video", tag->codec, tag->track_id);
  if (!video_ || tag->codec != video_->codec) return;
  video_frames_.push_back(
      {dts_ms, tag->composition_time_ms, tag->keyframe, f.body(), body.subspan(tag->header_size, tag->payload_size)});
}

void fmp4_muxer::add_audio(const frame& f, uint64_t dts_ms) {
  const auto body = f.body().view();
  const auto tag = flv::parse_audio_tag(body);
  if (!tag || !tag->coded || tag->payload_size == 0) return;
  if (tag->track_id != 0 || !carries(tag->codec)) return leave_out("audio", tag->codec, tag->track_id);
  const auto data = body.subspan(tag->header_size, tag->payload_size);
  if (!audio_ && tag->codec == flv::codec::mp3) audio_ = mp3_track(data);
  if (audio_ && tag->codec == audio_->codec) audio_frames_.push_back({dts_ms, 0, true, f.body(), data});
}

void fmp4_muxer::leave_out(std::string_view kind, flv::codec codec, uint8_t track_id) {
  auto name = track_id == 0 ? fmt::format("{} {}", kind, flv::name(codec)) : fmt::format("{} track {}", kind, track_id);
  if (std::ranges::find(left_out_, name) == left_out_.end()) left_out_.push_back(std::move(name));
}

mp4::track_run fmp4_muxer::video_run(uint64_t end_ms) const {
  const uint32_t scale = video_->track.timescale;
  mp4::track_run run{video_->track.id, 0, {}};
  if (video_frames_.empty()) return run;
  run.samples.reserve(video_frames_.size());
  uint64_t dts = video_frames_.front().dts_ms, duration_ms = 1;
  run.decode_time = units(dts, scale);
  for (size_t i = 0; i < video_frames_.size(); ++i) {
    const auto& p = video_frames_[i];
    const bool last = i + 1 == video_frames_.size();
    // DTS may not step back; PTS stays what the publisher said.
    const uint64_t next = std::max(last ? end_ms : video_frames_[i + 1].dts_ms, dts);
    if (!last || next > dts) duration_ms = next - dts;
    const int64_t composition_ms = p.composition_ms + static_cast<int64_t>(p.dts_ms) - static_cast<int64_t>(dts);
    const int64_t composition = std::clamp<int64_t>(composition_ms * scale / 1000, INT32_MIN, INT32_MAX);
    run.samples.push_back({narrow(units(duration_ms, scale)), static_cast<int32_t>(composition), p.keyframe, p.data});
    dts = next;
  }
  return run;
}

mp4::track_run fmp4_muxer::audio_run(uint64_t end_ms) const {
  const uint32_t rate = audio_->track.timescale;
  mp4::track_run run{audio_->track.id, 0, {}};
  if (audio_frames_.empty()) return run;
  run.samples.reserve(audio_frames_.size());
  uint64_t at = units(audio_frames_.front().dts_ms, rate);
  run.decode_time = at;
  for (size_t i = 0; i < audio_frames_.size(); ++i) {
    const auto& p = audio_frames_[i];
    const uint32_t length = audio_->codec == flv::codec::opus ? opus_samples(p.data) : audio_->frame_samples;
    const bool last = i + 1 == audio_frames_.size();
    const uint64_t said = units(last ? end_ms : audio_frames_[i + 1].dts_ms, rate);
    const uint64_t expected = at + length;
    const uint64_t off = said > expected ? said - expected : expected - said;
    const bool joins = length > 0 && (last || off <= units(audio_tolerance_ms, rate));
    const uint64_t next = joins ? expected : std::max(said, at);
    run.samples.push_back({narrow(next - at), 0, true, p.data});
    at = next;
  }
  return run;
}

std::vector<uint8_t> fmp4_muxer::end(uint64_t end_ms) {
  std::vector<mp4::track_run> runs;
  uint32_t id = 0;
  if (video_) {
    video_->track.id = ++id;
    runs.push_back(video_run(end_ms));
  }
  if (audio_) {
    audio_->track.id = ++id;
    runs.push_back(audio_run(end_ms));
  }
  std::vector<uint8_t> segment;
  if (!video_frames_.empty() || !audio_frames_.empty()) segment = mp4::media_segment(sequence_, runs);
  video_frames_.clear();
  audio_frames_.clear();
  return segment;
}

std::vector<uint8_t> fmp4_muxer::init() const {
  std::vector<mp4::track> tracks;
  if (video_) tracks.push_back(video_->track);
  if (audio_) tracks.push_back(audio_->track);
  return tracks.empty() ? std::vector<uint8_t>{} : mp4::init_segment(tracks);
}

stream_description fmp4_muxer::describe() const {
  stream_description d;
  if (video_) {
    d.codecs.push_back(video_->codec_string);
    d.width = video_->track.width;
    d.height = video_->track.height;
  }
  if (audio_) d.codecs.push_back(audio_->codec_string);
  return d;
}

}  // namespace sluice::media
