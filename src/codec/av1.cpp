#include "codec/av1.hpp"

#include <fmt/format.h>

#include <optional>

#include "codec/bit_reader.hpp"

namespace sluice::codec::av1 {
namespace {

enum obu_type : uint8_t { sequence_header = 1, frame_header = 3, frame = 6 };

// leb128(), AV1 §4.10.5: at most 8 bytes; sizes of more than 32 bits are not valid.
std::optional<uint32_t> read_leb128(base::byte_reader& in) {
  uint64_t v = 0;
  for (unsigned i = 0; i < 8; ++i) {
    const uint8_t b = in.u8();
    v |= static_cast<uint64_t>(b & 0x7F) << (7 * i);
    if (b & 0x80) continue;
    if (in.failed() || v > UINT32_MAX) return std::nullopt;
    return static_cast<uint32_t>(v);
  }
  return std::nullopt;
}

struct obu {
  uint8_t type;
  base::bytes_view payload;
};

std::optional<obu> read_obu(base::byte_reader& in) {
  const uint8_t header = in.u8();
  if (in.failed() || header & 0x80) return std::nullopt;
  const bool has_extension = header & 4, has_size = header & 2;
  if (has_extension) in.skip(1);
  const auto size = has_size ? read_leb128(in) : std::optional<uint32_t>(static_cast<uint32_t>(in.remaining()));
  if (!size) return std::nullopt;
  const auto payload = in.bytes(*size);
  if (in.failed()) return std::nullopt;
  return obu{static_cast<uint8_t>(header >> 3 & 0x0F), payload};
}

}  // namespace

base::result<config> parse_config(base::bytes_view record) {
  bit_reader in(record);
  config c;
  const bool marker = in.flag();
  const uint32_t version = in.bits(7);
  c.profile = static_cast<uint8_t>(in.bits(3));
  c.level = static_cast<uint8_t>(in.bits(5));
  c.high_tier = in.flag();
  const bool high_bit_depth = in.flag(), twelve_bit = in.flag();
  c.bit_depth = !high_bit_depth ? 8 : twelve_bit ? 12 : 10;
  c.monochrome = in.flag();
  c.chroma_subsampling_x = in.flag();
  c.chroma_subsampling_y = in.flag();
  in.skip(2 + 8);  // chroma_sample_position, initial_presentation_delay
  if (in.failed() || !marker || version != 1) return base::fail("bad_av1_config", "cut, or not version 1");
  return c;
}

bool is_keyframe(base::bytes_view temporal_unit) {
  constexpr uint32_t key_frame = 0;
  base::byte_reader in(temporal_unit);
  while (const auto o = read_obu(in)) {
    bit_reader bits(o->payload);
    if (o->type == sequence_header) {
      bits.skip(3 + 1);  // seq_profile, still_picture
      const bool reduced_still_picture = bits.flag();
      if (reduced_still_picture) return true;  // then every frame is a shown key frame (§5.9.2)
    }
    if (o->type != frame_header && o->type != frame) continue;
    const bool show_existing = bits.flag();
    const uint32_t type = bits.bits(2);
    const bool shown = bits.flag();
    if (!bits.failed() && !show_existing && type == key_frame && shown) return true;
  }
  return false;
}

std::string codec_string(const config& c) {
  return fmt::format("av01.{}.{:02}{}.{:02}", c.profile, c.level, c.high_tier ? 'H' : 'M', c.bit_depth);
}

}  // namespace sluice::codec::av1
