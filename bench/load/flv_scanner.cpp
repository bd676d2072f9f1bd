#include "load/flv_scanner.hpp"

#include <algorithm>

namespace sluice::bench {
namespace {

constexpr size_t tag_header_bytes = 11, tag_trailer_bytes = 4;
constexpr size_t head_bytes = 40;  // as chunk_scanner

uint32_t u24(const uint8_t* p) { return static_cast<uint32_t>(p[0] << 16 | p[1] << 8 | p[2]); }

}  // namespace

bool flv_scanner::scan(bytes in, const sink& on_tag) {
  while (!in.empty()) {
    const size_t n = std::min(in.size(), skip_ > 0 ? skip_ : wanted_ - part_.size());
    if (skip_ > 0) {
      skip_ -= n;
      if (skip_ == 0) tell(on_tag);
    } else {
      part_.insert(part_.end(), in.begin(), in.begin() + static_cast<std::ptrdiff_t>(n));
      if (part_.size() == wanted_ && !take_part()) return false;
    }
    in = in.subspan(n);
  }
  return true;
}

/// part_ is as long as was wanted.
bool flv_scanner::take_part() {
  if (!begun_) {
    begun_ = part_[0] == 'F' && part_[1] == 'L' && part_[2] == 'V' && part_[8] == 9;
    part_.clear();
    wanted_ = tag_header_bytes;
    return begun_;
  }
  const uint8_t type = part_[0];
  if (type != audio && type != video && type != data_amf0) return false;
  const size_t length = u24(part_.data() + 1), head = std::min(length, head_bytes);
  if (part_.size() < tag_header_bytes + head) {
    wanted_ = tag_header_bytes + head;
  } else {
    skip_ = length - head + tag_trailer_bytes;
  }
  return true;
}

void flv_scanner::tell(const sink& on_tag) {
  on_tag({.type = part_[0],
          .timestamp = u24(part_.data() + 4) | static_cast<uint32_t>(part_[7]) << 24,
          .length = u24(part_.data() + 1),
          .head = bytes(part_).subspan(tag_header_bytes)});
  part_.clear();
  wanted_ = tag_header_bytes;
}

}  // namespace sluice::bench
