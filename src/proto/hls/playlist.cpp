#include "proto/hls/playlist.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace sluice::hls {
namespace {

constexpr bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '~';
}

template <typename Keep>
std::string percent_encode(std::string_view text, Keep keep) {
  std::string out;
  for (const char c : text) {
    if (keep(c)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

// The attributes of quoted strings may hold neither quotes nor line ends (RFC 8216 §4.2).
std::string quotable(std::string_view text) {
  std::string out(text);
  std::erase_if(out, [](char c) { return c == '"' || static_cast<uint8_t>(c) < 0x20; });
  return out;
}

void write_segment(std::string& out, const media_segment& s, std::string& map_uri, bool first) {
  // In front of the first segment the discontinuity is said by the sequence number alone.
  if (s.discontinuity && !first) out += "#EXT-X-DISCONTINUITY\n";
  if (s.map_uri != map_uri || (s.discontinuity && !s.map_uri.empty())) {
    map_uri = s.map_uri;
    out += fmt::format("#EXT-X-MAP:URI=\"{}\"\n", safe_uri(map_uri));
  }
  if (s.date_ms >= 0) out += fmt::format("#EXT-X-PROGRAM-DATE-TIME:{}\n", date_time(s.date_ms));
  if (s.gap) out += "#EXT-X-GAP\n";
  out += fmt::format("#EXTINF:{}.{:03},\n", s.duration_ms / 1000, s.duration_ms % 1000);
  out += safe_uri(s.uri) + '\n';
}

}  // namespace

std::string write(const media_playlist& p) {
  // §7: EXT-X-MAP outside of I-frame playlists needs version 6; EXT-X-GAP came with version 8 (RFC 8216bis §8).
  const auto& all = p.segments;
  const bool maps = std::ranges::any_of(all, [](const auto& s) { return !s.map_uri.empty(); });
  const bool gaps = std::ranges::any_of(all, [](const auto& s) { return s.gap; });
  std::string out = fmt::format("#EXTM3U\n#EXT-X-VERSION:{}\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:{}\n",
                                gaps   ? 8
                                : maps ? 6
                                       : 3,
                                p.target_duration_s, p.sequence);
  if (p.discontinuity_sequence > 0) {
    out += fmt::format("#EXT-X-DISCONTINUITY-SEQUENCE:{}\n", p.discontinuity_sequence);
  }
  std::string map_uri;
  for (const auto& s : all) write_segment(out, s, map_uri, &s == all.data());
  if (p.ended) out += "#EXT-X-ENDLIST\n";
  return out;
}

std::string write_master(const std::vector<variant>& variants) {
  std::string out = "#EXTM3U\n#EXT-X-VERSION:6\n";
  for (const auto& v : variants) {
    out += fmt::format("#EXT-X-STREAM-INF:BANDWIDTH={}", v.bandwidth);
    if (v.average_bandwidth > 0) out += fmt::format(",AVERAGE-BANDWIDTH={}", v.average_bandwidth);
    if (!v.codecs.empty()) out += fmt::format(",CODECS=\"{}\"", quotable(fmt::format("{}", fmt::join(v.codecs, ","))));
    if (v.width > 0 && v.height > 0) out += fmt::format(",RESOLUTION={}x{}", v.width, v.height);
    if (v.frame_rate > 0) out += fmt::format(",FRAME-RATE={:.3f}", v.frame_rate);
    out += '\n' + safe_uri(v.uri) + '\n';
  }
  return out;
}

std::string escape_name(std::string_view name) { return percent_encode(name, is_unreserved); }

std::string safe_uri(std::string_view uri) {
  return percent_encode(uri, [](char c) { return c > 0x20 && c < 0x7F && c != '"'; });
}

std::string date_time(int64_t unix_ms) {
  using namespace std::chrono;
  constexpr int64_t year_10000_ms = 253402300800000;
  const sys_time<milliseconds> t{milliseconds(std::clamp<int64_t>(unix_ms, 0, year_10000_ms - 1))};
  const auto day = floor<days>(t);
  const year_month_day date(day);
  const auto ms = (t - day).count();
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", int{date.year()}, unsigned{date.month()},
                     unsigned{date.day()}, ms / 3600000, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
}

}  // namespace sluice::hls
