#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

// Playlists of others, as a proxy needs them: every URI rewritten and windows joined, and all else kept byte for byte
// (line ends, comments, tags that we do not know). RFC 8216 §4.
namespace sluice::hls {

struct read_limits {
  size_t bytes_max = 1u << 20;
  size_t lines_max = 20000;
  size_t line_bytes_max = 16384;
};

/// Whether `text` is a playlist within the limits. Errors: hls_not_a_playlist (no #EXTM3U in the first line, or a NUL),
/// hls_playlist_too_large.
base::result<void> check(std::string_view text, const read_limits& limits = {});

/// What a URI becomes; nothing: it stays as it is. The result is made safe (safe_uri) before it is written.
using uri_rewriter = std::function<std::optional<std::string>(std::string_view uri)>;

/// `text` with every URI shown to `rewrite`: URI lines, and each attribute of any #EXT tag whose name is URI or ends in
/// -URI. Media and master playlists. Errors as of check().
base::result<std::string> rewrite(std::string_view text, const uri_rewriter& rewrite, const read_limits& limits = {});

/// A segment of a media playlist and the lines that say what it is. Views into the text that was parsed.
struct segment_lines {
  uint64_t number = 0;         ///< media sequence number
  uint64_t discontinuity = 0;  ///< discontinuity sequence number
  std::string_view lines;      ///< its tags and its URI, with line ends
  std::string_view uri;
};

/// A media playlist in parts: head, segments and tail, joined, are the text again.
struct media_lines {
  std::string_view head;  ///< up to the first tag that belongs to a segment
  std::vector<segment_lines> segments;
  std::string_view tail;  ///< after the last segment's URI
  uint64_t sequence = 0, discontinuity_sequence = 0;
  bool ended = false;
};

/// Errors: those of check(), and hls_not_a_media_playlist (a master playlist, or numbers that cannot be read).
base::result<media_lines> parse_media(std::string_view text, const read_limits& limits = {});

/// `newer` with the segments of `older` in front that come directly before it, so that there are `segments_max` at
/// most: what a playlist shows after its source was replaced by one that has only the latest segments. Where they do
/// not join, `newer` alone.
std::string merge(const media_lines& older, const media_lines& newer, size_t segments_max);

/// `p` without the segments whose numbers are below `number`, but for the last one of all.
std::string without_before(const media_lines& p, uint64_t number);

}  // namespace sluice::hls
