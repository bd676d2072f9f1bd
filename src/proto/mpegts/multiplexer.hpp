#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/bytes.hpp"
#include "proto/mpegts/table.hpp"

namespace sluice::mpegts {

/// Ticks of 90 kHz. They do not wrap for us (differences are taken modulo 2^64); on the wire they are modulo 2^33.
using ticks = uint64_t;
inline constexpr ticks ticks_per_ms = 90;

inline constexpr size_t packet_size = 188;
/// How far the PCR is behind the DTS of what it comes with: what the other track may lag in the interleaving without
/// being late, and what a receiver buffers.
inline constexpr ticks pcr_lead = 500 * ticks_per_ms;
/// §2.7.2 wants a PCR every 100 ms at least.
inline constexpr ticks pcr_interval_min = 40 * ticks_per_ms, pcr_interval_max = 90 * ticks_per_ms;
/// The tables come again with the first access unit after that.
inline constexpr ticks table_interval = 400 * ticks_per_ms;
/// A track that jumps further is in another time base: §2.4.3.5, discontinuity_indicator.
inline constexpr ticks jump_forward_max = 10'000 * ticks_per_ms, jump_back_max = 500 * ticks_per_ms;

enum class kind : uint8_t { video, audio };

/// One access unit, or several of audio. Its bytes may lie in pieces; empty ones do no harm.
struct access_unit {
  ticks pts = 0, dts = 0;
  bool random_access = false;  ///< decoding may start here
  std::span<const base::bytes_view> parts;
};

/// Makes a transport stream of access units, in the order of their arrival (which should be about that of their DTS).
///
/// An access unit is a PES packet, and begins a TS packet. Tables go out first, before each random access point of
/// video, and every table_interval. PCRs are carried by the video track, or by the audio track if there is no video:
/// in its access units, or in packets of their own where these are too far apart.
class multiplexer {
 public:
  multiplexer() : pat_(pat_section()) {}

  /// Before the first write(). A change raises the PMT's version, and the tables go out before the next unit.
  void set_program(const program& p);
  const mpegts::program& current() const { return program_; }
  /// Starts again: tables first, counters and the PMT's version 0, no memory of earlier times. The first
  /// packet of each track says so: receivers that join segments to one stream would take it for a loss.
  void begin_segment();
  /// What follows has another time base. Jumps of a track's DTS are found without being told.
  void discontinuity();
  /// Appends whole packets to `out`. False, and nothing is written: the programme has no such track, or a unit of audio
  /// is too long for a PES packet.
  bool write(kind k, const access_unit& unit, std::vector<uint8_t>& out);

  /// Longest access unit of audio, so that PES_packet_length can say it.
  static constexpr size_t audio_unit_bytes_max = 65'535 - 3 - 10;

 private:
  struct stream {
    uint16_t pid;
    uint8_t counter = 0;      // of the next packet with payload
    bool renumbered = false;  // its counter began anew, which its next packet says (§2.4.3.5)
    bool timed = false;       // last_dts holds one of the present time base
    ticks last_dts = 0;
  };

  stream& of(kind k) { return k == kind::video ? video_ : audio_; }
  stream& pcr_stream() { return program_.video ? video_ : audio_; }
  bool jumps(const stream& s, ticks dts) const;
  void advance(ticks clock, bool tables, std::vector<uint8_t>& out);
  void write_tables(ticks clock, std::vector<uint8_t>& out);
  void write_pcr_packet(ticks pcr, std::vector<uint8_t>& out);
  void write_packets(stream& s, const access_unit& unit, std::optional<ticks> pcr, std::vector<uint8_t>& out);

  std::vector<uint8_t> pat_, pmt_;
  mpegts::program program_;
  uint8_t version_ = 0;
  bool announced_ = false;  // the PMT of this version has been written
  bool tables_due_ = true, discontinuity_due_ = false, clocked_ = false;
  ticks pcr_ = 0;     // the last one, if clocked_
  ticks tables_ = 0;  // when the tables were last written, if not tables_due_
  stream pat_stream_{pat_pid}, pmt_stream_{pmt_pid}, video_{video_pid}, audio_{audio_pid};
};

}  // namespace sluice::mpegts
