#include "codec/vpx.hpp"

#include <fmt/format.h>

namespace sluice::codec::vpx {

base::result<config> parse_config(base::bytes_view record) {
  constexpr size_t box_header_size = 4, record_size = 8;
  base::byte_reader in(record);
  if (record.size() >= box_header_size + record_size && in.u32() != 0x01000000) {
    return base::fail("bad_vpx_config", "not version 1");
  }
  config c;
  c.profile = in.u8();
  c.level = in.u8();
  const uint8_t packed = in.u8();
  c.bit_depth = packed >> 4;
  c.chroma_subsampling = packed >> 1 & 7;
  c.full_range = packed & 1;
  c.colour_primaries = in.u8();
  c.transfer_characteristics = in.u8();
  c.matrix_coefficients = in.u8();
  in.skip(in.u16());  // codecInitializationData: none for VP8 and VP9
  if (in.failed()) return base::fail("bad_vpx_config", "VP codec configuration is cut");
  if (c.profile > 3 || (c.bit_depth != 8 && c.bit_depth != 10 && c.bit_depth != 12)) {
    return base::fail("bad_vpx_config", "profile or bit depth out of range");
  }
  return c;
}

std::string codec_string(const config& c, std::string_view fourcc) {
  return fmt::format("{}.{:02}.{:02}.{:02}", fourcc, c.profile, c.level, c.bit_depth);
}

}  // namespace sluice::codec::vpx
