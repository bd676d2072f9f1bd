#pragma once

#include <cstdint>

#include "base/time.hpp"
#include "proto/rtmp/wire.hpp"

namespace sluice::media {

/// One message of a live stream. The body is an FLV tag body (an RTMP message payload), legacy or Enhanced RTMP: the
/// form in which nearly all of our media comes and goes (docs/adr/0003). Immutable once in a hub; copying costs a
/// reference.
struct frame {
  rtmp::wire_message wire;   ///< ready to send on stream id 1
  base::time_point arrival;  ///< when this process got it
  uint32_t timestamp = 0;    ///< DTS in ms, modulo 2^32
  uint8_t type = 0;          ///< rtmp::message_type: audio, video, data or one we do not know
  bool keyframe = false;     ///< video that can be decoded without what came before
  bool header = false;       ///< sequence header or metadata: late joiners need it first
  uint32_t header_slot = 0;  ///< which header it replaces: type and track

  const base::slice& body() const { return wire.payload(); }
};

/// Chunk stream of each kind of message towards players and origins: audio and video may not block each other's
/// headers.
uint32_t chunk_stream_of(uint8_t type);

/// The stream id that wire forms carry; every client and server in use counts from 1.
inline constexpr uint32_t wire_stream_id = 1;
inline constexpr uint32_t wire_chunk_size = 60000;

/// What a message is for a decoder.
struct message_kind {
  bool keyframe = false;
  bool header = false;
};
message_kind kind_of(const rtmp::message& msg);

/// Classifies `msg` and serialises it at `timestamp`. A body that is no valid tag is carried all the same, as plain
/// media. `strip_set_data_frame`: players get `onMetaData` as such, without the publisher's `@setDataFrame` in front.
frame make_frame(rtmp::message msg, uint32_t timestamp, base::time_point now, bool strip_set_data_frame);

}  // namespace sluice::media
