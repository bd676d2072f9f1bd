#include "codec/ac3.hpp"

#include <array>

#include "codec/bit_reader.hpp"

namespace sluice::codec::ac3 {
namespace {

constexpr std::array<uint32_t, 3> rates_hz{48000, 44100, 32000};
constexpr std::array<uint8_t, 8> mode_channels{2, 1, 2, 3, 3, 4, 4, 5};
constexpr std::array<uint16_t, 19> kilobits{32,  40,  48,  56,  64,  80,  96,  112, 128, 160,
                                            192, 224, 256, 320, 384, 448, 512, 576, 640};

tl::unexpected<base::error> bad() { return base::fail("bad_ac3_frame", "AC-3 header is cut or out of range"); }

// A/52 table 5.18: 1536 samples at the bit rate; at 44.1 kHz odd codes have one word more.
uint32_t plain_frame_bytes(unsigned rate_code, unsigned size_code) {
  const uint32_t rate = kilobits[size_code / 2];
  if (rate_code == 0) return rate * 4;
  if (rate_code == 2) return rate * 6;
  return 2 * (rate * 320 / 147 + size_code % 2);
}

base::result<frame_info> parse_plain(bit_reader& in) {
  frame_info f;
  in.skip(16);  // crc1
  const unsigned rate_code = in.bits(2), size_code = in.bits(6);
  in.skip(5 + 3);  // bsid, bsmod
  const unsigned mode = in.bits(3);
  if ((mode & 1) && mode != 1) in.skip(2);
  if (mode & 4) in.skip(2);
  if (mode == 2) in.skip(2);
  f.lfe = in.flag();
  if (in.failed() || rate_code == 3 || size_code / 2 >= kilobits.size()) return bad();
  f.sample_rate_hz = rates_hz[rate_code];
  f.channels = static_cast<uint8_t>(mode_channels[mode] + (f.lfe ? 1 : 0));
  f.frame_bytes = plain_frame_bytes(rate_code, size_code);
  return f;
}

base::result<frame_info> parse_enhanced(bit_reader& in) {
  frame_info f;
  f.enhanced = true;
  in.skip(2 + 3);  // strmtyp, substreamid
  f.frame_bytes = (in.bits(11) + 1) * 2;
  const unsigned rate_code = in.bits(2), half_rate_or_blocks = in.bits(2), mode = in.bits(3);
  f.lfe = in.flag();
  if (in.failed() || (rate_code == 3 && half_rate_or_blocks == 3)) return bad();
  f.sample_rate_hz = rate_code == 3 ? rates_hz[half_rate_or_blocks] / 2 : rates_hz[rate_code];
  f.channels = static_cast<uint8_t>(mode_channels[mode] + (f.lfe ? 1 : 0));
  return f;
}

}  // namespace

base::result<frame_info> parse_frame(base::bytes_view bytes) {
  constexpr size_t bsid_byte = 5;  // at the same place in both
  if (bytes.size() <= bsid_byte || bytes[0] != 0x0B || bytes[1] != 0x77) return bad();
  const unsigned bsid = bytes[bsid_byte] >> 3;
  bit_reader in(bytes.subspan(2));
  if (bsid <= 10) return parse_plain(in);
  if (bsid <= 16) return parse_enhanced(in);
  return bad();
}

}  // namespace sluice::codec::ac3
