#include "proto/hls/reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <span>

#include "base/lines.hpp"
#include "proto/hls/playlist.hpp"

namespace sluice::hls {
namespace {

constexpr std::string_view sequence_tag = "#EXT-X-MEDIA-SEQUENCE:";
constexpr std::string_view discontinuity_sequence_tag = "#EXT-X-DISCONTINUITY-SEQUENCE:";
constexpr std::string_view discontinuity_tag = "#EXT-X-DISCONTINUITY";

// Tags that apply to the segment which follows (§4.3.2; RFC 8216bis §4.4.4): with the first of them the head ends.
constexpr std::array<std::string_view, 10> segment_tags{
    "#EXTINF",     "#EXT-X-BYTERANGE",         "#EXT-X-DISCONTINUITY", "#EXT-X-KEY",     "#EXT-X-MAP",
    "#EXT-X-PART", "#EXT-X-PROGRAM-DATE-TIME", "#EXT-X-DATERANGE",     "#EXT-X-BITRATE", "#EXT-X-GAP",
};

std::string_view tag_name(std::string_view line) { return line.substr(0, line.find(':')); }

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t") == std::string_view::npos; }

// X-ASSET-LIST: where an interstitial's assets are listed (RFC 8216bis, appendix D.2).
bool is_uri_attribute(std::string_view name) {
  name = name.substr(std::min(name.find_first_not_of(" \t"), name.size()));
  return name == "URI" || name.ends_with("-URI") || name == "X-ASSET-LIST";
}

// Attribute lists, §4.2: NAME=value, comma-separated; a quoted value may hold commas and equals signs. What is no
// attribute list goes through as it is.
void rewrite_attributes(std::string& out, std::string_view line, const uri_rewriter& rewrite) {
  size_t at = line.find(':');
  if (at == std::string_view::npos) {
    out += line;
    return;
  }
  ++at;
  out += line.substr(0, at);
  while (at < line.size()) {
    const size_t stop = line.find_first_of("=,\"", at);
    if (stop == std::string_view::npos) break;
    const bool quoted = line[stop] == '=' && stop + 1 < line.size() && line[stop + 1] == '"';
    const size_t close = quoted ? line.find('"', stop + 2) : line[stop] == '"' ? line.find('"', stop + 1) : stop;
    if (close == std::string_view::npos) break;
    const auto name = line.substr(at, stop - at);
    const auto value = quoted ? line.substr(stop + 2, close - stop - 2) : std::string_view{};
    const auto replaced = quoted && is_uri_attribute(name) ? rewrite(value) : std::nullopt;
    if (replaced) {
      out += line.substr(at, stop + 2 - at);
      out += safe_uri(*replaced);
      out += '"';
    } else {
      out += line.substr(at, close + 1 - at);
    }
    at = close + 1;
  }
  out += line.substr(at);
}

std::optional<uint64_t> number_after(std::string_view line, std::string_view tag) {
  line.remove_prefix(tag.size());
  line = line.substr(std::min(line.find_first_not_of(" \t"), line.size()));
  uint64_t v = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), v);
  // Room for counting on.
  if (error != std::errc{} || v > UINT64_MAX / 2) return std::nullopt;
  return is_blank(line.substr(static_cast<size_t>(end - line.data()))) ? std::optional(v) : std::nullopt;
}

tl::unexpected<base::error> not_media(std::string text) {
  return base::fail("hls_not_a_media_playlist", std::move(text));
}

// One line of a media playlist: numbers of the head, state of the numbering.
base::result<void> note_tag(media_lines& p, std::string_view line, uint64_t& discontinuity) {
  if (line.starts_with(sequence_tag) || line.starts_with(discontinuity_sequence_tag)) {
    const bool media = line.starts_with(sequence_tag);
    const auto v = number_after(line, media ? sequence_tag : discontinuity_sequence_tag);
    if (!v) return not_media("a sequence number that cannot be read");
    // §4.3.3.2, §4.3.3.3: both stand in front of the first segment.
    if (!p.segments.empty()) return not_media("a sequence number behind a segment");
    (media ? p.sequence : p.discontinuity_sequence) = *v;
    if (!media) discontinuity = *v;
  } else if (line == discontinuity_tag) {
    ++discontinuity;
  } else if (line == "#EXT-X-ENDLIST") {
    p.ended = true;
  } else if (line.starts_with("#EXT-X-STREAM-INF:")) {
    return not_media("a master playlist");
  }
  return {};
}

