#include "codec/bit_reader.hpp"

#include <algorithm>

namespace sluice::codec {

uint32_t bit_reader::bits(unsigned count) {
  if (count > remaining()) {
    failed_ = true;
    position_ = bytes_.size() * 8;
    return 0;
  }
  uint64_t v = 0;
  while (count > 0) {
    const unsigned offset = position_ % 8, taken = std::min(8 - offset, count);
    const unsigned byte = bytes_[position_ / 8];
    v = v << taken | (byte >> (8 - offset - taken) & ((1u << taken) - 1));
    position_ += taken;
    count -= taken;
  }
  return static_cast<uint32_t>(v);
}

void bit_reader::skip(size_t count) {
  if (count > remaining()) failed_ = true;
  position_ += std::min(count, remaining());
}

uint32_t bit_reader::ue() {
  unsigned zeros = 0;
  while (!flag()) {
    if (failed_ || ++zeros == 32) {
      failed_ = true;
      return 0;
    }
  }
  const uint32_t suffix = bits(zeros);
  return failed_ ? 0 : (uint32_t{1} << zeros) - 1 + suffix;
}

int32_t bit_reader::se() {
  const int64_t code = ue();
  return static_cast<int32_t>(code % 2 ? (code + 1) / 2 : -(code / 2));
}

void bit_writer::bits(uint32_t v, unsigned count) {
  while (count > 0) {
    if (used_ == 8) {
      out_.push_back(0);
      used_ = 0;
    }
    const unsigned taken = std::min(8 - used_, count);
    const uint32_t part = v >> (count - taken) & ((1u << taken) - 1);
    out_.back() = static_cast<uint8_t>(out_.back() | part << (8 - used_ - taken));
    used_ += taken;
    count -= taken;
  }
}

}  // namespace sluice::codec
