#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"

// NAL units, H.264 and H.265: as length-prefixed by MP4, FLV and RTMP (ISO 14496-15 §4.3.3), and their raw bytes.
namespace sluice::codec {

/// Walks the units of a sample whose lengths take `length_size` bytes (1, 2 or 4).
class nal_iterator {
 public:
  nal_iterator(base::bytes_view sample, unsigned length_size) : in_(sample), length_size_(length_size) {}
  /// The next unit, never empty; nothing at the end or at a broken length (then failed()).
  std::optional<base::bytes_view> next();
  bool failed() const { return failed_; }

 private:
  base::byte_reader in_;
  unsigned length_size_;
  bool failed_ = false;
};

/// The unit without its emulation prevention bytes (00 00 03 -> 00 00), H.264 §7.4.1.
std::vector<uint8_t> unescape_nal(base::bytes_view unit);

/// Width and height of a picture in pixels; both at most 65,535.
struct picture_size {
  uint32_t width = 0, height = 0;
};

/// A coded size less the cropped edges (given in pixels); nothing if that is empty or too large.
std::optional<picture_size> crop(uint64_t width, uint64_t height, uint64_t cropped_width, uint64_t cropped_height);

}  // namespace sluice::codec
