#include "servers/http/body.hpp"

#include <fmt/format.h>

#include "runtime/http_content.hpp"
#include "servers/http/target.hpp"

namespace sluice::servers {
runtime::http_response answer_with(const runtime::http_request& request, const http_body& body) {
  runtime::http_response r;
  r.content_type = body.content_type;
  allow_any_site(r);
  r.headers.emplace_back("Accept-Ranges", "bytes");
  if (!body.etag.empty()) r.headers.emplace_back("ETag", body.etag);
  if (!body.cache_control.empty()) r.headers.emplace_back("Cache-Control", body.cache_control);
  if (const auto known = request.header("if-none-match"); !known.empty() && runtime::names_etag(known, body.etag)) {
    r.status = 304;
    return r;
  }
  const size_t size = body.bytes->size();
  // A condition on the range that does not hold makes it a request for the whole (§13.1.5).
  const auto condition = request.header("if-range");
  const auto range = request.method == "HEAD" ? std::string_view() : request.header("range");  // §14.2
  const auto part = condition.empty() || condition == body.etag ? runtime::parse_range(range, size) : std::nullopt;
  if (!part) {
    r.shared_body = body.bytes;
    return r;
  }
  if (part->count == 0) {
    r = http_failure(416, "no such range");
    r.headers.emplace_back("Content-Range", fmt::format("bytes */{}", size));
    return r;
  }
  r.status = 206;
  r.headers.emplace_back("Content-Range",
                         fmt::format("bytes {}-{}/{}", part->first, part->first + part->count - 1, size));
  r.body = body.bytes->substr(part->first, part->count);
  return r;
}

}  // namespace sluice::servers
