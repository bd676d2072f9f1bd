#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/endpoint.hpp"
#include "base/result.hpp"
#include "cluster/core/stream_key.hpp"
#include "runtime/http_server.hpp"

namespace sluice::servers {

/// Formats in which a stream is served by HTTP without an end.
enum class http_format : uint8_t { flv, ts };
std::string_view name(http_format f);  ///< of the protocol, in logs and metrics: http-flv, http-ts
std::string_view content_type(http_format f);

/// What a media URL asks for.
enum class media_kind : uint8_t {
  none,      ///< no media URL
  endless,   ///< `.flv`, `.ts`
  playlist,  ///< `.m3u8`
  segment,   ///< a part of an HLS playlist: one of our names (of 10 digits, if `.ts`), or any with `?spbhid=`
};
/// What both HLS servers say to another `?hls=` or `?media=` than ts, fmp4 and auto, with 400.
inline constexpr std::string_view unknown_hls_format = "hls is ts or fmp4";

struct media_target {
  media_kind kind = media_kind::none;
  http_format format = http_format::flv;  ///< of endless
  cluster::stream_address address;        ///< of endless and playlist; empty if only the spbhid names the stream
  /// A segment by its name, or HTTP-TS of a stream whose own name ends like that (`cam-1795679408.ts`): `address` is
  /// that stream's. It is the segment if there is one.
  bool may_be_stream = false;
};
/// With this header (of any value) such a name is a segment's: as proxies ask for one.
inline constexpr std::string_view segment_header = "X-Sluice-Segment";
/// Whoever serves a kind of URL.
using media_answer =
    std::function<void(const runtime::http_request&, const media_target&, runtime::http_server::respond)>;

/// By the path's extension. Error: bad_stream_name.
base::result<media_target> parse_media_target(const runtime::http_request& request, const cluster::vhost_rules& rules);

/// All X-Forwarded-For of a request as one list: proxies may add a line of their own behind the client's (RFC 9110
/// §5.3).
std::string forwarded_for(const runtime::http_request& request);

/// The client's address: what trusted peers say of it (X-Forwarded-For from the right, else X-Real-IP), else the
/// socket's. Then the port is 0.
base::endpoint client_address(const runtime::http_request& request, const std::vector<base::network>& trusted);

/// Headers that let pages of any site play.
void allow_any_site(runtime::http_response& response);
/// The answer to OPTIONS.
runtime::http_response options_response();
/// An error as JSON, as the APIs give it.
runtime::http_response http_failure(int status, std::string_view text);

}  // namespace sluice::servers