// The head with other sequence numbers; the tags are added if it has none.
std::string renumbered(std::string_view head, uint64_t sequence, uint64_t discontinuity) {
  std::string out;
  bool has_sequence = false, has_discontinuity = false;
  std::string_view end = "\n";
  for (base::line_walk in(head); in.next();) {
    end = in.whole.substr(in.line.size());
    const bool media = in.line.starts_with(sequence_tag);
    if (!media && !in.line.starts_with(discontinuity_sequence_tag)) {
      out += in.whole;
      continue;
    }
    (media ? has_sequence : has_discontinuity) = true;
    out +=
        fmt::format("{}{}{}", media ? sequence_tag : discontinuity_sequence_tag, media ? sequence : discontinuity, end);
  }
  if (!has_sequence) out += fmt::format("{}{}{}", sequence_tag, sequence, end);
  if (!has_discontinuity && discontinuity > 0) {
    out += fmt::format("{}{}{}", discontinuity_sequence_tag, discontinuity, end);
  }
  return out;
}

// Tags that hold for all segments that follow (§4.3.2.4, §4.3.2.5), as they stand after `gone`, and which `next` does
// not say anew.
std::string in_force(std::span<const segment_lines> gone, const segment_lines& next) {
  std::string out;
  for (const std::string_view tag : {"#EXT-X-KEY", "#EXT-X-MAP"}) {
    const auto lines_of = [&](const segment_lines& s) {
      std::string lines;
      for (base::line_walk in(s.lines); in.next();)
        if (tag_name(in.line) == tag) lines += in.whole;
      return lines;
    };
    if (!lines_of(next).empty()) continue;
    std::string last;
    for (const auto& s : gone)
      if (auto lines = lines_of(s); !lines.empty()) last = std::move(lines);
    out += last;
  }
  return out;
}

// The lines of the first segment of a list: the head's number counts a discontinuity in front of it.
std::string first_lines(const segment_lines& s) {
  std::string out;
  for (base::line_walk in(s.lines); in.next();)
    if (in.line != discontinuity_tag) out += in.whole;
  return out;
}

}  // namespace

base::result<void> check(std::string_view text, const read_limits& limits) {
  if (text.size() > limits.bytes_max) return base::fail("hls_playlist_too_large", "playlist larger than the limit");
  constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
  auto from = text;
  if (from.starts_with(byte_order_mark)) from.remove_prefix(byte_order_mark.size());  // forbidden (§4.1), and seen
  base::line_walk in(from);
  if (!in.next() || !in.line.starts_with("#EXTM3U")) return base::fail("hls_not_a_playlist", "no #EXTM3U");
  if (text.find('\0') != std::string_view::npos) return base::fail("hls_not_a_playlist", "a NUL in a playlist");
  size_t lines = 0;
  do {
    if (++lines > limits.lines_max || in.line.size() > limits.line_bytes_max) {
      return base::fail("hls_playlist_too_large", "more or longer lines than the limit");
    }
  } while (in.next());
  return {};
}

base::result<std::string> rewrite(std::string_view text, const uri_rewriter& rewrite, const read_limits& limits) {
  if (const auto ok = check(text, limits); !ok) return tl::unexpected(ok.error());
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  bool first = true;
  for (base::line_walk in(text); in.next(); first = false) {
    const auto end = in.whole.substr(in.line.size());
    if (first || is_blank(in.line) || (in.line.starts_with('#') && !in.line.starts_with("#EXT"))) {
      out += in.line;
    } else if (in.line.starts_with('#')) {
      rewrite_attributes(out, in.line, rewrite);
    } else if (const auto replaced = rewrite(in.line)) {
      out += safe_uri(*replaced);
    } else {
      out += in.line;
    }
    out += end;
  }
  return out;
}

