#pragma once

#include <optional>
#include <string_view>

#include "runtime/http_server.hpp"

namespace sluice::admin {

/// What the built-in pages may do. Streams may come from any server; scripts, styles and pictures are our own.
/// Media Source Extensions play from blob: URLs.
inline constexpr std::string_view content_security_policy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src *; media-src * blob:; "
    "worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The pages that the binary carries (src/web_assets): the player at `/`. Nothing for a path that is none of theirs;
/// 405 for another method than GET and HEAD; 304 where the client has it already. Pure, any thread.
std::optional<runtime::http_response> page_response(const runtime::http_request& request);

}  // namespace sluice::admin
