#pragma once

#include "runtime/http_server.hpp"
#include "servers/http/media_server.hpp"

namespace sluice::servers {

/// What a role's HTTP port serves, by kind of URL. Any may be empty: then that kind is 404.
struct http_front {
  media_answer endless;                 ///< FLV and TS
  media_answer playlist;                ///< .m3u8
  media_answer segment;                 ///< parts of HLS playlists
  runtime::http_server::handler other;  ///< pages, APIs
  /// A media URL that names no stream: counted and logged by the role.
  std::function<void(const runtime::http_request&, std::string_view reason, std::string_view text)> on_refused;

  /// The media kinds are served by these two, which outlive it.
  template <typename Players, typename Hls>
  void serve_media(Players& players, Hls& hls) {
    endless = [&players](const auto& request, const auto& target, auto respond) {
      players.play(request, target, std::move(respond));
    };
    playlist = [&hls](const auto& request, const auto& target, auto respond) {
      hls.playlist(request, target, std::move(respond));
    };
    segment = [&players, &hls](const auto& request, const auto& target, auto respond) {
      hls.segment(request, target, std::move(respond),
                  [&players](const auto& r, const auto& t, auto to) { players.play(r, t, std::move(to)); });
    };
  }
};

/// The handler of that port: OPTIONS, methods, and the choice by the URL. `front` and `rules` outlive it.
runtime::http_server::handler make_http_front(const http_front& front, const cluster::vhost_rules& rules);

}  // namespace sluice::servers