base::result<media_lines> parse_media(std::string_view text, const read_limits& limits) {
  if (const auto ok = check(text, limits); !ok) return tl::unexpected(ok.error());
  media_lines p;
  uint64_t discontinuity = 0;
  const char* begin = text.data();  // of the part under way
  bool in_head = true, first = true;
  for (base::line_walk in(text); in.next(); first = false) {
    const bool is_tag = first || in.line.starts_with('#');
    const bool is_uri = !is_tag && !is_blank(in.line);
    if (in_head && (is_uri || std::ranges::find(segment_tags, tag_name(in.line)) != segment_tags.end())) {
      p.head = {begin, static_cast<size_t>(in.whole.data() - begin)};
      begin = in.whole.data();
      in_head = false;
    }
    if (is_tag) {
      if (const auto ok = note_tag(p, in.line, discontinuity); !ok) return tl::unexpected(ok.error());
    }
    if (!is_uri) continue;
    const char* end = in.whole.data() + in.whole.size();
    p.segments.push_back({p.segments.size(), discontinuity, {begin, static_cast<size_t>(end - begin)}, in.line});
    begin = end;
  }
  const std::string_view rest(begin, static_cast<size_t>(text.data() + text.size() - begin));
  (in_head ? p.head : p.tail) = rest;
  for (auto& s : p.segments) s.number += p.sequence;
  return p;
}

std::string merge(const media_lines& older, const media_lines& newer, size_t segments_max) {
  const auto& after = newer.segments;
  auto before = std::span(older.segments);
  while (!before.empty() && !after.empty() && before.back().number >= after.front().number) {
    before = before.first(before.size() - 1);
  }
  const bool joins = !before.empty() && !after.empty() && before.back().number + 1 == after.front().number &&
                     before.back().discontinuity <= after.front().discontinuity && after.size() < segments_max;
  if (!joins) before = {};
  before = before.last(std::min(before.size(), segments_max - std::min(segments_max, after.size())));
  std::string out = before.empty() ? std::string(newer.head)
                                   : renumbered(newer.head, before.front().number, before.front().discontinuity);
  if (!before.empty()) {
    const auto gone = std::span(older.segments).first(static_cast<size_t>(&before.front() - older.segments.data()));
    out += in_force(gone, before.front());
  }
  for (const auto& s : before) {
    out += &s == &before.front() ? first_lines(s) : std::string(s.lines);
    if (!out.ends_with('\n')) out += '\n';
  }
  if (!before.empty()) {
    // In a playlist that begins with it, a segment's discontinuity may stand in the head's number alone.
    uint64_t said = before.back().discontinuity;
    for (base::line_walk in(after.front().lines); in.next();) said += in.line == discontinuity_tag ? 1 : 0;
    const std::string_view end = before.back().lines.ends_with("\r\n") ? "\r\n" : "\n";
    if (said < after.front().discontinuity) out += fmt::format("{}{}", discontinuity_tag, end);
  }
  for (const auto& s : after) out += s.lines;
  out += newer.tail;
  return out;
}

std::string without_before(const media_lines& p, uint64_t number) {
  const std::span<const segment_lines> all(p.segments);
  size_t skipped = 0;
  while (skipped + 1 < all.size() && all[skipped].number < number) ++skipped;
  std::string out(p.head);
  if (skipped > 0) {
    const auto& first = all[skipped];
    out = renumbered(p.head, first.number, first.discontinuity) + in_force(all.first(skipped), first);
  }
  for (const auto& s : all.subspan(skipped))
    out += skipped > 0 && s.number == all[skipped].number ? first_lines(s) : std::string(s.lines);
  out += p.tail;
  return out;
}

}  // namespace sluice::hls
