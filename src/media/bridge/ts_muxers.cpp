#include "media/bridge/ts_muxers.hpp"

#include "media/bridge/mp4_track.hpp"

namespace sluice::media {
namespace {

// Where a segment is sent as a whole, audio may share packets.
constexpr uint32_t audio_pes_ms = 100;

stream_description describe_tracks(const header_set& headers) {
  stream_description d;
  bool video = false, audio = false;
  for (const auto& h : headers) {
    const auto body = h.body().view();
    if (h.type == rtmp::video && !video) {
      const auto track = video_track(body, headers);
      if (!track || (track->codec != flv::codec::avc && track->codec != flv::codec::hevc)) continue;
      video = true;
      d.codecs.insert(d.codecs.begin(), track->codec_string);
      d.width = track->track.width;
      d.height = track->track.height;
    } else if (h.type == rtmp::audio && !audio) {
      const auto track = audio_track(body);
      if (!track || track->codec == flv::codec::flac) continue;
      audio = true;
      d.codecs.push_back(track->codec_string);
    }
  }
  return d;
}

}  // namespace

void ts_segment_muxer::begin(const header_set& headers, const segment_state&) {
  ts_.emplace(ts_options{audio_pes_ms});
  bytes_.clear();
  ts_->headers(headers);
  ts_->begin_segment();
  description_ = describe_tracks(headers);
}

void ts_segment_muxer::add(const frame& f, uint64_t) {
  ts_->write(f, bytes_);
  if (f.type != rtmp::audio || description_.codecs.size() > 1) return;
  // MP3 has no sequence header: of its first frame.
  const auto body = f.body().view();
  const auto tag = flv::parse_audio_tag(body);
  const bool named = !description_.codecs.empty() && description_.codecs.back().starts_with("mp4a");
  if (!named && tag && tag->codec == flv::codec::mp3)
    if (const auto track = mp3_track(body.subspan(tag->header_size, tag->payload_size)))
      description_.codecs.push_back(track->codec_string);
}

std::vector<uint8_t> ts_segment_muxer::end(uint64_t) {
  ts_->flush(bytes_);
  return std::exchange(bytes_, {});
}

}  // namespace sluice::media
