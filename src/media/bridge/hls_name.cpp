#include "media/bridge/hls_name.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "proto/hls/playlist.hpp"

namespace sluice::media {
namespace {

// The number behind the last dash, in its only spelling (no sign, no leading zero): one file, one name.
std::optional<uint64_t> take_number(std::string_view& text, int base) {
  const size_t dash = text.rfind('-');
  if (dash == std::string_view::npos || dash == 0) return std::nullopt;
  const auto digits = text.substr(dash + 1);
  uint64_t v = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), v, base);
  const bool whole = error == std::errc{} && end == digits.data() + digits.size();
  if (!whole || digits != (base == 16 ? fmt::format("{:016x}", v) : fmt::format("{}", v))) return std::nullopt;
  text = text.substr(0, dash);
  return v;
}

}  // namespace

uint64_t content_hash(base::bytes_view bytes) {
  uint64_t h = 0xCBF29CE484222325;
  for (const uint8_t b : bytes) h = (h ^ b) * 0x100000001B3;
  return h;
}

std::string segment_name(std::string_view stream, uint64_t number, container c) {
  return fmt::format("{}-{}.{}", hls::escape_name(stream), number, c == container::mpegts ? "ts" : "m4s");
}

std::string init_name(std::string_view stream, uint64_t hash) {
  return fmt::format("{}-{:016x}-init.mp4", hls::escape_name(stream), hash);
}

std::optional<hls_name> parse_hls_name(std::string_view file) {
  hls_name n;
  n.init = file.ends_with("-init.mp4");
  n.format = file.ends_with(".ts") ? container::mpegts : container::fmp4;
  const std::string_view end = n.init ? "-init.mp4" : n.format == container::mpegts ? ".ts" : ".m4s";
  if (!file.ends_with(end)) return std::nullopt;
  file.remove_suffix(end.size());
  const auto v = take_number(file, n.init ? 16 : 10);
  if (!v) return std::nullopt;
  n.stream = file;
  n.value = *v;
  return n;
}

}  // namespace sluice::media
