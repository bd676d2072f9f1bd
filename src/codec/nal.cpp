#include "codec/nal.hpp"

namespace sluice::codec {

std::optional<base::bytes_view> nal_iterator::next() {
  while (!failed_ && in_.remaining() > 0) {
    uint32_t length = 0;
    for (unsigned i = 0; i < length_size_; ++i) length = length << 8 | in_.u8();
    const auto unit = in_.bytes(length);
    failed_ = in_.failed();
    if (!unit.empty()) return unit;
  }
  return std::nullopt;
}

std::vector<uint8_t> unescape_nal(base::bytes_view unit) {
  std::vector<uint8_t> out;
  out.reserve(unit.size());
  unsigned zeros = 0;
  for (uint8_t b : unit) {
    if (zeros >= 2 && b == 3) {
      zeros = 0;
      continue;
    }
    zeros = b == 0 ? zeros + 1 : 0;
    out.push_back(b);
  }
  return out;
}

std::optional<picture_size> crop(uint64_t width, uint64_t height, uint64_t cropped_width, uint64_t cropped_height) {
  if (cropped_width >= width || cropped_height >= height) return std::nullopt;
  width -= cropped_width;
  height -= cropped_height;
  if (width > 65535 || height > 65535) return std::nullopt;
  return picture_size{static_cast<uint32_t>(width), static_cast<uint32_t>(height)};
}

}  // namespace sluice::codec
