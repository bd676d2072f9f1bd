#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/buffer.hpp"

namespace sluice::base {

/// Reads big-endian (network order) fields from a span. A read past the end returns 0, empties the reader and sets
/// failed(): parse a whole header, then ask once.
class byte_reader {
 public:
  explicit byte_reader(bytes_view bytes) : bytes_(bytes) {}

  uint8_t u8() { return static_cast<uint8_t>(be(1)); }
  uint16_t u16() { return static_cast<uint16_t>(be(2)); }
  uint32_t u24() { return static_cast<uint32_t>(be(3)); }
  uint32_t u32() { return static_cast<uint32_t>(be(4)); }
  uint64_t u64() { return be(8); }
  uint16_t u16_le() { return static_cast<uint16_t>(le(2)); }
  uint32_t u32_le() { return static_cast<uint32_t>(le(4)); }
  double f64();
  /// `count` bytes; empty and failed() if there are fewer.
  bytes_view bytes(size_t count);
  std::string_view text(size_t count) { return as_text(bytes(count)); }
  void skip(size_t count) { bytes(count); }

  size_t remaining() const { return bytes_.size(); }
  bytes_view rest() const { return bytes_; }
  bool failed() const { return failed_; }

 private:
  uint64_t be(size_t count);
  uint64_t le(size_t count);
  bytes_view bytes_;
  bool failed_ = false;
};

/// Appends big-endian fields to a vector that the caller owns.
class byte_writer {
 public:
  explicit byte_writer(std::vector<uint8_t>& out) : out_(out) {}

  void u8(uint8_t v) { out_.push_back(v); }
  void u16(uint16_t v) { be(v, 2); }
  void u24(uint32_t v) { be(v, 3); }
  void u32(uint32_t v) { be(v, 4); }
  void u64(uint64_t v) { be(v, 8); }
  void u16_le(uint16_t v) { le(v, 2); }
  void u32_le(uint32_t v) { le(v, 4); }
  void f64(double v);
  void bytes(bytes_view v) { out_.insert(out_.end(), v.begin(), v.end()); }
  void text(std::string_view v) { bytes(as_bytes(v)); }
  size_t size() const { return out_.size(); }

 private:
  void be(uint64_t v, size_t count);
  void le(uint64_t v, size_t count);
  std::vector<uint8_t>& out_;
};

/// Bytes waiting to be sent: appended at the back, consumed at the front. Holds no memory while empty.
class send_buffer {
 public:
  bytes_view pending() const { return bytes_view(bytes_).subspan(consumed_); }
  bool empty() const { return consumed_ == bytes_.size(); }
  size_t size() const { return bytes_.size() - consumed_; }
  void append(bytes_view v) { bytes_.insert(bytes_.end(), v.begin(), v.end()); }
  /// Puts `v` in front of all that waits (rare: it moves the rest).
  void prepend(bytes_view v) {
    bytes_.insert(bytes_.begin() + static_cast<std::ptrdiff_t>(consumed_), v.begin(), v.end());
  }
  /// The vector to append to, for writers.
  std::vector<uint8_t>& sink() { return bytes_; }
  void consume(size_t count);

 private:
  std::vector<uint8_t> bytes_;
  size_t consumed_ = 0;
};

}  // namespace sluice::base
