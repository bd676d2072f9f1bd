#include "base/bytes.hpp"

#include <bit>

namespace sluice::base {

bytes_view byte_reader::bytes(size_t count) {
  if (count > bytes_.size()) {
    failed_ = true;
    bytes_ = {};
    return {};
  }
  auto taken = bytes_.first(count);
  bytes_ = bytes_.subspan(count);
  return taken;
}

uint64_t byte_reader::be(size_t count) {
  uint64_t v = 0;
  for (uint8_t b : bytes(count)) v = v << 8 | b;
  return v;
}

uint64_t byte_reader::le(size_t count) {
  uint64_t v = 0;
  unsigned shift = 0;
  for (uint8_t b : bytes(count)) {
    v |= static_cast<uint64_t>(b) << shift;
    shift += 8;
  }
  return v;
}

double byte_reader::f64() { return std::bit_cast<double>(u64()); }

void byte_writer::f64(double v) { u64(std::bit_cast<uint64_t>(v)); }

void byte_writer::be(uint64_t v, size_t count) {
  while (count--) out_.push_back(static_cast<uint8_t>(v >> (8 * count)));
}

void byte_writer::le(uint64_t v, size_t count) {
  for (; count--; v >>= 8) out_.push_back(static_cast<uint8_t>(v));
}

void send_buffer::consume(size_t count) {
  consumed_ += count;
  if (consumed_ >= bytes_.size()) {
    std::vector<uint8_t>().swap(bytes_);
    consumed_ = 0;
  } else if (consumed_ > 64 * 1024 && consumed_ * 2 > bytes_.size()) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(consumed_));
    consumed_ = 0;
  }
}

}  // namespace sluice::base
