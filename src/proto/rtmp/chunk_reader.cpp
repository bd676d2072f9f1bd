#include "proto/rtmp/chunk_reader.hpp"

#include <algorithm>
#include <cstring>

namespace sluice::rtmp {
namespace {

using base::fail;

constexpr uint32_t first_block_max = 64 * 1024;
constexpr size_t other_messages_max = 1 << 20;
/// Of commands and control messages, and of everything while no media is wanted; and of all that is unfinished then.
constexpr uint32_t small_message_max = 64 * 1024;
constexpr size_t small_messages_max = 256 * 1024;

uint32_t be24(const uint8_t* p) { return uint32_t{p[0]} << 16 | uint32_t{p[1]} << 8 | p[2]; }
uint32_t be32(const uint8_t* p) { return uint32_t{p[0]} << 24 | be24(p + 1); }
uint32_t le32(const uint8_t* p) {
  return uint32_t{p[3]} << 24 | uint32_t{p[2]} << 16 | uint32_t{p[1]} << 8 | uint32_t{p[0]};
}

/// How many of the first bytes of `in` are the first bytes of `value`, big-endian: 4 if all.
size_t common_prefix(base::bytes_view in, uint32_t value) {
  size_t n = 0;
  while (n < 4 && n < in.size() && in[n] == static_cast<uint8_t>(value >> (24 - 8 * n))) ++n;
  return n;
}

}  // namespace

base::result<void> chunk_reader::receive(base::bytes_view in, message_sink& sink) {
  while (!in.empty()) {
    if (chunk_left_ > 0) {
      chunk_stream& s = streams_[current_];
      const auto part = in.first(std::min<size_t>(in.size(), chunk_left_));
      if (auto ok = append(s, part); !ok) return ok;
      in = in.subspan(part.size());
      chunk_left_ -= static_cast<uint32_t>(part.size());
      if (s.received == s.length) {
        if (auto ok = finish_message(s, sink); !ok) return ok;
      }
      continue;
    }
    if (partial_size_ > 0) {
      auto rest = open_split_chunk(in, sink);
      if (!rest) return tl::unexpected(std::move(rest.error()));
      in = *rest;
    } else {
      auto used = open_chunk(in);
      if (!used) return tl::unexpected(std::move(used.error()));
      if (*used == 0) {  // shorter than the longest header, so it fits
        std::copy(in.begin(), in.end(), partial_.begin());
        partial_size_ = static_cast<uint8_t>(in.size());
        return {};
      }
      in = in.subspan(*used);
      if (auto ok = finish_if_empty(sink); !ok) return ok;
    }
  }
  return {};
}

/// A header that began in an earlier read: puts the two parts together. Returns what is left of `in`.
base::result<base::bytes_view> chunk_reader::open_split_chunk(base::bytes_view in, message_sink& sink) {
  std::array<uint8_t, chunk_header_size_max> joined = partial_;
  const size_t before = partial_size_;
  const size_t added = std::min(in.size(), joined.size() - before);
  std::copy_n(in.begin(), added, joined.begin() + static_cast<std::ptrdiff_t>(before));
  auto used = open_chunk(base::bytes_view(joined).first(before + added));
  if (!used) return tl::unexpected(std::move(used.error()));
  if (*used == 0) {  // only if `in` is used up, since no header is longer than `joined`
    partial_ = joined;
    partial_size_ = static_cast<uint8_t>(before + added);
    return in.subspan(added);
  }
  partial_size_ = 0;
  if (auto ok = finish_if_empty(sink); !ok) return tl::unexpected(std::move(ok.error()));
  if (*used >= before) return in.subspan(*used - before);
  // What looked like the start of a repeated extended timestamp was payload: at most 3 bytes, so this does not go deep.
  if (auto ok = receive(base::bytes_view(joined).subspan(*used, before - *used), sink); !ok) {
    return tl::unexpected(std::move(ok.error()));
  }
  return in;
}

/// Reads the chunk header at the front of `in` and makes its chunk stream the current one. Returns the header's size;
/// 0: `in` is shorter than the header, and nothing has changed.
base::result<size_t> chunk_reader::open_chunk(base::bytes_view in) {
  basic_header basic{static_cast<uint8_t>(in[0] >> 6), 1, in[0] & 63u};
  if (basic.id < 2) {
    basic.size = static_cast<uint8_t>(2 + basic.id);
    if (in.size() < basic.size) return 0;
    basic.id = 64u + in[1] + (basic.size == 3 ? 256u * in[2] : 0u);
  }
  return basic.format == 3 ? open_continuation(in, basic) : open_full(in, basic);
}

/// Types 0, 1 and 2 (RTMP 1.0 §5.3.1.2): a message starts.
base::result<size_t> chunk_reader::open_full(base::bytes_view in, const basic_header& basic) {
  constexpr size_t message_header_sizes[] = {11, 7, 3};
  size_t size = basic.size + message_header_sizes[basic.format];
  if (in.size() < size) return 0;
  const uint8_t* const p = in.data() + basic.size;
  uint32_t time = be24(p);
  const bool extended = time == extended_timestamp_mark;
  if (extended) {
    if (in.size() < size + 4) return 0;
    time = be32(in.data() + size);
    size += 4;
  }
  // The length is judged first: a message that is refused leaves no trace.
  if (basic.format <= 1) {
    if (auto ok = check_length(p[6], be24(p + 3)); !ok) return tl::unexpected(std::move(ok.error()));
  }
  auto obtained = obtain(basic);
  if (!obtained) return tl::unexpected(std::move(obtained.error()));
  chunk_stream& s = **obtained;
  if (s.in_message) return fail("message_length_changed", "a new message header inside an unfinished message");
  if (basic.format <= 1) {
    s.length = be24(p + 3);
    s.type = p[6];
  }
  s.extended = extended;
  s.extended_absent = false;
  s.step = time;
  if (basic.format == 0) {
    s.stream_id = le32(p + 7);
    s.timestamp = time;
    // A type 3 chunk that starts a message after a type 0 adds the type 0's timestamp, says §5.3.1.2.4. FFmpeg sends
    // and reads it so (rtmppkt.c: ts_field), SRS and librtmp read it so; nginx-rtmp adds 0. We follow the
    // specification, except behind an extended timestamp: nobody means a step of 4.6 hours, nginx-rtmp's "the same time
    // again" is what can be meant.
    if (extended) s.step = 0;
  } else {
    s.timestamp += time;
  }
  begin_message(s);
  return size;
}

/// Type 3: the next chunk of a message, or a message with the header of the one before it.
///
/// Whether the extended timestamp is repeated here is where senders differ: §5.3.1.3 says yes, old Flash encoders say
/// no, and some repeat the message's timestamp where the header had a step. So the bytes are compared with what they
/// would be, as SRS and nginx-rtmp do.
base::result<size_t> chunk_reader::open_continuation(base::bytes_view in, const basic_header& basic) {
  chunk_stream* s = find(basic.id);
  if (!s) return fail("missing_chunk_header", "a type 3 chunk on a chunk stream that no message started");
  size_t size = basic.size;
  if (s->extended && !s->extended_absent) {
    const auto rest = in.subspan(size);
    size_t same = common_prefix(rest, s->timestamp);
    if (s->step != 0) same = std::max(same, common_prefix(rest, s->step));
    if (same == 4) {
      size += 4;
    } else if (same == rest.size()) {
      return 0;
    } else {
      s->extended_absent = true;
    }
  }
  if (!s->in_message) {
    s->timestamp += s->step;
    begin_message(*s);
  } else {
    current_ = static_cast<uint32_t>(s - streams_.data());
    chunk_left_ = std::min(chunk_size_, s->length - s->received);
  }
  return size;
}

chunk_reader::chunk_stream* chunk_reader::find(uint32_t id) {
  if (current_ < streams_.size() && streams_[current_].id == id) return &streams_[current_];
  for (auto& s : streams_) {
    if (s.id == id) return &s;
  }
  return nullptr;
}

base::result<chunk_reader::chunk_stream*> chunk_reader::obtain(const basic_header& basic) {
  if (auto* s = find(basic.id)) return s;
  // librtmp starts chunk stream 2 with a type 1 header when it sends a ping first (SRS accepts that for the same
  // reason).
  if (basic.format > 1) return fail("missing_chunk_header", "a type 2 chunk on a chunk stream that no message started");
  if (streams_.size() >= chunk_streams_max_) return fail("too_many_chunk_streams", "more chunk streams than allowed");
  if (streams_.size() == streams_.capacity()) streams_.reserve(streams_.size() + 4);
  return &streams_.emplace_back(basic.id);
}

base::result<void> chunk_reader::check_length(uint8_t type, uint32_t length) const {
  if (length > small_message_max) {
    if (type == command_amf0 || type == command_amf3) {
      return fail("command_too_large", "a command announces more bytes than allowed");
    }
    if (type < audio) return fail("message_too_large", "a control message announces more bytes than allowed");
  }
  if (length > message_bytes_max_) return fail("message_too_large", "a message announces more bytes than allowed");
  return {};
}

void chunk_reader::begin_message(chunk_stream& s) {
  s.in_message = true;
  s.passed_over = !media_wanted_ && s.length > small_message_max;
  s.received = 0;
  current_ = static_cast<uint32_t>(&s - streams_.data());
  chunk_left_ = std::min(chunk_size_, s.length);
}

base::result<void> chunk_reader::append(chunk_stream& s, base::bytes_view bytes) {
  const auto count = static_cast<uint32_t>(bytes.size());
  if (s.passed_over) {
    s.received += count;
    return {};
  }
  if (!s.block || s.received + count > s.block.capacity() - message_headroom) {
    if (auto ok = make_room(s, count); !ok) return ok;
  }
  std::memcpy(s.block.data() + message_headroom + s.received, bytes.data(), count);
  s.received += count;
  return {};
}

base::result<void> chunk_reader::make_room(chunk_stream& s, uint32_t count) {
  const size_t before = s.block.capacity();
  const auto doubled = static_cast<uint32_t>(std::min<uint64_t>(2 * uint64_t{s.received}, s.length));
  const uint32_t wanted = std::max({s.received + count, doubled, std::min(s.length, first_block_max)});
  const size_t capacity = size_t{wanted} + message_headroom;
  const size_t allowed = media_wanted_ ? message_bytes_max_ + other_messages_max : small_messages_max;
  if (buffered_ - before + capacity > allowed) {
    return fail("message_too_large", "the unfinished messages of this connection take more bytes than allowed");
  }
  auto block = base::block_ref::allocate(capacity);
  if (s.received > 0) {
    std::memcpy(block.data() + message_headroom, s.block.data() + message_headroom, s.received);
  }
  s.block = std::move(block);
  buffered_ += capacity - before;
  return {};
}

void chunk_reader::drop_block(chunk_stream& s) {
  buffered_ -= s.block.capacity();
  s.block = {};
  s.in_message = false;
}

base::result<void> chunk_reader::finish_message(chunk_stream& s, message_sink& sink) {
  if (s.passed_over) {
    s.in_message = false;
    return {};
  }
  if (!s.block) {  // an empty message
    s.block = base::block_ref::allocate(message_headroom);
    buffered_ += message_headroom;
  }
  message m;
  m.timestamp = s.timestamp;
  m.type = s.type;
  m.stream_id = s.stream_id;
  m.chunk_stream_id = s.id;
  m.payload = base::slice(s.block, message_headroom, s.length);
  drop_block(s);  // before the message is handed on: its receiver is the only owner
  if (m.type == set_chunk_size) return obey_chunk_size(m.payload.view());
  if (m.type == abort_message) return obey_abort(m.payload.view());
  return sink.on_message(std::move(m));
}

/// A message without payload is whole when its header is.
base::result<void> chunk_reader::finish_if_empty(message_sink& sink) {
  chunk_stream& s = streams_[current_];
  if (s.in_message && s.length == 0) return finish_message(s, sink);
  return {};
}

/// §5.4.1. Holds from the next chunk on, whatever messages are under way.
base::result<void> chunk_reader::obey_chunk_size(base::bytes_view payload) {
  if (payload.size() < 4) return fail("bad_control_message", "a SetChunkSize message is too short");
  const uint32_t size = be32(payload.data());
  if (size == 0 || size >> 31) return fail("bad_chunk_size", "a chunk size of zero or less");
  chunk_size_ = std::min(size, chunk_size_max);
  return {};
}

/// §5.4.2: the rest of a message will not come. Its timestamp stays the base of the next one.
base::result<void> chunk_reader::obey_abort(base::bytes_view payload) {
  if (payload.size() < 4) return fail("bad_control_message", "an Abort message is too short");
  if (auto* s = find(be32(payload.data())); s && s->in_message) drop_block(*s);
  return {};
}

}  // namespace sluice::rtmp
