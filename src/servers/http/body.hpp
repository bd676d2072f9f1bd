#pragma once

#include <memory>
#include <string>

#include "runtime/http_server.hpp"

namespace sluice::servers {

/// Something of a known size that is served under a URL.
struct http_body {
  std::shared_ptr<const std::string> bytes;
  std::string content_type;
  std::string etag;           ///< quoted, or empty
  std::string cache_control;  ///< or empty
};

/// The answer to a GET or HEAD for it: 304 if the client has it (If-None-Match, RFC 9110 §13.1.2), to GET 206 for one
/// range of bytes (§14.2) or 416 for one beyond its end, else 200. Pages of any site may read it.
runtime::http_response answer_with(const runtime::http_request& request, const http_body& body);

}  // namespace sluice::servers
