#include "codec/opus.hpp"

#include <algorithm>

namespace sluice::codec::opus {

base::result<config> parse_config(base::bytes_view header) {
  base::byte_reader in(header);
  config c;
  const auto magic = in.text(8);
  const uint8_t version = in.u8();
  c.channels = in.u8();
  c.pre_skip = in.u16_le();
  c.input_rate_hz = in.u32_le();
  c.output_gain = static_cast<int16_t>(in.u16_le());
  c.mapping_family = in.u8();
  if (in.failed() || magic != "OpusHead") return base::fail("bad_opus_config", "cut, or not an OpusHead");
  if (version >> 4 != 0 || c.channels == 0) return base::fail("bad_opus_config", "unknown version, or no channels");
  if (c.mapping_family == 0) {
    if (c.channels > 2) return base::fail("bad_opus_config", "mapping family 0 has at most 2 channels");
    c.coupled_streams = c.channels - 1;
    c.mapping[1] = 1;
    return c;
  }
  c.streams = in.u8();
  c.coupled_streams = in.u8();
  const auto mapping = in.bytes(c.channels);
  if (in.failed()) return base::fail("bad_opus_config", "channel mapping is cut");
  const unsigned decoded = c.streams + unsigned{c.coupled_streams};
  const bool maps = std::ranges::all_of(mapping, [&](uint8_t m) { return m == 255 || m < decoded; });
  if (c.streams == 0 || c.coupled_streams > c.streams || decoded > 255 || !maps) {
    return base::fail("bad_opus_config", "channel mapping out of range");
  }
  std::ranges::copy(mapping, c.mapping.begin());
  return c;
}

}  // namespace sluice::codec::opus
