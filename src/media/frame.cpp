#include "media/frame.hpp"

#include "proto/flv/script.hpp"
#include "proto/flv/tag.hpp"

namespace sluice::media {
namespace {

// Header slots: the message type, whether it is configuration or side information (colour, channel layout), the track.
constexpr size_t header_bytes_max = 16 * 1024;
constexpr uint32_t side_information = 1u << 16;

void classify_video(frame& f, base::bytes_view body) {
  const auto tag = flv::parse_video_tag(body);
  if (!tag) return;
  f.keyframe = tag->keyframe;
  f.header = tag->sequence_header || tag->metadata;
  f.header_slot |= tag->track_id | (tag->metadata ? side_information : 0);
}

void classify_audio(frame& f, base::bytes_view body) {
  const auto tag = flv::parse_audio_tag(body);
  if (!tag) return;
  f.header = tag->sequence_header || tag->multichannel_config;
  f.header_slot |= tag->track_id | (tag->multichannel_config ? side_information : 0);
}

}  // namespace

uint32_t chunk_stream_of(uint8_t type) {
  switch (type) {
    case rtmp::audio:
      return 4;
    case rtmp::video:
      return 6;
    default:
      return 5;
  }
}

message_kind kind_of(const rtmp::message& msg) {
  frame f;
  f.type = msg.type;
  const auto body = msg.payload.view();
  if (f.type == rtmp::video) {
    classify_video(f, body);
  } else if (f.type == rtmp::audio) {
    classify_audio(f, body);
  } else if (rtmp::is_media(f.type) && !body.empty()) {
    f.header = flv::parse_script(body.subspan(f.type == rtmp::data_amf3 ? 1 : 0)).is_metadata();
  }
  return {f.keyframe, f.header};
}

frame make_frame(rtmp::message msg, uint32_t timestamp, base::time_point now, bool strip_set_data_frame) {
  frame f;
  f.arrival = now;
  f.timestamp = timestamp;
  f.type = msg.type;
  f.header_slot = static_cast<uint32_t>(f.type) << 8;
  base::slice body = std::move(msg.payload);
  if (f.type == rtmp::video) {
    classify_video(f, body.view());
  } else if (f.type == rtmp::audio) {
    classify_audio(f, body.view());
  } else if (rtmp::is_media(f.type) && !body.empty()) {
    const size_t format_byte = f.type == rtmp::data_amf3 ? 1 : 0;
    const auto script = flv::parse_script(body.view().subspan(format_byte));
    f.header = script.is_metadata();
    if (strip_set_data_frame && script.set_data_frame && format_byte == 0)
      body = body.sub(body.size() - script.message.size());
  }
  // Headers are kept outside the log, and every newcomer gets them all: none in earnest is this long.
  if (body.size() > header_bytes_max) f.header = false;
  f.wire = rtmp::wire_message::serialise(std::move(body), f.type, timestamp, chunk_stream_of(f.type), wire_stream_id,
                                         wire_chunk_size);
  return f;
}

}  // namespace sluice::media
