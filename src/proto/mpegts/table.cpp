#include "proto/mpegts/table.hpp"

namespace sluice::mpegts {
namespace {

constexpr auto crc_table = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < table.size(); ++i) {
    uint32_t crc = i << 24;
    for (int bit = 0; bit < 8; ++bit) crc = crc << 1 ^ (crc & 0x80000000u ? 0x04C11DB7u : 0u);
    table[i] = crc;
  }
  return table;
}();

constexpr uint16_t transport_stream_id = 1;
constexpr uint8_t pat_table_id = 0, pmt_table_id = 2;

// Table 2-34; A/53 part 3 §5.7.1 and A/52 annex A for AC-3; private data for Opus.
uint8_t stream_type(content c) {
  switch (c) {
    case content::h264:
      return 0x1B;
    case content::hevc:
      return 0x24;
    case content::aac_adts:
      return 0x0F;
    case content::mpeg1_audio:
      return 0x03;
    case content::mpeg2_audio:
      return 0x04;
    case content::opus:
      return 0x06;
    case content::ac3:
      return 0x81;
    case content::eac3:
      return 0x87;
  }
  return 0x06;
}

// registration_descriptor, §2.6.8.
void add_registration(base::byte_writer& out, std::string_view format) {
  out.u8(0x05);
  out.u8(4);
  out.text(format);
}

void add_stream(std::vector<uint8_t>& section, const track& t, uint16_t pid) {
  std::vector<uint8_t> descriptors;
  base::byte_writer d(descriptors);
  if (t.content == content::opus) {
    add_registration(d, "Opus");
    // DVB extension descriptor (EN 300 468 §6.2.16) with the tag of opus_audio_descriptor.
    for (const uint8_t b : {uint8_t{0x7F}, uint8_t{2}, uint8_t{0x80}, t.opus_channel_config}) d.u8(b);
  } else if (t.content == content::ac3) {
    add_registration(d, "AC-3");
  } else if (t.content == content::eac3) {
    add_registration(d, "EAC3");
  }
  base::byte_writer out(section);
  out.u8(stream_type(t.content));
  out.u16(static_cast<uint16_t>(0xE000 | pid));
  out.u16(static_cast<uint16_t>(0xF000 | descriptors.size()));
  out.bytes(descriptors);
}

// The eight bytes that both sections begin with; the length is set by finish().
void begin(base::byte_writer& out, uint8_t table_id, uint16_t id, uint8_t version) {
  out.u8(table_id);
  out.u16(0);
  out.u16(id);
  out.u8(static_cast<uint8_t>(0xC1 | (version & 31) << 1));  // current_next_indicator
  out.u16(0);                                                // section 0 of 0
}

void finish(std::vector<uint8_t>& section) {
  const size_t length = section.size() - 3 + 4;
  section[1] = static_cast<uint8_t>(0xB0 | length >> 8);
  section[2] = static_cast<uint8_t>(length);
  base::byte_writer(section).u32(crc32(section));
}

}  // namespace

uint32_t crc32(base::bytes_view bytes) {
  uint32_t crc = 0xFFFFFFFF;
  for (const uint8_t b : bytes) crc = crc << 8 ^ crc_table[crc >> 24 ^ b];
  return crc;
}

std::vector<uint8_t> pat_section() {
  std::vector<uint8_t> section;
  base::byte_writer out(section);
  begin(out, pat_table_id, transport_stream_id, 0);
  out.u16(program_number);
  out.u16(0xE000 | pmt_pid);
  finish(section);
  return section;
}

std::vector<uint8_t> pmt_section(const program& p, uint8_t version) {
  std::vector<uint8_t> section;
  base::byte_writer out(section);
  begin(out, pmt_table_id, program_number, version);
  const uint16_t pcr_pid = p.video ? video_pid : p.audio ? audio_pid : 0x1FFF;
  out.u16(static_cast<uint16_t>(0xE000 | pcr_pid));
  out.u16(0xF000);  // no programme descriptors
  if (p.video) add_stream(section, *p.video, video_pid);
  if (p.audio) add_stream(section, *p.audio, audio_pid);
  finish(section);
  return section;
}

}  // namespace sluice::mpegts
