#include "codec/aac.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "codec/bit_reader.hpp"

namespace sluice::codec::aac {
namespace {

constexpr std::array<uint32_t, 13> sample_rates{96000, 88200, 64000, 48000, 44100, 32000, 24000,
                                                22050, 16000, 12000, 11025, 8000,  7350};
constexpr uint32_t rate_escape = 15, object_type_escape = 31;
constexpr uint8_t sbr_type = 5, er_bsac_type = 22, ps_type = 29;
constexpr uint32_t sbr_sync = 0x2B7, ps_sync = 0x548;

uint8_t read_object_type(bit_reader& in) {
  const uint32_t type = in.bits(5);
  return static_cast<uint8_t>(type == object_type_escape ? 32 + in.bits(6) : type);
}

// 0 for a reserved index.
uint32_t read_sample_rate(bit_reader& in) {
  const uint32_t index = in.bits(4);
  if (index == rate_escape) return in.bits(24);
  return index < sample_rates.size() ? sample_rates[index] : 0;
}

void write_sample_rate(bit_writer& out, uint32_t rate) {
  const auto found = std::ranges::find(sample_rates, rate);
  if (found != sample_rates.end()) return out.bits(static_cast<uint32_t>(found - sample_rates.begin()), 4);
  out.bits(rate_escape, 4);
  out.bits(rate, 24);
}

bool is_general_audio(uint8_t type) {
  return (type >= 1 && type <= 4) || type == 6 || type == 7 || type == 17 || (type >= 19 && type <= 23);
}

uint8_t configured_channels(uint32_t configuration) {
  constexpr std::array<uint8_t, 16> channels{0, 1, 2, 3, 4, 5, 6, 8, 0, 0, 0, 7, 8, 24, 8, 0};
  return channels[configuration & 15];
}

// program_config_element(): only its channels matter here, the rest is passed over. Returns their number.
uint8_t read_program_config(bit_reader& in) {
  in.skip(4 + 2 + 4);
  const unsigned pairs_or_singles = in.bits(4) + in.bits(4) + in.bits(4);  // front, side, back
  const unsigned lfe = in.bits(2), data = in.bits(3), coupling = in.bits(4);
  if (in.flag()) in.skip(4);  // mono mixdown
  if (in.flag()) in.skip(4);  // stereo mixdown
  if (in.flag()) in.skip(3);  // matrix mixdown
  unsigned channels = lfe;
  for (unsigned i = 0; i < pairs_or_singles; ++i) {
    channels += in.flag() ? 2 : 1;
    in.skip(4);
  }
  in.skip(lfe * 4 + data * 4 + coupling * 5);
  in.align_to_byte();
  in.skip(in.bits(8) * size_t{8});  // comment
  return static_cast<uint8_t>(channels);
}

void read_general_audio(bit_reader& in, config& c) {
  c.short_frames = in.flag();
  if (in.flag()) in.skip(14);  // coreCoderDelay
  const bool extension = in.flag();
  if (c.channel_configuration == 0) {
    c.program_config_bit = in.position();
    c.channels = read_program_config(in);
  }
  if (c.object_type == 6 || c.object_type == 20) in.skip(3);
  if (!extension) return;
  if (c.object_type == er_bsac_type) in.skip(5 + 11);
  if (c.object_type == 17 || c.object_type == 19 || c.object_type == 20 || c.object_type == 23) in.skip(3);
  in.skip(1);
}

// §1.6.6.1: the backward compatible extension behind the core's configuration.
void read_sync_extension(bit_reader& in, config& c) {
  if (in.remaining() < 16 || in.bits(11) != sbr_sync || read_object_type(in) != sbr_type) return;
  c.sbr = in.flag();
  if (!c.sbr) return;
  c.sbr_rate_hz = read_sample_rate(in);
  if (in.remaining() >= 12 && in.bits(11) == ps_sync) c.ps = in.flag();
}

constexpr uint32_t program_config_element = 5;  // id_syn_ele, table 4.71

uint32_t copy_bits(bit_reader& in, bit_writer& out, unsigned count) {
  const uint32_t v = in.bits(count);
  out.bits(v, count);
  return v;
}

// program_config_element(), §4.4.1.1, behind its id. It is aligned to bytes before its comment, counted from where the
// bytes in hand begin, so it is taken to another place bit by bit.
std::vector<uint8_t> move_program_config(base::bytes_view config, size_t from) {
  std::vector<uint8_t> bytes;
  bit_writer out(bytes);
  bit_reader in(config);
  in.skip(from);
  out.bits(program_config_element, 3);
  size_t written = 3;
  const auto copy = [&](unsigned count) {
    written += count;
    return copy_bits(in, out, count);
  };
  copy(4 + 2 + 4);
  uint32_t channel_elements = copy(4);
  channel_elements += copy(4);
  channel_elements += copy(4);
  const uint32_t lfe = copy(2), data = copy(3), coupling = copy(4);
  for (const unsigned mixdown : {4u, 4u, 3u}) {
    if (copy(1)) copy(mixdown);
  }
  for (uint32_t i = 0; i < channel_elements; ++i) copy(5);
  for (uint32_t i = 0; i < lfe + data; ++i) copy(4);
  for (uint32_t i = 0; i < coupling; ++i) copy(5);
  in.align_to_byte();
  out.bits(0, static_cast<unsigned>((8 - written % 8) % 8));
  const uint32_t comment = copy_bits(in, out, 8);
  for (uint32_t i = 0; i < comment; ++i) copy_bits(in, out, 8);
  return bytes;
}

}  // namespace

base::result<config> parse_config(base::bytes_view bytes) {
  bit_reader in(bytes);
  config c;
  c.object_type = read_object_type(in);
  c.sample_rate_hz = read_sample_rate(in);
  c.channel_configuration = static_cast<uint8_t>(in.bits(4));
  c.channels = configured_channels(c.channel_configuration);
  if (c.object_type == sbr_type || c.object_type == ps_type) {
    c.sbr = true;
    c.ps = c.object_type == ps_type;
    c.sbr_rate_hz = read_sample_rate(in);
    c.object_type = read_object_type(in);
    if (c.object_type == er_bsac_type) in.skip(4);
    if (c.sbr_rate_hz == 0) return base::fail("bad_aac_config", "reserved extension sample rate");
  }
  if (c.object_type == 0 || c.sample_rate_hz == 0) return base::fail("bad_aac_config", "cut, or reserved values");
  if (is_general_audio(c.object_type)) {
    read_general_audio(in, c);
    if (!in.failed() && !c.sbr) read_sync_extension(in, c);
  }
  if (in.failed()) return base::fail("bad_aac_config", "AudioSpecificConfig is cut");
  return c;
}

std::vector<uint8_t> serialise(const config& c) {
  std::vector<uint8_t> bytes;
  bit_writer out(bytes);
  out.bits(c.object_type, 5);
  write_sample_rate(out, c.sample_rate_hz);
  out.bits(c.channel_configuration, 4);
  out.bits(c.short_frames ? 1 : 0, 1);
  out.bits(0, 2);  // no core coder, no extension
  if (!c.sbr) return bytes;
  out.bits(sbr_sync, 11);
  out.bits(sbr_type, 5);
  out.bits(1, 1);
  write_sample_rate(out, c.sbr_rate_hz);
  if (!c.ps) return bytes;
  out.bits(ps_sync, 11);
  out.bits(1, 1);
  return bytes;
}

base::result<adts> make_adts(base::bytes_view audio_specific_config) {
  const auto c = parse_config(audio_specific_config);
  if (!c) return base::fail("aac_not_for_adts", c.error().text);
  const auto rate = std::ranges::find(sample_rates, c->sample_rate_hz);
  if (c->object_type > 4 || c->short_frames || rate == sample_rates.end() || c->channel_configuration > 7)
    return base::fail("aac_not_for_adts", "object type, frame length, sample rate or channels that ADTS cannot say");
  adts a;
  a.profile = static_cast<uint8_t>(c->object_type - 1);
  a.rate_index = static_cast<uint8_t>(rate - sample_rates.begin());
  a.channel_configuration = c->channel_configuration;
  if (c->channel_configuration == 0) a.prefix = move_program_config(audio_specific_config, c->program_config_bit);
  return a;
}

std::array<uint8_t, adts_header_size> adts_header(const adts& a, size_t raw_size) {
  const size_t length = adts_header_size + a.prefix.size() + raw_size;
  return {0xFF,
          0xF1,  // MPEG-4, layer 0, no CRC
          static_cast<uint8_t>(a.profile << 6 | a.rate_index << 2 | a.channel_configuration >> 2),
          static_cast<uint8_t>(a.channel_configuration << 6 | length >> 11),
          static_cast<uint8_t>(length >> 3),
          static_cast<uint8_t>(length << 5 | 0x1F),  // buffer fullness 0x7FF: variable bit rate
          0xFC};                                     // one raw data block
}

std::string codec_string(const config& c) {
  return fmt::format("mp4a.40.{}", c.ps ? ps_type : c.sbr ? sbr_type : c.object_type);
}

}  // namespace sluice::codec::aac
