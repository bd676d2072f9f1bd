#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "media/bridge/hls_name.hpp"
#include "media/bridge/segment_muxer.hpp"
#include "media/frame.hpp"
#include "media/hub.hpp"
#include "media/segment_tracker.hpp"

namespace sluice::media {

struct hls_settings {
  std::optional<container> format;       ///< nothing: MPEG-TS, or fMP4 for codecs that only that carries
  uint32_t window_ms = 12000;            ///< the playlist shows at least this much, and three target durations
  size_t bytes_max = 64u << 20;          ///< of all segments kept; over it the oldest go
  size_t segment_bytes_max = 16u << 20;  ///< of one segment: frames beyond are left out
  size_t segments_max = 256;             ///< kept
};

/// MPEG-TS carries H.264, HEVC, AAC, MP3 and AC-3; a stream with any other codec goes as fMP4.
container container_for(const header_set& headers);

/// What is served under one name. `etag` is quoted, as it stands in HTTP.
struct hls_file {
  std::shared_ptr<const std::string> bytes;
  std::string etag;
  std::string_view content_type;
  std::string_view cache_control;
};
inline constexpr std::string_view playlist_content_type = "application/vnd.apple.mpegurl";
/// Names say what is in a file for ever; caches in front keep it for as long as somebody may ask for it.
inline constexpr std::string_view segment_cache_control = "public, max-age=120, immutable";
inline constexpr std::string_view playlist_cache_control = "no-cache";

/// One stream as HLS: frames go in, a sliding window of segments and its playlists come out. One thread, no clock:
/// dates follow from the publication's begin and the frames' timestamps, so two servers say the same.
///
/// A removed segment can still be fetched for as long as the playlist was (RFC 8216 §6.2.2). After end() all stays as
/// it is until the caller lets go of the window, or the next publication adds to it.
class hls_window {
 public:
  using muxer_factory = std::function<std::unique_ptr<segment_muxer>(container)>;

  /// `stream`: the name that files get. `make_muxer` may give nothing for a container that it does not have; fMP4 is
  /// taken then.
  hls_window(std::string stream, const hls_settings& settings, muxer_factory make_muxer);

  // -- frames
  /// A new publication. `number`: wall clock in seconds, or next_number() if the newest segment of this stream is in
  /// this window (less than that is taken as that).
  void begin_publication(uint64_t number, int64_t wall_ms, uint32_t target_ms);
  /// Goes on from the begin of a segment that another server has told; the next frame is the segment's first one.
  /// From there on the window cuts by itself. Segments that it has already are not made again.
  void resume(const segment_state& state, const header_set& headers);
  /// Headers and frames in the order of the stream. True if a segment begins with it: state() is what to tell other
  /// servers.
  bool add(const frame& f);
  /// The publisher is gone. `for_good`: the playlist says that nothing follows (EXT-X-ENDLIST).
  void end(bool for_good);

  /// Of the segment under way; what a next server resumes from, together with headers().
  const segment_state& state() const { return cuts_.state(); }
  bool running() const { return cuts_.running() && live_; }
  const header_set& headers() const { return segment_headers_; }
  /// Number that goes on from the newest complete segment; 0 if there is none.
  uint64_t next_number() const { return segments_.empty() ? 0 : segments_.back().state.number + 1; }

  // -- files
  /// Empty until the first segment is complete.
  const std::string& media_playlist() const { return playlist_; }
  /// `media_uri`: where the media playlist is; written as given, made safe. Empty as above.
  std::string master_playlist(std::string_view media_uri) const;
  std::optional<hls_file> segment(uint64_t number) const;
  std::optional<hls_file> init(uint64_t hash) const;
  /// By its name, with the stream's name as given or percent-encoded.
  std::optional<hls_file> find(std::string_view file) const;

  /// Goes up with every change of the playlist; its entity tag is playlist_etag().
  uint64_t revision() const { return revision_; }
  const std::string& playlist_etag() const { return playlist_etag_; }
  /// Bytes of complete segments; of frames held for the one under way.
  size_t bytes() const { return bytes_; }
  size_t pending_bytes() const { return pending_bytes_; }
  /// Frames left out because their segment was full, or given up because it was too short.
  uint64_t frames_dropped() const { return frames_dropped_; }

 private:
  struct init_file {
    uint64_t hash = 0;
    hls_file file;
  };
  struct finished {
    segment_state state;
    uint64_t duration_ms = 0;
    container format = container::mpegts;
    hls_file file;  // no bytes: a gap
    std::shared_ptr<const init_file> init;
  };
  struct held_frame {
    frame f;
    uint64_t dts_ms;
  };

  void note_header(const frame& f);
  bool take(const frame& f);
  void hold(const frame& f, uint64_t dts_ms);
  void open_segment();
  void finish(const segment_state& state, uint64_t ended_ms);
  void choose_muxer(bool discontinuity);
  std::shared_ptr<const init_file> make_init();
  void trim();
  void write_playlist();
  uint64_t listed_ms() const;

  std::string stream_;
  hls_settings settings_;
  muxer_factory make_muxer_;
  std::unique_ptr<segment_muxer> muxer_;
  container format_ = container::mpegts;
  segment_tracker cuts_;
  bool live_ = false, ended_ = false;

  header_set headers_;          // in force now
  header_set segment_headers_;  // in force for the segment under way
  std::vector<held_frame> frames_;
  size_t pending_bytes_ = 0;
  uint64_t frames_dropped_ = 0;

  std::deque<finished> segments_;  // numbers go up
  size_t list_begin_ = 0;          // the playlist shows the segments from here on
  size_t bytes_ = 0;
  stream_description description_;  // of the newest segment
  double frame_rate_ = 0;
  uint32_t target_s_ = 1;
  std::string playlist_, playlist_etag_;
  uint64_t revision_ = 0;
};

}  // namespace sluice::media
