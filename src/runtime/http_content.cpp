#include "runtime/http_content.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "runtime/http_text.hpp"

namespace sluice::runtime {
namespace {

constexpr std::pair<std::string_view, std::string_view> content_types[] = {
    {"html", "text/html; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"map", "application/json"},
    {"txt", "text/plain; charset=utf-8"},
    {"md", "text/plain; charset=utf-8"},
    {"xml", "application/xml"},
    {"svg", "image/svg+xml"},
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"ico", "image/x-icon"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"wasm", "application/wasm"},
    {"pdf", "application/pdf"},
    {"mp4", "video/mp4"},
    {"m4s", "video/mp4"},
    {"m4v", "video/mp4"},
    {"webm", "video/webm"},
    {"flv", "video/x-flv"},
    {"ts", "video/mp2t"},
    {"m3u8", "application/vnd.apple.mpegurl"},
    {"mp3", "audio/mpeg"},
    {"m4a", "audio/mp4"},
    {"aac", "audio/aac"},
    {"ogg", "audio/ogg"},
};

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Calls `each` with the parts between commas until it returns true.
template <typename F>
bool any_of_list(std::string_view list, F each) {
  while (true) {
    const auto comma = list.find(',');
    if (each(trimmed(list.substr(0, comma)))) return true;
    if (comma == list.npos) return false;
    list.remove_prefix(comma + 1);
  }
}

std::optional<size_t> number(std::string_view text) {
  size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string_view content_type_of(std::string_view path) {
  const auto dot = path.rfind('.');
  if (dot != path.npos)
    for (const auto& [extension, type] : content_types)
      if (runtime::equal_ignoring_case(extension, path.substr(dot + 1))) return type;
  return "application/octet-stream";
}

bool names_etag(std::string_view list, std::string_view etag) {
  return any_of_list(list, [&](std::string_view tag) {
    if (tag == "*") return true;
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    return tag == etag;
  });
}

bool accepts_gzip(std::string_view accept_encoding) {
  return any_of_list(accept_encoding, [](std::string_view coding) {
    const auto semicolon = coding.find(';');
    if (!runtime::equal_ignoring_case(trimmed(coding.substr(0, semicolon)), "gzip")) return false;
    if (semicolon == coding.npos) return true;
    const auto weight = trimmed(coding.substr(semicolon + 1));  // q=0 … q=0.000 refuse it
    return !weight.starts_with("q=0") || weight.find_first_of("123456789") != weight.npos;
  });
}

std::optional<byte_range> parse_range(std::string_view header, size_t size) {
  constexpr std::string_view unit = "bytes=";
  if (!header.starts_with(unit)) return std::nullopt;
  header.remove_prefix(unit.size());
  const auto dash = header.find('-');
  if (dash == header.npos || header.find(',') != header.npos) return std::nullopt;
  const auto from = trimmed(header.substr(0, dash)), to = trimmed(header.substr(dash + 1));
  if (from.empty()) {  // the last bytes
    const auto count = number(to);
    if (!count) return std::nullopt;
    const size_t some = std::min(*count, size);
    return byte_range{size - some, some};
  }
  const auto first = number(from), last = to.empty() ? std::optional(SIZE_MAX) : number(to);
  if (!first || !last || *last < *first) return std::nullopt;
  if (*first >= size) return byte_range{};
  return byte_range{*first, std::min(*last, size - 1) - *first + 1};
}

}  // namespace sluice::runtime
