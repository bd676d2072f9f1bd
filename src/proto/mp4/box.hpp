#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"

namespace sluice::mp4 {

/// Writes one box (ISO 14496-12 §4.2: size, type, content) into a vector; its size is filled in when the box ends.
///
///   { box b(out, "moof"); ... nested boxes and fields ... }
class box {
 public:
  /// `type`: four characters.
  box(std::vector<uint8_t>& out, std::string_view type) : out_(out), begin_(out.size()) {
    base::byte_writer w(out_);
    w.u32(0);
    w.text(type);
  }
  /// A full box: with version and 24 bits of flags.
  box(std::vector<uint8_t>& out, std::string_view type, uint8_t version, uint32_t flags) : box(out, type) {
    base::byte_writer(out_).u32(uint32_t{version} << 24 | flags);
  }
  box(const box&) = delete;
  box& operator=(const box&) = delete;
  ~box() { patch_u32(out_, begin_, static_cast<uint32_t>(out_.size() - begin_)); }

  /// Overwrites four bytes that were written before.
  static void patch_u32(std::vector<uint8_t>& out, size_t at, uint32_t v) {
    for (int i = 0; i < 4; ++i) out[at + static_cast<size_t>(i)] = static_cast<uint8_t>(v >> (24 - 8 * i));
  }

 private:
  std::vector<uint8_t>& out_;
  size_t begin_;
};

}  // namespace sluice::mp4
