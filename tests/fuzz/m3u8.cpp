#include <cstdlib>
#include <string>

#include "proto/hls/playlist.hpp"
#include "proto/hls/reader.hpp"

namespace {

using namespace sluice;

void check(bool ok) {
  if (!ok) std::abort();
}

size_t lines_of(std::string_view text) {
  size_t n = 0;
  for (const char c : text) n += c == '\n' ? 1 : 0;
  return n;
}

}  // namespace

// The input is a playlist: unchanged by a rewriter that changes nothing, as many lines after one that changes all; in
// parts it is the whole again. What is merged can be read again. It is also a name that must not break a playlist of
// ours.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const hls::read_limits limits{64 << 10, 1000, 4096};

  const auto same = hls::rewrite(text, [](std::string_view) { return std::nullopt; }, limits);
  check(!same || *same == text);
  const auto other = hls::rewrite(
      text,
      [](std::string_view uri) { return std::optional<std::string>("http://p/?u=" + std::string(uri) + "\"\r\n"); },
      limits);
  check(same.has_value() == other.has_value());
  if (other) check(lines_of(*other) == lines_of(text));

  if (const auto p = hls::parse_media(text, limits)) {
    std::string joined(p->head);
    for (const auto& s : p->segments) joined += s.lines;
    joined += p->tail;
    check(joined == text);
    // The same window some numbers later.
    auto later = *p;
    for (auto& s : later.segments) s.number += 2;
    const auto merged = hls::merge(*p, later, p->segments.size() + 2);
    check(hls::merge(*p, *p, p->segments.size() + 1) == text);
    const auto again = hls::parse_media(merged);
    check(again && again->segments.size() >= p->segments.size());
  }

  hls::media_playlist ours{2, 1, 0, {{std::string(text), 2000, false, false, 0, std::string(text)}}};
  check(lines_of(hls::write(ours)) == (text.empty() ? 7 : 8));
  check(lines_of(hls::write_master({{std::string(text), 1, 0, {std::string(text)}}})) == 4);
  return 0;
}
