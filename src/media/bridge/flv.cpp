#include "media/bridge/flv.hpp"

#include <string_view>

#include "proto/flv/file.hpp"
#include "proto/rtmp/message.hpp"

namespace sluice::media {
namespace {

bool is_tag_type(uint8_t type) {
  return type == flv::audio_tag_type || type == flv::video_tag_type || type == flv::script_tag_type;
}

void write_tag(uint8_t type, uint32_t timestamp, base::bytes_view body, std::vector<uint8_t>& out) {
  // An AMF3 data message is an AMF0 one behind a format byte (RTMP 1.0 §7.1.1); FLV has only the latter.
  if (type == rtmp::data_amf3 && !body.empty()) {
    type = rtmp::data_amf0;
    body = body.subspan(1);
  }
  if (is_tag_type(type) && body.size() <= flv::tag_body_max) flv::write_tag(out, type, timestamp, body);
}

}  // namespace

void flv_muxer::file_header(std::vector<uint8_t>& out) {
  const bool unknown = !audio_ && !video_;
  const auto header = flv::file_header(audio_ || unknown, video_ || unknown);
  out.insert(out.end(), header.begin(), header.end());
}

void flv_muxer::note(const frame& f) {
  audio_ |= f.type == rtmp::audio;
  video_ |= f.type == rtmp::video;
}

void flv_muxer::headers(const header_set& set, uint32_t timestamp, std::vector<uint8_t>& out) {
  for (const frame& h : set) {
    note(h);
    const bool media = h.type == rtmp::audio || h.type == rtmp::video;
    // libavformat takes metadata at any other time than 0 for a subtitle.
    write_tag(h.type, media ? timestamp : 0, h.body().view(), out);
    if (media) continue;
    // Codecs without a sequence header (MP3, Speex, VP6) are announced by the encoder's metadata alone.
    const auto text = base::as_text(h.body().view());
    audio_ |= text.find("audiocodecid") != std::string_view::npos;
    video_ |= text.find("videocodecid") != std::string_view::npos;
  }
}

void flv_muxer::write(const frame& f, std::vector<uint8_t>& out) {
  note(f);
  write_tag(f.type, f.timestamp, f.body().view(), out);
}

std::optional<size_t> flv_muxer::write_around_body(const frame& f, std::vector<uint8_t>& out) {
  const size_t size = f.body().size();
  if (!is_tag_type(f.type) || size > flv::tag_body_max) return std::nullopt;
  note(f);
  const auto header = flv::tag_header(f.type, static_cast<uint32_t>(size), f.timestamp);
  const auto trailer = flv::tag_trailer(static_cast<uint32_t>(size));
  out.insert(out.end(), header.begin(), header.end());
  const size_t at = out.size();
  out.insert(out.end(), trailer.begin(), trailer.end());
  return at;
}

}  // namespace sluice::media
