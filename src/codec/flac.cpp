#include "codec/flac.hpp"

namespace sluice::codec::flac {

base::result<config> parse_config(base::bytes_view header) {
  constexpr uint32_t stream_info_size = 34;
  base::byte_reader in(header);
  const auto signature = in.text(4);
  const uint8_t type = in.u8() & 0x7F;
  const uint32_t length = in.u24();
  if (signature != "fLaC" || type != 0 || length != stream_info_size) {
    return base::fail("bad_flac_config", "no fLaC signature with a STREAMINFO block");
  }
  config c;
  c.block_samples_min = in.u16();
  c.block_samples_max = in.u16();
  in.skip(3);
  c.frame_bytes_max = in.u24();
  const uint64_t packed = in.u64();  // rate 20, channels - 1: 3, bits - 1: 5, samples 36
  in.skip(16);                       // MD5 of the samples
  if (in.failed()) return base::fail("bad_flac_config", "STREAMINFO is cut");
  c.sample_rate_hz = static_cast<uint32_t>(packed >> 44);
  c.channels = static_cast<uint8_t>((packed >> 41 & 7) + 1);
  c.bits_per_sample = static_cast<uint8_t>((packed >> 36 & 31) + 1);
  c.samples = packed & 0xFFFFFFFFF;
  if (c.block_samples_min < 16 || c.block_samples_max < c.block_samples_min || c.bits_per_sample < 4) {
    return base::fail("bad_flac_config", "STREAMINFO out of range");
  }
  return c;
}

}  // namespace sluice::codec::flac
