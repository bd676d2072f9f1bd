#include "load/chunk_scanner.hpp"

#include <algorithm>
#include <cstring>

namespace sluice::bench {
namespace {

uint32_t be(const uint8_t* p, size_t count) {
  uint32_t v = 0;
  for (size_t i = 0; i < count; ++i) v = v << 8 | p[i];
  return v;
}

constexpr std::array<size_t, 4> message_header_bytes{11, 7, 3, 0};  // by format

}  // namespace

chunk_scanner::chunk_stream* chunk_scanner::find(uint32_t id) {
  for (size_t i = 0; i < streams_.size(); ++i) {
    if (streams_[i].id == id) {
      current_ = i;
      return &streams_[i];
    }
  }
  streams_.emplace_back().id = id;
  current_ = streams_.size() - 1;
  return &streams_.back();
}

size_t chunk_scanner::read_header(const uint8_t* p, size_t size) {
  const size_t format = p[0] >> 6;
  uint32_t id = p[0] & 0x3F;
  const size_t basic = id == 0 ? 2 : id == 1 ? 3 : 1;
  size_t need = basic + message_header_bytes[format];
  if (size < need) return 0;
  if (basic == 2) id = 64u + p[1];
  if (basic == 3) id = 64u + p[1] + 256u * p[2];
  const uint8_t* h = p + basic;
  chunk_stream* s = find(id);
  const uint32_t field = format < 3 ? be(h, 3) : 0;
  const bool extended = format < 3 ? field == 0xFFFFFF : s->extended;
  if (extended) need += 4;
  if (size < need) return 0;
  const uint32_t time = extended ? be(p + need - 4, 4) : field;

  if (format < 3) s->extended = extended;
  if (format < 2) {
    s->length = be(h + 3, 3);
    s->type = h[6];
  }
  if (s->received == 0) {  // the first chunk of a message
    if (format == 0) {
      s->timestamp = time;
      s->delta = 0;
    } else {
      if (format < 3) s->delta = time;
      s->timestamp += s->delta;
    }
    s->head.clear();
  }
  left_ = std::min<size_t>(chunk_size_, s->length - s->received);
  return need;
}

void chunk_scanner::take(bytes part, const sink& on_message) {
  chunk_stream& s = streams_[current_];
  const size_t wanted = s.type == audio || s.type == video ? 40 : 4096;
  if (s.head.size() < wanted) {
    const bytes head = part.first(std::min(part.size(), wanted - s.head.size()));
    s.head.insert(s.head.end(), head.begin(), head.end());
  }
  s.received += static_cast<uint32_t>(part.size());
  left_ -= part.size();
  if (s.received < s.length) return;
  s.received = 0;
  if (s.type == set_chunk_size && s.head.size() >= 4) chunk_size_ = std::max(1u, be(s.head.data(), 4) & 0x7FFFFFFF);
  on_message({.type = s.type, .timestamp = s.timestamp, .length = s.length, .head = s.head});
}

bool chunk_scanner::scan(bytes in, const sink& on_message) {
  while (!in.empty()) {
    if (left_ > 0) {
      const bytes part = in.first(std::min(in.size(), left_));
      in = in.subspan(part.size());
      take(part, on_message);
      continue;
    }
    size_t header = 0;
    if (carry_size_ == 0) {
      header = read_header(in.data(), in.size());
      if (header == 0) {  // cut: keep the piece
        std::memcpy(carry_.data(), in.data(), in.size());
        carry_size_ = in.size();
        return true;
      }
      in = in.subspan(header);
    } else {
      const size_t more = std::min(in.size(), header_bytes_max - carry_size_);
      std::memcpy(carry_.data() + carry_size_, in.data(), more);
      header = read_header(carry_.data(), carry_size_ + more);
      if (header == 0) {
        carry_size_ += more;
        return carry_size_ < header_bytes_max;
      }
      in = in.subspan(header - carry_size_);
      carry_size_ = 0;
    }
    if (streams_.size() > 64) return false;
    if (left_ == 0) take({}, on_message);  // an empty message
  }
  return true;
}

}  // namespace sluice::bench
