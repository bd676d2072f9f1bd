#pragma once

#include "runtime/http_server.hpp"
#include "servers/http/media_server.hpp"

namespace sluice::servers {

/// What a role's HTTP port serves, by kind of URL. Any may be empty: then that kind is 404.
struct http_front {
  using answer = std::function<void(const runtime::http_request&, const media_target&, runtime::http_server::respond)>;
  answer endless;                       ///< FLV and TS
  answer playlist;                      ///< .m3u8
  answer segment;                       ///< parts of HLS playlists; the target's address is empty
  runtime::http_server::handler other;  ///< pages, APIs
  /// A media URL that names no stream: counted and logged by the role.
  std::function<void(const runtime::http_request&, std::string_view reason, std::string_view text)> on_refused;
};

/// The handler of that port: OPTIONS, methods, and the choice by the URL. `front` and `rules` outlive it.
runtime::http_server::handler make_http_front(const http_front& front, const cluster::vhost_rules& rules);

}  // namespace sluice::servers
