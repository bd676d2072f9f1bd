#include "proto/mp4/sample_entry.hpp"

#include "proto/mp4/box.hpp"

namespace sluice::mp4 {
namespace {

void zeros(base::byte_writer& w, size_t count) {
  while (count--) w.u8(0);
}

// SampleEntry and VisualSampleEntry, up to the boxes.
void visual_fields(bytes& out, uint16_t width, uint16_t height) {
  base::byte_writer w(out);
  zeros(w, 6);
  w.u16(1);  // data reference
  zeros(w, 16);
  w.u16(width);
  w.u16(height);
  w.u32(0x00480000);  // 72 dpi
  w.u32(0x00480000);
  w.u32(0);
  w.u16(1);      // frames a sample
  zeros(w, 32);  // compressor's name
  w.u16(0x0018);
  w.u16(0xFFFF);
}

// SampleEntry and AudioSampleEntry, up to the boxes. A rate that 16 bits cannot hold stands in the codec's own box
// only.
void audio_fields(bytes& out, uint16_t channels, uint16_t bits, uint32_t sample_rate_hz) {
  base::byte_writer w(out);
  zeros(w, 6);
  w.u16(1);  // data reference
  zeros(w, 8);
  w.u16(channels);
  w.u16(bits);
  w.u32(0);
  w.u32(sample_rate_hz <= 0xFFFF ? sample_rate_hz << 16 : 0);
}

// Tag and size of a descriptor (ISO 14496-1 §8.3.3), the size in four bytes.
void descriptor(base::byte_writer& w, uint8_t tag, size_t size) {
  w.u8(tag);
  for (int shift = 21; shift >= 0; shift -= 7) {
    w.u8(static_cast<uint8_t>((size >> shift & 0x7F) | (shift > 0 ? 0x80 : 0)));
  }
}

void esds(bytes& out, uint8_t object_type, base::bytes_view config) {
  constexpr size_t head = 5, decoder_fields = 13;
  const size_t specific = config.empty() ? 0 : head + config.size();
  const box b(out, "esds", 0, 0);
  base::byte_writer w(out);
  descriptor(w, 0x03, 3 + head + decoder_fields + specific + head + 1);  // ES_Descriptor
  w.u16(0);                                                              // ES_ID: in MP4 files always 0
  w.u8(0);
  descriptor(w, 0x04, decoder_fields + specific);  // DecoderConfigDescriptor
  w.u8(object_type);
  w.u8(0x05 << 2 | 1);  // audio stream
  zeros(w, 3 + 4 + 4);  // buffer size, bit rates: not known
  if (!config.empty()) {
    descriptor(w, 0x05, config.size());  // DecoderSpecificInfo
    w.bytes(config);
  }
  descriptor(w, 0x06, 1);  // SLConfigDescriptor: as in MP4 files
  w.u8(2);
}

}  // namespace

bytes visual_entry(std::string_view type, std::string_view config_type, base::bytes_view config, uint16_t width,
                   uint16_t height) {
  bytes out;
  {
    const box entry(out, type);
    visual_fields(out, width, height);
    const box inner(out, config_type);
    base::byte_writer(out).bytes(config);
  }
  return out;
}

bytes vp9_entry(base::bytes_view record, uint16_t width, uint16_t height) {
  bytes out;
  {
    const box entry(out, "vp09");
    visual_fields(out, width, height);
    const box inner(out, "vpcC", 1, 0);
    base::byte_writer(out).bytes(record);
  }
  return out;
}

bytes mp4a_entry(uint8_t object_type, base::bytes_view config, uint16_t channels, uint32_t sample_rate_hz) {
  bytes out;
  {
    const box entry(out, "mp4a");
    audio_fields(out, channels, 16, sample_rate_hz);
    esds(out, object_type, config);
  }
  return out;
}

bytes opus_entry(const codec::opus::config& c) {
  bytes out;
  {
    const box entry(out, "Opus");
    audio_fields(out, c.channels, 16, 48000);
    const box inner(out, "dOps");
    base::byte_writer w(out);
    w.u8(0);  // version; the fields are those of OpusHead, big-endian
    w.u8(c.channels);
    w.u16(c.pre_skip);
    w.u32(c.input_rate_hz);
    w.u16(static_cast<uint16_t>(c.output_gain));
    w.u8(c.mapping_family);
    if (c.mapping_family != 0) {
      w.u8(c.streams);
      w.u8(c.coupled_streams);
      w.bytes(base::bytes_view(c.mapping).first(c.channels));
    }
  }
  return out;
}

bytes flac_entry(base::bytes_view stream_info, uint16_t channels, uint16_t bits, uint32_t sample_rate_hz) {
  bytes out;
  {
    const box entry(out, "fLaC");
    audio_fields(out, channels, bits, sample_rate_hz);
    const box inner(out, "dfLa", 0, 0);
    base::byte_writer w(out);
    w.u8(0x80);  // the last metadata block, STREAMINFO
    w.u24(static_cast<uint32_t>(stream_info.size()));
    w.bytes(stream_info);
  }
  return out;
}

}  // namespace sluice::mp4
