#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/core/stream_key.hpp"
#include "runtime/http_server.hpp"

// URLs of HLS files at a proxy: which stream they belong to, and what becomes of those in an origin's playlists.
namespace sluice::relay {

/// The query parameter by which a file finds its stream's origin again.
inline constexpr std::string_view spbhid_parameter = "spbhid";
/// Its value: the stream's key in base64url without padding (RFC 4648 §5). The same for every viewer and on every
/// proxy, so that caches may keep what is under such a URL.
std::string spbhid_of(const cluster::stream_key& key);
/// Nothing for what spbhid_of() does not make.
std::optional<cluster::stream_key> key_of_spbhid(std::string_view id);

/// `query` (raw) without the parameters of these names.
std::string without_parameters(std::string_view query, const std::vector<std::string_view>& names);
/// A request's target as it goes to an origin: without our parameter.
std::string origin_target(const runtime::http_request& request);

/// The stream of a request for a part of a playlist: by its spbhid, else by its path, if that is one of our origins'
/// names (media/bridge/hls_name.hpp).
std::optional<cluster::stream_key> key_of_segment(const runtime::http_request& request,
                                                  const cluster::vhost_rules& rules);

/// The files of a stream at an origin of ours, by their names: what viewers ask for under any URL, and what they get
/// in common. A playlist's is `{stream}.m3u8`, with `?hls=` (a master playlist) or `?media=` (a media playlist) where
/// a format was asked for. Nothing if the stream has no such file, or there is no such format.
std::optional<std::string> hls_file_of(const runtime::http_request& request, const cluster::stream_key& key,
                                       bool playlist);
/// The path of such a file at its origin, percent-encoded.
std::string hls_path(const cluster::stream_key& key, std::string_view file);

/// Makes URIs of a playlist lead back to the stream's origin through this proxy.
struct uri_tagger {
  std::string id;  ///< spbhid_of()
  std::vector<std::string>
      authorities;  ///< `host[:port]` which mean this host: the client's Host, the origin's address
  /// `uri` with the id, if it resolves to this host (relative, or absolute with such an authority, which is left out of
  /// the result as the client may not reach it); else nothing.
  std::optional<std::string> operator()(std::string_view uri) const;
};

/// The path to which `uri`, of that request's answer and of this host, leads (RFC 3986 §5.2), as it stands in a target.
std::string path_to(const runtime::http_request& request, std::string_view uri);

/// `uri` (relative, of a master playlist) with the parameters of `query` that it does not have.
std::string with_parameters_of(std::string_view uri, std::string_view query);

}  // namespace sluice::relay
