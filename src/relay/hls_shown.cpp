#include "relay/hls_shown.hpp"

#include <fmt/format.h>

#include <charconv>

namespace sluice::relay {
namespace {

constexpr std::string_view gap_tag = "#EXT-X-GAP";
constexpr std::string_view version_tag = "#EXT-X-VERSION:";
constexpr std::string_view duration_tag = "#EXTINF:";
constexpr std::string_view target_tag = "#EXT-X-TARGETDURATION:";
constexpr uint64_t gap_version = 8;  // RFC 8216bis §8

struct number_at {
  size_t begin = 0, size = 0;
  uint64_t value = 0;
};

/// The number of the first tag of that name, at a line's start.
std::optional<number_at> find_number(std::string_view text, std::string_view tag) {
  const size_t line = text.find("\n" + std::string(tag));
  if (line == std::string_view::npos) return std::nullopt;
  number_at n{line + 1 + tag.size(), 0, 0};
  const auto rest = text.substr(n.begin);
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), n.value);
  if (error != std::errc()) return std::nullopt;
  n.size = static_cast<size_t>(end - rest.data());
  return n;
}

/// What a playlist says of all its segments may only become more, so that it is true of those of both origins.
void raise(std::string& text, std::string_view tag, uint64_t least) {
  const auto n = find_number(text, tag);
  if (n && n->value < least) text.replace(n->begin, n->size, fmt::format("{}", least));
}

/// Whether a playlist from which segments were removed is as long as it has to be (RFC 8216 §6.2.2).
bool is_long_enough(const std::string& text, uint64_t target_s) {
  const auto p = hls::parse_media(text);
  double seconds = 0;
  for (const auto& s : p ? p->segments : std::vector<hls::segment_lines>{}) {
    const size_t at = s.lines.find(duration_tag);
    if (at == std::string_view::npos) continue;
    double one = 0;
    std::from_chars(s.lines.data() + at + duration_tag.size(), s.lines.data() + s.lines.size(), one);
    seconds += one;
  }
  return seconds >= 3 * static_cast<double>(target_s);
}

std::string with_gaps(const hls::media_lines& p, uint64_t below, const hls_shown::is_kept& kept) {
  std::string out(p.head);
  for (const auto& s : p.segments) {
    const bool is_gap = s.lines.find(gap_tag) != std::string_view::npos;
    if (s.number < below && !is_gap && !kept(s.uri)) out += fmt::format("{}\n", gap_tag);
    out += s.lines;
  }
  out += p.tail;
  return out;
}

}  // namespace

base::result<std::string> hls_shown::take(const std::string& text, bool other_origin, const is_kept& kept) {
  const auto newer = hls::parse_media(text);
  if (!newer) return tl::unexpected(newer.error());
  if (text_.empty()) {
    ended_ = newer->ended;
    return text_ = text;
  }
  const auto older = hls::parse_media(text_);  // was parsed before
  size_t fill = fill_up_to_;
  if (other_origin) fill = std::max(fill, older->segments.size());

  std::string out = text;
  if (fill > 0 && !newer->segments.empty()) {
    const std::string before = with_gaps(*older, newer->segments.front().number, kept);
    const auto parts = hls::parse_media(before);
    const auto target = find_number(text_, target_tag);
    const size_t most = parts->segments.size() + newer->segments.size();
    out = hls::merge(*parts, *newer, fill);
    // The window may have been growing.
    while (target && fill < most && !is_long_enough(out, target->value)) out = hls::merge(*parts, *newer, ++fill);
    if (out.size() == text.size() && !other_origin) fill = 0;
  }
  for (const auto tag : {target_tag, version_tag})
    if (const auto before = find_number(text_, tag)) raise(out, tag, before->value);
  if (gaps_shown_ || out.find(gap_tag) != std::string::npos) raise(out, version_tag, gap_version);
  auto shown = hls::parse_media(out);
  if (!shown) return tl::unexpected(shown.error());
  if (shown->segments.empty() || older->segments.empty()) {
    if (!older->segments.empty()) return base::fail("hls_steps_back", "the origin lists nothing");
  } else {
    if (shown->segments.back().number < older->segments.back().number ||
        shown->segments.back().discontinuity < older->segments.back().discontinuity)
      return base::fail("hls_steps_back", "the origin's newest segment is older than what was shown");
    if (shown->sequence < older->sequence) {
      out = hls::without_before(*shown, older->sequence);
      shown = hls::parse_media(out);
    }
    if (shown->discontinuity_sequence < older->discontinuity_sequence)
      return base::fail("hls_steps_back", "the origin counts less discontinuities than were shown");
  }
  fill_up_to_ = fill;
  ended_ = shown->ended;
  return text_ = std::move(out);
}

std::string hls_shown::alone(const is_kept& kept) {
  const auto p = hls::parse_media(text_);
  if (!p) return text_;
  std::string out = with_gaps(*p, UINT64_MAX, kept);
  if (out.find(gap_tag) != std::string::npos) {
    gaps_shown_ = true;
    raise(out, version_tag, gap_version);
  }
  return out;
}

}  // namespace sluice::relay
