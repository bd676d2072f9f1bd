#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/http_server.hpp"

/// What answers that carry a file have in common (RFC 9110). Pure.
namespace sluice::runtime {

/// By the extension of a path; `application/octet-stream` for what is not known.
std::string_view content_type_of(std::string_view path);
/// Whether a list of entity tags (If-None-Match) has this one, or is `*`. Weak comparison: section 8.8.3.2.
bool names_etag(std::string_view list, std::string_view etag);
/// Whether Accept-Encoding allows gzip.
bool accepts_gzip(std::string_view accept_encoding);

/// `bytes=…` of a Range header, against a content of `size` bytes.
struct byte_range {
  size_t first = 0, count = 0;  ///< count 0: the range lies outside (416)
};
/// Nothing for what is to be ignored: another unit, several ranges, what cannot be read.
std::optional<byte_range> parse_range(std::string_view header, size_t size);

}  // namespace sluice::runtime
