#include "codec/avc.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "codec/bit_reader.hpp"

namespace sluice::codec::avc {
namespace {

constexpr uint8_t idr_slice = 5, sequence_parameter_set = 7;
constexpr size_t sps_count_max = 31, pps_count_max = 255, unit_bytes_max = 0xFFFF;

// H.264 §7.3.2.1.1: the profiles whose parameter sets describe chroma format, bit depth and scaling lists.
bool has_chroma_fields(uint8_t profile) {
  constexpr std::array<uint8_t, 13> profiles{100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
  return std::ranges::find(profiles, profile) != profiles.end();
}

void skip_scaling_list(bit_reader& in, int size) {
  int last = 8, next = 8;
  for (int i = 0; i < size && !in.failed(); ++i) {
    if (next != 0) next = static_cast<int>((last + int64_t{in.se()} + 256) % 256);
    if (next != 0) last = next;
  }
}

struct chroma {
  uint32_t format = 1;  // 4:2:0
  bool separate_planes = false;
};

chroma read_chroma_fields(bit_reader& in) {
  chroma c;
  c.format = in.ue();
  if (c.format == 3) c.separate_planes = in.flag();
  in.ue();  // bit_depth_luma_minus8
  in.ue();  // bit_depth_chroma_minus8
  in.skip(1);
  if (!in.flag()) return c;
  const int lists = c.format == 3 ? 12 : 8;
  for (int i = 0; i < lists; ++i) {
    if (in.flag()) skip_scaling_list(in, i < 6 ? 16 : 64);
  }
  return c;
}

void skip_picture_order_count(bit_reader& in) {
  const uint32_t type = in.ue();
  if (type == 0) in.ue();
  if (type != 1) return;
  in.skip(1);
  in.se();
  in.se();
  const uint32_t cycle = in.ue();
  for (uint32_t i = 0; i < cycle && !in.failed(); ++i) in.se();
}

bool read_units(base::byte_reader& in, unsigned count, std::vector<std::vector<uint8_t>>& units) {
  for (unsigned i = 0; i < count; ++i) {
    const auto unit = in.bytes(in.u16());
    if (in.failed()) return false;
    units.emplace_back(unit.begin(), unit.end());
  }
  return true;
}

size_t writable_units(const std::vector<std::vector<uint8_t>>& units, size_t max) {
  const auto fits = [](const auto& unit) { return unit.size() <= unit_bytes_max; };
  return std::min<size_t>(max, std::ranges::count_if(units, fits));
}

void write_units(base::byte_writer& out, const std::vector<std::vector<uint8_t>>& units, size_t count) {
  for (const auto& unit : units) {
    if (count == 0) return;
    if (unit.size() > unit_bytes_max) continue;
    out.u16(static_cast<uint16_t>(unit.size()));
    out.bytes(unit);
    --count;
  }
}

}  // namespace

base::result<config> parse_config(base::bytes_view record) {
  base::byte_reader in(record);
  config c;
  const uint8_t version = in.u8();
  c.profile = in.u8();
  c.compatibility = in.u8();
  c.level = in.u8();
  c.length_size = (in.u8() & 3u) + 1;
  const unsigned sps_count = in.u8() & 31u;
  if (in.failed() || version != 1 || c.length_size == 3) return base::fail("bad_avc_config", "cut, or not version 1");
  if (!read_units(in, sps_count, c.sps)) return base::fail("bad_avc_config", "sequence parameter set is cut");
  const unsigned pps_count = in.u8();
  if (in.failed() || !read_units(in, pps_count, c.pps))
    return base::fail("bad_avc_config", "picture parameter set is cut");
  const auto rest = in.rest();
  c.extension.assign(rest.begin(), rest.end());
  return c;
}

std::vector<uint8_t> serialise(const config& c) {
  std::vector<uint8_t> record;
  base::byte_writer out(record);
  const size_t sps_count = writable_units(c.sps, sps_count_max), pps_count = writable_units(c.pps, pps_count_max);
  out.u8(1);
  out.u8(c.profile);
  out.u8(c.compatibility);
  out.u8(c.level);
  out.u8(static_cast<uint8_t>(0xFC | ((c.length_size - 1) & 3)));
  out.u8(static_cast<uint8_t>(0xE0 | sps_count));
  write_units(out, c.sps, sps_count);
  out.u8(static_cast<uint8_t>(pps_count));
  write_units(out, c.pps, pps_count);
  out.bytes(c.extension);
  return record;
}

base::result<sps> parse_sps(base::bytes_view unit) {
  if (unit.empty() || (unit.front() & 31) != sequence_parameter_set)
    return base::fail("bad_avc_sps", "not a type 7 unit");
  const auto raw = unescape_nal(unit.subspan(1));
  bit_reader in(raw);
  sps s;
  s.profile = static_cast<uint8_t>(in.bits(8));
  s.compatibility = static_cast<uint8_t>(in.bits(8));
  s.level = static_cast<uint8_t>(in.bits(8));
  in.ue();  // seq_parameter_set_id
  const chroma c = has_chroma_fields(s.profile) ? read_chroma_fields(in) : chroma{};
  in.ue();  // log2_max_frame_num_minus4
  skip_picture_order_count(in);
  in.ue();  // max_num_ref_frames
  in.skip(1);
  const uint64_t width = (uint64_t{in.ue()} + 1) * 16;
  const uint64_t map_units = uint64_t{in.ue()} + 1;
  const bool frames_only = in.flag();
  if (!frames_only) in.skip(1);
  in.skip(1);
  uint64_t left = 0, right = 0, top = 0, bottom = 0;
  if (in.flag()) {
    left = in.ue();
    right = in.ue();
    top = in.ue();
    bottom = in.ue();
  }
  if (in.failed() || c.format > 3) return base::fail("bad_avc_sps", "sequence parameter set is cut or out of range");
  const bool subsampled = !c.separate_planes;
  const unsigned field_factor = frames_only ? 1 : 2;
  const unsigned crop_x = subsampled && (c.format == 1 || c.format == 2) ? 2 : 1;
  const unsigned crop_y = (subsampled && c.format == 1 ? 2 : 1) * field_factor;
  const auto size = crop(width, map_units * 16 * field_factor, (left + right) * crop_x, (top + bottom) * crop_y);
  if (!size) return base::fail("bad_avc_sps", "picture size out of range");
  s.size = *size;
  return s;
}

bool is_keyframe(base::bytes_view sample, unsigned length_size) {
  nal_iterator units(sample, length_size);
  while (const auto unit = units.next()) {
    if ((unit->front() & 31) == idr_slice) return true;
  }
  return false;
}

std::string codec_string(const config& c) {
  return fmt::format("avc1.{:02x}{:02x}{:02x}", c.profile, c.compatibility, c.level);
}

}  // namespace sluice::codec::avc
