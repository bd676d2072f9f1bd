#include "admin/pages.hpp"

#include <fmt/format.h>

#include "admin/router.hpp"
#include "runtime/http_content.hpp"
#include "web_assets/assets.hpp"

namespace sluice::admin {

std::optional<runtime::http_response> page_response(const runtime::http_request& request) {
  const std::string_view path = request.path == "/" ? std::string_view("/index.html") : std::string_view(request.path);
  const auto* file = web_assets::find_asset(path);
  if (!file) return std::nullopt;
  if (request.method != "GET" && request.method != "HEAD") {
    auto response = json_error(405, "method not allowed");
    response.headers.emplace_back("Allow", "GET, HEAD");
    return response;
  }

  const bool compressed = !file->gzip.empty() && runtime::accepts_gzip(request.header("Accept-Encoding"));
  const auto etag = fmt::format("\"{}{}\"", file->hash, compressed ? "-gzip" : "");
  runtime::http_response response;
  response.content_type = file->content_type;
  auto& headers = response.headers;
  headers.emplace_back("ETag", etag);
  headers.emplace_back("Cache-Control", file->immutable ? "public, max-age=31536000, immutable" : "no-cache");
  headers.emplace_back("Vary", "Accept-Encoding");
  headers.emplace_back("X-Content-Type-Options", "nosniff");
  headers.emplace_back("Referrer-Policy", "same-origin");
  headers.emplace_back("Content-Security-Policy", content_security_policy);
  if (const auto known = request.header("If-None-Match"); !known.empty() && runtime::names_etag(known, etag)) {
    response.status = 304;
    return response;
  }
  if (compressed) headers.emplace_back("Content-Encoding", "gzip");
  response.body = compressed ? file->gzip : file->body;
  return response;
}

}  // namespace sluice::admin
