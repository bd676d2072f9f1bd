#include "proto/mpegts/multiplexer.hpp"

#include <algorithm>
#include <cstring>

namespace sluice::mpegts {
namespace {

constexpr size_t packet_header_size = 4, packet_payload_size = packet_size - packet_header_size;
constexpr uint8_t sync_byte = 0x47;
// adaptation_field flags, §2.4.3.4.
constexpr uint8_t af_discontinuity = 0x80, af_random_access = 0x40, af_pcr = 0x10;
constexpr uint64_t timestamp_mask = (uint64_t{1} << 33) - 1;
constexpr size_t pes_header_max = 19;

int64_t difference(ticks a, ticks b) { return static_cast<int64_t>(a - b); }

// The four bytes of §2.4.3.2. `control`: 1 payload, 2 adaptation field, 3 both.
uint8_t* put_header(uint8_t* p, uint16_t pid, bool start, uint8_t control, uint8_t counter) {
  p[0] = sync_byte;
  p[1] = static_cast<uint8_t>((start ? 0x40 : 0) | pid >> 8);
  p[2] = static_cast<uint8_t>(pid);
  p[3] = static_cast<uint8_t>(control << 4 | (counter & 15));
  return p + packet_header_size;
}

// program_clock_reference: 33 bits of 90 kHz, 6 reserved, an extension of 27 MHz that is 0 here (§2.4.3.5).
uint8_t* put_pcr(uint8_t* p, ticks pcr) {
  const uint64_t base = pcr & timestamp_mask;
  const uint64_t field = base << 15 | 0x3Fu << 9;
  for (int shift = 40; shift >= 0; shift -= 8) *p++ = static_cast<uint8_t>(field >> shift);
  return p;
}

// The adaptation field of `size` bytes, its length byte included; stuffing fills what the flags do not need.
uint8_t* put_adaptation(uint8_t* p, size_t size, uint8_t flags, ticks pcr) {
  uint8_t* const end = p + size;
  *p++ = static_cast<uint8_t>(size - 1);
  if (p == end) return end;
  *p++ = flags;
  if (flags & af_pcr) p = put_pcr(p, pcr);
  std::memset(p, 0xFF, static_cast<size_t>(end - p));
  return end;
}

// PTS or DTS with its prefix and marker bits, §2.4.3.7.
uint8_t* put_timestamp(uint8_t* p, unsigned prefix, ticks t) {
  p[0] = static_cast<uint8_t>(prefix << 4 | (t >> 29 & 0x0E) | 1);
  p[1] = static_cast<uint8_t>(t >> 22);
  p[2] = static_cast<uint8_t>((t >> 14 & 0xFE) | 1);
  p[3] = static_cast<uint8_t>(t >> 7);
  p[4] = static_cast<uint8_t>((t << 1 & 0xFE) | 1);
  return p + 5;
}

// Table 2-22. What the standard gives no id of its own goes as private_stream_1.
uint8_t stream_id(content c) {
  switch (c) {
    case content::h264:
    case content::hevc:
      return 0xE0;
    case content::aac_adts:
    case content::mpeg1_audio:
    case content::mpeg2_audio:
      return 0xC0;
    case content::opus:
    case content::ac3:
    case content::eac3:
      return 0xBD;
  }
  return 0xBD;
}

// §2.4.3.6. Video is unbounded (length 0). Returns the header's size.
size_t put_pes_header(uint8_t* const begin, uint8_t id, const access_unit& unit, size_t payload, bool bounded) {
  const bool reordered = unit.pts != unit.dts;
  const uint8_t fields = reordered ? 10 : 5;
  const size_t length = bounded ? 3 + fields + payload : 0;
  const std::array<uint8_t, 9> start{0,
                                     0,
                                     1,
                                     id,
                                     static_cast<uint8_t>(length >> 8),
                                     static_cast<uint8_t>(length),
                                     0x84,  // data_alignment_indicator
                                     static_cast<uint8_t>(reordered ? 0xC0 : 0x80),
                                     fields};
  uint8_t* p = std::copy(start.begin(), start.end(), begin);
  p = put_timestamp(p, reordered ? 3 : 2, unit.pts);
  if (reordered) p = put_timestamp(p, 1, unit.dts);
  return static_cast<size_t>(p - begin);
}

// Takes bytes from pieces in turn: first the PES header, then the access unit's parts.
class piece_reader {
 public:
  piece_reader(base::bytes_view first, std::span<const base::bytes_view> rest) : piece_(first), rest_(rest) {}

