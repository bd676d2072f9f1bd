#pragma once

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "codec/aac.hpp"
#include "media/hub.hpp"
#include "proto/flv/tag.hpp"
#include "proto/mpegts/multiplexer.hpp"

namespace sluice::media {

struct ts_options {
  /// Frames of audio wait up to so many ms of their own time to share a PES packet. 0: each is sent at once, for the
  /// least delay. 100 halves what AAC of 64 kb/s costs, where a segment is sent as a whole anyway.
  uint32_t audio_pes_ms = 0;
};

/// Makes a transport stream of a live stream's frames: an endless one, or segments. See README.md for what it carries.
///
/// headers() with what a reader gives before a frame, then write() for each frame in order; sequence headers may also
/// come among them. One thread.
class ts_bridge {
 public:
  explicit ts_bridge(ts_options options = {}) : options_(options) {}

  void headers(const header_set& headers);
  /// Appends whole TS packets to `out`: none for a header, for what cannot be carried, and for audio that waits.
  void write(const frame& f, std::vector<uint8_t>& out);
  /// Audio that waits for more. At the end, and before begin_segment().
  void flush(std::vector<uint8_t>& out);
  /// What follows stands alone: tables first, counters 0. Audio that waits is given up.
  void begin_segment();
  /// The next frame has another time base. Jumps of more than 10 s forward, or 500 ms back, need not be told.
  void discontinuity() { mux_.discontinuity(); }

  /// Whether there is a track in the output. Of codecs without a sequence header (MP3, AC-3) this is known with their
  /// first frame: nothing can be carried for certain only if left_out() has something.
  bool can_carry_anything() const { return mux_.current().video || mux_.current().audio; }
  /// What was there and is not in the output, for people: "video AV1", "audio track 2".
  std::vector<std::string> left_out() const;
  /// Messages dropped because they could not be read, or came without the configuration that they need.
  uint64_t broken() const { return broken_; }

 private:
  struct lane {
    std::optional<uint8_t> track_id;
    flv::codec codec = flv::codec::unknown;
    bool refused = false;       // TS cannot carry what this track has
    std::bitset<256> others{};  // track ids seen that are not this one's
    bool choose(uint8_t id, flv::codec c, bool* changed);
  };

  void write_video(const frame& f, std::vector<uint8_t>& out);
  void write_audio(const frame& f, std::vector<uint8_t>& out);
  bool configure_video(base::bytes_view record);
  bool configure_audio(base::bytes_view record);
  bool make_annex_b(base::bytes_view sample, bool keyframe);
  std::optional<mpegts::track> audio_track_of(base::bytes_view raw) const;
  bool append_audio(base::bytes_view raw);
  void append_opus(base::bytes_view packet);
  void set_video(std::optional<mpegts::track> t);
  void set_audio(std::optional<mpegts::track> t);
  mpegts::ticks dts_of(uint32_t timestamp, uint32_t offset_ns);

  ts_options options_;
  mpegts::multiplexer mux_;
  lane video_, audio_;
  uint64_t broken_ = 0;

  unsigned length_size_ = 4;
  std::vector<uint8_t> parameter_sets_;  // in Annex B form
  std::vector<base::bytes_view> parts_;  // of the access unit in hand; kept for its capacity

  codec::aac::adts adts_;
  std::vector<uint8_t> waiting_;  // whole frames of audio, for one PES packet
  mpegts::ticks waiting_since_ = 0;

  bool anchored_ = false;
  uint32_t last_timestamp_ = 0;
  uint64_t time_ms_ = 0;  // last_timestamp_ without its wraps
};

}  // namespace sluice::media
