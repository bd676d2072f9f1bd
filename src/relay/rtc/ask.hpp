#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "cluster/core/stream_key.hpp"
#include "proto/sdp/description.hpp"
#include "relay/rtc/session.hpp"
#include "runtime/http_server.hpp"

// Between what clients say over HTTP and what origins hear, and back. Pure.
namespace sluice::relay {

/// In which form offers and answers come.
enum class rtc_form : uint8_t {
  sdp,   ///< WHIP (RFC 9725) and WHEP: the body is SDP
  json,  ///< /rtc/v1/publish/ and /rtc/v1/play/: {"sdp":…,"streamurl":…}
};

/// A client that wants to begin.
struct rtc_ask {
  cluster::stream_address address;
  std::string body;                        ///< for the origin: the offer without the client's addresses
  std::string ufrag;                       ///< of the offer
  std::optional<base::endpoint> external;  ///< `eip=` of the query: the address that the client wants in the answer
};
/// `placeholder` takes the place of the client's candidates: its media comes through this proxy. Error reasons:
/// unsupported_media_type, bad_body, bad_sdp, no_secure_media, bad_stream_name, body_too_large.
base::result<rtc_ask> parse_rtc_ask(const runtime::http_request& request, rtc_form form,
                                    const base::endpoint& placeholder, const cluster::vhost_rules& rules);
/// The status that RFC 9725 wants for an error of parse_rtc_ask().
int rtc_status_of(const base::error& e);

/// A client's PATCH.
struct rtc_patch {
  /// Its answer to an offer that the origin has made (application/sdp), else candidates or an ICE restart
  /// (application/trickle-ice-sdpfrag).
  bool is_answer = false;
  std::string body;   ///< for the origin: without the client's addresses
  std::string ufrag;  ///< of the client; may be empty, but of no answer
};
/// Of an answer, `placeholder` takes the place of the client's candidates. Error reasons: unsupported_media_type,
/// body_too_large, bad_sdp.
base::result<rtc_patch> parse_rtc_patch(const runtime::http_request& request, const base::endpoint& placeholder);
/// What a PATCH of that path may carry (Accept-Patch). Publishers get no offers.
std::string_view rtc_patch_types(std::string_view path);

/// What decides where a client is told to send its media.
struct rtc_reach {
  std::span<const base::ip_address> advertised;  ///< that the operator says
  std::optional<base::endpoint> wanted;          ///< that the client asks for itself; port 0: the media's
  base::endpoint media;                          ///< where media is served, perhaps of all addresses
  base::ip_address api;                          ///< at which the client reached the API
  /// An IPv4 address of the interface that has `api`, if there is one. Asked only if media is served by IPv4 alone, and
  /// the API was reached by IPv6.
  std::function<std::optional<base::ip_address>(const base::ip_address& api)> v4_beside;
};
/// The first of these that there are. Empty: nobody would listen at any.
std::vector<base::endpoint> rtc_candidates(const rtc_reach& reach);

/// An origin's consent.
struct rtc_answer {
  std::string body;  ///< for the client, with our candidates
  std::string ufrag, password;
  std::optional<base::endpoint> candidate;  ///< that the origin named itself
};
/// Error reason: bad_answer (no SDP, or one without credentials), origin_refused (JSON: it has a code that is not 0).
base::result<rtc_answer> parse_rtc_answer(std::string_view body, rtc_form form, std::span<const base::endpoint> ours);

/// Path and query that a Location of an origin's answer to a request for `path` names, whoever serves it; nothing for
/// what is none.
std::optional<std::string> resource_of(std::string_view location, std::string_view path);
/// The same of the last Location of `answer` that names something; empty: none does.
std::string resource_of(const runtime::http_response& answer, std::string_view path);
/// Whether the answer to a player's offer is an offer of the origin's own: 406 with SDP, which drafts of WHEP before
/// -03 have. The client answers it by PATCH of its Location.
bool is_counter_offer(const runtime::http_response& answer);

using header_list = std::vector<std::pair<std::string, std::string>>;
/// The headers of an origin's answer that go back: not those of the connection, of the body's form, Location, and who
/// may read it (CORS), which this proxy says.
header_list returned_rtc_headers(const header_list& headers);
/// What every answer under /rtc/v1/ has, so that pages of every site may read it (CORS).
header_list rtc_page_headers();

}  // namespace sluice::relay