  // `count` bytes, which there must be.
  void copy(uint8_t* to, size_t count) {
    if (count == packet_payload_size && piece_.size() >= packet_payload_size) {
      std::memcpy(to, piece_.data(), packet_payload_size);  // nearly every packet: a copy of a known size
      piece_ = piece_.subspan(packet_payload_size);
      return;
    }
    while (count > 0) {
      if (piece_.empty()) {
        piece_ = rest_.front();
        rest_ = rest_.subspan(1);
        continue;
      }
      const size_t taken = std::min(count, piece_.size());
      std::memcpy(to, piece_.data(), taken);
      piece_ = piece_.subspan(taken);
      to += taken;
      count -= taken;
    }
  }

 private:
  base::bytes_view piece_;
  std::span<const base::bytes_view> rest_;
};

// A packet with a whole section: pointer_field 0, then 0xFF to the end (§2.4.4.1).
void put_section(uint8_t* p, uint16_t pid, uint8_t counter, base::bytes_view section) {
  uint8_t* const end = p + packet_size;
  p = put_header(p, pid, true, 1, counter);
  *p++ = 0;
  p = std::copy(section.begin(), section.end(), p);
  std::fill(p, end, uint8_t{0xFF});
}

uint8_t* extend(std::vector<uint8_t>& out, size_t packets) {
  const size_t before = out.size();
  out.resize(before + packets * packet_size);
  return out.data() + before;
}

}  // namespace

void multiplexer::set_program(const program& p) {
  if (p == program_) return;
  if (announced_) version_ = (version_ + 1) & 31;
  announced_ = false;
  // PCRs of another PID: they begin with the next unit.
  if (p.video.has_value() != program_.video.has_value()) clocked_ = false;
  program_ = p;
  pmt_.clear();
  tables_due_ = true;
}

void multiplexer::begin_segment() {
  if (version_ != 0) pmt_.clear();
  version_ = 0;
  announced_ = false;
  tables_due_ = true;
  discontinuity_due_ = clocked_ = false;
  for (stream* s : {&pat_stream_, &pmt_stream_, &video_, &audio_}) *s = stream{s->pid};
  video_.renumbered = audio_.renumbered = true;
}

void multiplexer::discontinuity() {
  // Without a PCR before there is nothing to be discontinuous with.
  discontinuity_due_ = discontinuity_due_ || clocked_;
  clocked_ = video_.timed = audio_.timed = false;
  tables_due_ = true;
}

// Between tracks a difference is only a matter of interleaving, unless it is enormous.
bool multiplexer::jumps(const stream& s, ticks dts) const {
  if (!s.timed && !clocked_) return false;
  const int64_t step = difference(dts, s.timed ? s.last_dts : pcr_);
  const int64_t back = static_cast<int64_t>(s.timed ? jump_back_max : jump_forward_max);
  return step < -back || step > static_cast<int64_t>(jump_forward_max);
}

bool multiplexer::write(kind k, const access_unit& unit, std::vector<uint8_t>& out) {
  if (k == kind::video ? !program_.video : !program_.audio) return false;
  stream& s = of(k);
  if (jumps(s, unit.dts)) discontinuity();
  const ticks clock = unit.dts - pcr_lead;
  const bool carries_pcr = &s == &pcr_stream();
  const bool join = unit.random_access && k == kind::video;
  size_t bytes = 0;
  for (const auto part : unit.parts) bytes += part.size();
  if (k == kind::audio && bytes > audio_unit_bytes_max) return false;

  advance(clock, join, out);
  std::optional<ticks> pcr;
  if (!clocked_) {
    // The first PCR, or the first one of another time base, comes before anything that is timed by it.
    if (carries_pcr) {
      pcr = clock;
    } else {
      write_pcr_packet(clock, out);
    }
  } else if (carries_pcr) {
    const int64_t since = difference(clock, pcr_);
    if (since >= static_cast<int64_t>(pcr_interval_min) || (join && since > 0)) pcr = clock;
  }
  write_packets(s, unit, pcr, out);
  s.timed = true;
  s.last_dts = unit.dts;
  return true;
}

// Brings PCRs and tables up to `clock`: no two PCRs may be too far apart, whatever the access units' distance is.
void multiplexer::advance(ticks clock, bool tables, std::vector<uint8_t>& out) {
  constexpr ticks step = pcr_interval_max - 10 * ticks_per_ms;
  const auto tables_late = [&](ticks now) {
    return tables_due_ || difference(now, tables_) >= static_cast<int64_t>(table_interval);
  };
  if (tables_due_) write_tables(clock, out);
  while (clocked_ && difference(clock, pcr_) > static_cast<int64_t>(pcr_interval_max)) {
    write_pcr_packet(pcr_ + step, out);
    if (tables_late(pcr_)) write_tables(pcr_, out);
  }
  if (tables_late(clock) || (tables && tables_ != clock)) write_tables(clock, out);
}

void multiplexer::write_tables(ticks clock, std::vector<uint8_t>& out) {
  if (pmt_.empty()) pmt_ = pmt_section(program_, version_);
  uint8_t* const p = extend(out, 2);
  put_section(p, pat_pid, pat_stream_.counter++, pat_);
  put_section(p + packet_size, pmt_pid, pmt_stream_.counter++, pmt_);
  announced_ = true;
  tables_due_ = false;
  tables_ = clock;
}

// Adaptation field only; such packets do not count (§2.4.3.3).
void multiplexer::write_pcr_packet(ticks pcr, std::vector<uint8_t>& out) {
  stream& s = pcr_stream();
  uint8_t* const p = put_header(extend(out, 1), s.pid, false, 2, static_cast<uint8_t>(s.counter - 1));
  put_adaptation(p, packet_payload_size,
                 static_cast<uint8_t>(af_pcr | (discontinuity_due_ || s.renumbered ? af_discontinuity : 0)), pcr);
  discontinuity_due_ = s.renumbered = false;
  clocked_ = true;
  pcr_ = pcr;
}

void multiplexer::write_packets(stream& s, const access_unit& unit, std::optional<ticks> pcr,
                                std::vector<uint8_t>& out) {
  size_t left = 0;
  for (const auto part : unit.parts) left += part.size();
  std::array<uint8_t, pes_header_max> header;
  const bool video = &s == &video_;
  const uint8_t id = stream_id(video ? program_.video->content : program_.audio->content);
  const size_t header_size = put_pes_header(header.data(), id, unit, left, !video);
  left += header_size;
  piece_reader pieces(base::bytes_view(header).first(header_size), unit.parts);

  uint8_t flags = unit.random_access ? af_random_access : 0;
  if (std::exchange(s.renumbered, false)) flags |= af_discontinuity;
  if (pcr) {
    flags |= af_pcr | (discontinuity_due_ ? af_discontinuity : 0);
    discontinuity_due_ = false;
    clocked_ = true;
    pcr_ = *pcr;
  }
  size_t adaptation = flags == 0 ? 0 : pcr ? 8 : 2;
  const size_t first = std::min(left, packet_payload_size - adaptation);
  const size_t packets = 1 + (left - first + packet_payload_size - 1) / packet_payload_size;
  uint8_t* p = extend(out, packets);
  for (size_t i = 0; i < packets; ++i) {
    const size_t payload = std::min(left, packet_payload_size - adaptation);
    adaptation = packet_payload_size - payload;  // what is left over is stuffed
    p = put_header(p, s.pid, i == 0, adaptation > 0 ? 3 : 1, s.counter++);
    if (adaptation > 0) p = put_adaptation(p, adaptation, flags, pcr.value_or(0));
    pieces.copy(p, payload);
    p += payload;
    left -= payload;
    adaptation = 0;
    flags = 0;
  }
}

}  // namespace sluice::mpegts
