#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sluice::cluster {

/// The vhost of every stream whose host is an address, has no dot, or is not listed.
inline constexpr std::string_view default_vhost = "__defaultVhost__";

/// What names a stream in the whole cluster, over every protocol. Made only by the parse functions below, so its parts
/// are never empty, are valid UTF-8 without control characters and `\ ? # % { }`, and have no `.` or `..` segment.
struct stream_key {
  std::string vhost;   ///< lower case (except `__defaultVhost__`), without port
  std::string app;     ///< may contain slashes
  std::string stream;  ///< without slash
  /// `vhost/app/stream`
  std::string str() const;
  auto operator<=>(const stream_key&) const = default;
};

/// A stream as a client asked for it.
struct stream_address {
  stream_key key;
  /// All parameters of the client (tokens, vhost …) as sent, joined by `&`, without the `?`. To be passed to the
  /// origin.
  std::string query;
};

/// Which hosts are vhosts of their own (PROXY_VHOSTS).
struct vhost_rules {
  std::vector<std::string> listed;  ///< when not empty, every other host is the default vhost
  bool only_default = false;        ///< every host is the default vhost (`sluice run`)
};

inline constexpr size_t stream_key_part_bytes_max = 255;
inline constexpr size_t stream_key_bytes_max = 1024;
inline constexpr size_t stream_query_bytes_max = 8192;

/// From the `tcUrl` and `app` of a connect command and the name of a publish or play. All forms that SRS accepts:
/// `?vhost=V`,
/// `?domain=V`, `...vhost...V`, `/_definst_`, token queries on app, tcUrl or name, nested apps, a name with slashes.
/// `tc_url` may be empty: then `app` counts and the vhost is the default. Percent escapes are decoded once. Error:
/// bad_stream_name.
base::result<stream_address> parse_rtmp(std::string_view tc_url, std::string_view app, std::string_view name,
                                        const vhost_rules& rules);

/// From an HTTP request: `host` as in the Host header, `path` and `query` raw, as in the request target (still
/// percent-encoded, the query without `?`). `?app=&stream=` (both given) beat the path; a media extension of the path
/// is cut. Error: bad_stream_name.
base::result<stream_address> parse_http(std::string_view host, std::string_view path, std::string_view query,
                                        const vhost_rules& rules);

/// What an SRT caller asks for by its stream id.
struct srt_request {
  stream_address address;
  bool publish = false;
};

/// From an SRT stream id: `#!::r=app/stream,m=publish|request[,h=vhost][,k=v…]` (no m: request), the old
/// `#!::h=[vhost/]app/stream`, or bare `app/stream` or `stream` (of app `live`), each with a query behind it or not.
/// Nothing is percent-decoded. Other keys become parameters. Errors: bad_stream_name, bad_mode.
base::result<srt_request> parse_srt(std::string_view stream_id, const vhost_rules& rules);

/// Of what stream_key::str() gave, in a message of another server; checked like a client's. Error: bad_stream_name.
base::result<stream_key> parse_key(std::string_view name);

}  // namespace sluice::cluster

template <>
struct std::hash<sluice::cluster::stream_key> {
  size_t operator()(const sluice::cluster::stream_key& key) const noexcept;
};
