#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/buffer.hpp"
#include "base/result.hpp"
#include "proto/rtmp/chunk_writer.hpp"
#include "proto/rtmp/message.hpp"

namespace sluice::rtmp {

/// Where whole messages go. Must not call the reader that calls it.
class message_sink {
 public:
  virtual base::result<void> on_message(message&& m) = 0;

 protected:
  ~message_sink() = default;
};

/// Takes a chunk stream apart (RTMP 1.0 §5.3) and puts messages together. The payload is copied once, into a block of
/// its own with message_headroom bytes in front. SetChunkSize and Abort concern this layer alone: they are obeyed here
/// and not delivered.
///
/// Memory: 32 bytes per chunk stream seen, and the unfinished messages. For those a block is made when their first
/// payload byte comes, 64 KB at most, which doubles as bytes arrive; all together stay below message_bytes_max + 1 MiB,
/// or 256 KiB while no media is wanted. Commands (types 17 and 20) and control messages have 64 KiB at most: a longer
/// one is refused before it takes any memory.
///
/// Errors: bad_chunk_size, message_too_large, command_too_large, too_many_chunk_streams, missing_chunk_header,
/// message_length_changed, bad_control_message, or what the sink returns. After an error the reader must not be used
/// again.
class chunk_reader {
 public:
  chunk_reader(uint32_t message_bytes_max, uint32_t chunk_streams_max)
      : message_bytes_max_(message_bytes_max), chunk_streams_max_(chunk_streams_max) {}

  /// Consumes all of `in`, and calls `sink` for each message that it completes.
  base::result<void> receive(base::bytes_view in, message_sink& sink);

  /// Whether large media messages are put together (they are, unless told otherwise). If not, those above 64 KiB are
  /// read past and not delivered. Holds for messages that begin from now on.
  void want_media(bool on) { media_wanted_ = on; }

  uint32_t chunk_size() const { return chunk_size_; }
  /// Of unfinished messages: bytes allocated for them.
  size_t buffered_bytes() const { return buffered_; }

 private:
  struct chunk_stream {
    uint32_t id : 17;
    uint32_t type : 8;
    uint32_t extended : 1;         // the last header with a timestamp field had an extended one
    uint32_t extended_absent : 1;  // ... which this sender does not repeat in type 3 chunks
    uint32_t in_message : 1;
    uint32_t passed_over : 1;  // this message's payload is not kept
    uint32_t timestamp = 0;
    uint32_t step = 0;  // what a type 3 chunk that starts a message adds to the timestamp
    uint32_t length = 0;
    uint32_t stream_id = 0;
    uint32_t received = 0;
    base::block_ref block;

    explicit chunk_stream(uint32_t i)
        : id(i & 0x1FFFF), type(0), extended(0), extended_absent(0), in_message(0), passed_over(0) {}
  };
  struct basic_header {
    uint8_t format, size;
    uint32_t id;
  };

  base::result<size_t> open_chunk(base::bytes_view in);
  base::result<size_t> open_full(base::bytes_view in, const basic_header& basic);
  base::result<size_t> open_continuation(base::bytes_view in, const basic_header& basic);
  base::result<base::bytes_view> open_split_chunk(base::bytes_view in, message_sink& sink);
  base::result<chunk_stream*> obtain(const basic_header& basic);
  chunk_stream* find(uint32_t id);
  void begin_message(chunk_stream& s);
  base::result<void> check_length(uint8_t type, uint32_t length) const;
  base::result<void> append(chunk_stream& s, base::bytes_view bytes);
  base::result<void> make_room(chunk_stream& s, uint32_t count);
  base::result<void> finish_message(chunk_stream& s, message_sink& sink);
  base::result<void> finish_if_empty(message_sink& sink);
  base::result<void> obey_chunk_size(base::bytes_view payload);
  base::result<void> obey_abort(base::bytes_view payload);
  void drop_block(chunk_stream& s);

  std::vector<chunk_stream> streams_;
  size_t buffered_ = 0;
  uint32_t message_bytes_max_;
  uint32_t chunk_streams_max_;
  uint32_t chunk_size_ = default_chunk_size;
  uint32_t current_ = 0;                                // index of the chunk stream last used
  uint32_t chunk_left_ = 0;                             // payload bytes of the current chunk still to come
  std::array<uint8_t, chunk_header_size_max> partial_;  // a header that the bytes so far do not complete
  uint8_t partial_size_ = 0;
  bool media_wanted_ = true;
};

}  // namespace sluice::rtmp
