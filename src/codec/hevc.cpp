#include "codec/hevc.hpp"

#include <fmt/format.h>

#include "codec/bit_reader.hpp"

namespace sluice::codec::hevc {
namespace {

constexpr unsigned sequence_parameter_set = 33, irap_first = 16, irap_last = 23;
constexpr size_t units_max = 64;

unsigned unit_type(base::bytes_view unit) { return unit.front() >> 1 & 0x3Fu; }

// profile_tier_level(1, layers - 1): the general part is kept, that of the sub-layers is skipped.
profile read_profile(bit_reader& in, unsigned sub_layers) {
  profile p;
  p.space = static_cast<uint8_t>(in.bits(2));
  p.high_tier = in.flag();
  p.idc = static_cast<uint8_t>(in.bits(5));
  p.compatibility = in.bits(32);
  p.constraints = static_cast<uint64_t>(in.bits(16)) << 32;
  p.constraints |= in.bits(32);
  p.level = static_cast<uint8_t>(in.bits(8));
  size_t skipped = 0;
  for (unsigned i = 0; i < sub_layers; ++i) {
    if (in.flag()) skipped += 88;
    if (in.flag()) skipped += 8;
  }
  if (sub_layers > 0) in.skip((8 - sub_layers) * size_t{2});
  in.skip(skipped);
  return p;
}

}  // namespace

base::result<config> parse_config(base::bytes_view record) {
  base::byte_reader in(record);
  config c;
  const uint8_t version = in.u8();
  const auto general = in.bytes(12);
  in.skip(2 + 1);  // min_spatial_segmentation_idc, parallelismType
  c.chroma_format = in.u8() & 3;
  c.bit_depth_luma = static_cast<uint8_t>((in.u8() & 7) + 8);
  c.bit_depth_chroma = static_cast<uint8_t>((in.u8() & 7) + 8);
  in.skip(2);  // avgFrameRate
  c.length_size = (in.u8() & 3u) + 1;
  const unsigned arrays = in.u8();
  // Encoders that were early with HEVC in FLV wrote version 0; the layout is the same.
  if (in.failed() || version > 1 || c.length_size == 3) return base::fail("bad_hevc_config", "cut, or not version 1");
  bit_reader bits(general);
  c.profile = read_profile(bits, 0);
  size_t units = 0;
  for (unsigned i = 0; i < arrays; ++i) {
    unit_array a;
    a.type = in.u8() & 0x3F;
    const unsigned count = in.u16();
    units += count;
    if (in.failed() || units > units_max) return base::fail("bad_hevc_config", "array is cut or has too many units");
    for (unsigned j = 0; j < count; ++j) {
      const auto unit = in.bytes(in.u16());
      if (in.failed()) return base::fail("bad_hevc_config", "parameter set is cut");
      a.units.emplace_back(unit.begin(), unit.end());
    }
    c.arrays.push_back(std::move(a));
  }
  return c;
}

base::result<sps> parse_sps(base::bytes_view unit) {
  if (unit.size() < 2 || unit_type(unit) != sequence_parameter_set)
    return base::fail("bad_hevc_sps", "not a type 33 unit");
  const auto raw = unescape_nal(unit.subspan(2));
  bit_reader in(raw);
  sps s;
  in.skip(4);
  const unsigned sub_layers = in.bits(3);
  in.skip(1);
  if (sub_layers > 6) return base::fail("bad_hevc_sps", "more sub-layers than the standard allows");
  s.profile = read_profile(in, sub_layers);
  in.ue();  // sps_seq_parameter_set_id
  const uint32_t chroma_format = in.ue();
  const bool separate_planes = chroma_format == 3 && in.flag();
  const uint64_t width = in.ue(), height = in.ue();
  uint64_t left = 0, right = 0, top = 0, bottom = 0;
  if (in.flag()) {
    left = in.ue();
    right = in.ue();
    top = in.ue();
    bottom = in.ue();
  }
  if (in.failed() || chroma_format > 3)
    return base::fail("bad_hevc_sps", "sequence parameter set is cut or out of range");
  const unsigned crop_x = !separate_planes && (chroma_format == 1 || chroma_format == 2) ? 2 : 1;
  const unsigned crop_y = !separate_planes && chroma_format == 1 ? 2 : 1;
  const auto size = crop(width, height, (left + right) * crop_x, (top + bottom) * crop_y);
  if (!size) return base::fail("bad_hevc_sps", "picture size out of range");
  s.size = *size;
  return s;
}

bool is_keyframe(base::bytes_view sample, unsigned length_size) {
  nal_iterator units(sample, length_size);
  while (const auto unit = units.next()) {
    const unsigned type = unit_type(*unit);
    if (type >= irap_first && type <= irap_last) return true;
  }
  return false;
}

std::string codec_string(const config& c) {
  const auto& p = c.profile;
  uint32_t reversed = 0;
  for (int i = 0; i < 32; ++i) reversed |= (p.compatibility >> i & 1) << (31 - i);
  std::string text = "hvc1.";
  if (p.space > 0) text += static_cast<char>('A' + p.space - 1);
  text += fmt::format("{}.{:X}.{}{}", p.idc, reversed, p.high_tier ? 'H' : 'L', p.level);
  for (uint64_t rest = p.constraints << 16; rest != 0; rest <<= 8) text += fmt::format(".{:X}", rest >> 56);
  return text;
}

}  // namespace sluice::codec::hevc
