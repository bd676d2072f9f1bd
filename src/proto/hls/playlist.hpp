#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Playlists that we write: RFC 8216 (HLS, protocol version 3 for MPEG-TS, 6 and up for fMP4).
namespace sluice::hls {

struct media_segment {
  std::string uri;
  uint64_t duration_ms = 0;
  bool discontinuity = false;  ///< what went before does not join on
  bool gap = false;            ///< there is no media: players pass over it
  int64_t date_ms = -1;        ///< wall clock of its first sample, ms since 1970; -1: not said
  std::string map_uri;         ///< initialisation segment; empty for MPEG-TS
};

struct media_playlist {
  uint32_t target_duration_s = 1;
  uint64_t sequence = 0;                ///< number of the first segment
  uint64_t discontinuity_sequence = 0;  ///< of the first segment
  std::vector<media_segment> segments;
  bool ended = false;  ///< nothing will follow
};

struct variant {
  std::string uri;
  uint64_t bandwidth = 0;           ///< bit/s, the most of any segment
  uint64_t average_bandwidth = 0;   ///< 0: not known
  std::vector<std::string> codecs;  ///< RFC 6381; empty: not known
  uint32_t width = 0, height = 0;   ///< 0: not known
  double frame_rate = 0;            ///< 0: not known
};

std::string write(const media_playlist& p);
std::string write_master(const std::vector<variant>& variants);

/// A path segment of a URI: all but RFC 3986's unreserved characters is percent-encoded, so that no name can add a
/// line, an attribute, a path or a scheme.
std::string escape_name(std::string_view name);
/// `uri` as it may stand in a playlist: control characters, blanks, quotes and bytes beyond ASCII percent-encoded, the
/// rest (a percent sign too) left as it is.
std::string safe_uri(std::string_view uri);
/// ISO 8601 in UTC with milliseconds, e.g. 2026-01-31T12:00:00.000Z. For the years 1970 to 9999.
std::string date_time(int64_t unix_ms);

}  // namespace sluice::hls
