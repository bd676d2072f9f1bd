#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"

namespace sluice::codec {

/// Reads bit fields, most significant bit first. Like byte_reader: a read past the end returns 0 and sets failed().
class bit_reader {
 public:
  explicit bit_reader(base::bytes_view bytes) : bytes_(bytes) {}

  /// `count` bits, at most 32.
  uint32_t bits(unsigned count);
  bool flag() { return bits(1) != 0; }
  void skip(size_t count);
  /// Exp-Golomb codes ue(v) and se(v), H.264 §9.1. A code of more than 32 bits fails.
  uint32_t ue();
  int32_t se();
  void align_to_byte() { skip((8 - position_ % 8) % 8); }

  size_t remaining() const { return bytes_.size() * 8 - position_; }
  size_t position() const { return position_; }  ///< in bits
  bool failed() const { return failed_; }

 private:
  base::bytes_view bytes_;
  size_t position_ = 0;
  bool failed_ = false;
};

/// Appends bit fields to a vector that the caller owns. The last byte is padded with zeros.
class bit_writer {
 public:
  explicit bit_writer(std::vector<uint8_t>& out) : out_(out) {}
  /// The low `count` bits of `v`, at most 32.
  void bits(uint32_t v, unsigned count);

 private:
  std::vector<uint8_t>& out_;
  unsigned used_ = 8;  // bits of the last byte
};

}  // namespace sluice::codec
