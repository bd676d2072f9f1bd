#include "relay/rtc/ask.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "runtime/http_response_reader.hpp"
#include "runtime/http_text.hpp"

namespace sluice::relay {
namespace {

namespace json = boost::json;

constexpr size_t json_bytes_max = 2 * sdp::bytes_max;  // line ends and quotes are escaped there

constexpr std::string_view cors_prefix = "access-control-";
constexpr std::string_view sdp_type = "application/sdp", fragment_type = "application/trickle-ice-sdpfrag";

bool is_media_type(std::string_view content_type, std::string_view wanted) {
  content_type = content_type.substr(0, content_type.find(';'));
  while (content_type.ends_with(' ')) content_type.remove_suffix(1);
  return runtime::equal_ignoring_case(content_type, wanted);
}

bool is_header(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::any_of(names.begin(), names.end(),
                     [&](std::string_view n) { return runtime::equal_ignoring_case(n, name); });
}

std::optional<json::object> parse_object(std::string_view text) {
  boost::system::error_code failure;
  auto value = json::parse(text, failure);
  if (failure || !value.is_object()) return std::nullopt;
  return std::move(value.get_object());
}

std::string text_member(const json::object& o, std::string_view name) {
  const auto* v = o.if_contains(name);
  return v && v->is_string() ? std::string(v->get_string()) : std::string();
}

/// `webrtc://host[:port]/app/stream?query`
base::result<cluster::stream_address> address_of_url(std::string_view url, const cluster::vhost_rules& rules) {
  const auto scheme = url.find("://");
  if (scheme == url.npos) return base::fail("bad_stream_name", "streamurl wants webrtc://host/app/stream");
  url.remove_prefix(scheme + 3);
  const auto slash = url.find('/');
  if (slash == url.npos) return base::fail("bad_stream_name", "streamurl names no stream");
  const auto host = url.substr(0, slash);
  url.remove_prefix(slash);
  const auto question = url.find('?');
  return cluster::parse_http(host, url.substr(0, question),
                             question == url.npos ? std::string_view{} : url.substr(question + 1), rules);
}

/// SRS's `eip=address[:port]`.
std::optional<base::endpoint> external_of(const runtime::http_request& request) {
  const auto text = request.query_value("eip");
  if (text.empty()) return std::nullopt;
  if (const auto whole = base::endpoint::parse(text)) return whole;
  if (const auto address = base::ip_address::parse(text)) return base::endpoint{*address, 0};
  return std::nullopt;
}

base::result<std::string> adapt_offer(std::string_view offer, const base::endpoint& placeholder, rtc_ask& ask) {
  const auto description = sdp::parse(offer);
  if (!description) return tl::unexpected(description.error());
  if (const auto ok = sdp::check_offer(*description); !ok) return tl::unexpected(ok.error());
  ask.ufrag = description->first_ufrag();
  if (ask.ufrag.empty()) return base::fail("bad_sdp", "ice-ufrag is missing");
  return sdp::replace_candidates(offer, {&placeholder, 1}, true);
}

base::result<rtc_ask> parse_json_ask(const runtime::http_request& request, const base::endpoint& placeholder,
                                     const cluster::vhost_rules& rules) {
  if (request.body.size() > json_bytes_max) return base::fail("body_too_large", "the body is too large");
  auto object = parse_object(request.body);
  if (!object) return base::fail("bad_body", "the body is no JSON object");
  rtc_ask ask;
  auto address = address_of_url(text_member(*object, "streamurl"), rules);
  if (!address) return tl::unexpected(address.error());
  ask.address = std::move(*address);
  auto offer = adapt_offer(text_member(*object, "sdp"), placeholder, ask);
  if (!offer) return tl::unexpected(offer.error());
  (*object)["sdp"] = *offer;
  ask.body = json::serialize(*object);
  return ask;
}

}  // namespace

base::result<rtc_ask> parse_rtc_ask(const runtime::http_request& request, rtc_form form,
                                    const base::endpoint& placeholder, const cluster::vhost_rules& rules) {
  if (form == rtc_form::json) {
    auto ask = parse_json_ask(request, placeholder, rules);
    if (ask) ask->external = external_of(request);
    return ask;
  }
  if (!is_media_type(request.header("content-type"), sdp_type))
    return base::fail("unsupported_media_type", "Content-Type wants application/sdp");
  if (request.body.size() > sdp::bytes_max) return base::fail("body_too_large", "the offer is too large");
  rtc_ask ask;
  if (request.query_value("app").empty() || request.query_value("stream").empty())
    return base::fail("bad_stream_name", "the query wants app= and stream=");
  const auto path = std::string_view(request.target).substr(0, request.target.find('?'));
  auto address = cluster::parse_http(request.header("host"), path, request.query, rules);
  if (!address) return tl::unexpected(address.error());
  ask.address = std::move(*address);
  auto offer = adapt_offer(request.body, placeholder, ask);
  if (!offer) return tl::unexpected(offer.error());
  ask.body = std::move(*offer);
  ask.external = external_of(request);
  return ask;
}

base::result<rtc_patch> parse_rtc_patch(const runtime::http_request& request, const base::endpoint& placeholder) {
  const auto types = rtc_patch_types(request.path);
  rtc_patch patch;
  patch.is_answer = is_media_type(request.header("content-type"), sdp_type);
  const bool known = patch.is_answer ? types.find(sdp_type) != types.npos
                                     : is_media_type(request.header("content-type"), fragment_type);
  if (!known) return base::fail("unsupported_media_type", fmt::format("Content-Type wants {}", types));
  if (request.body.size() > sdp::bytes_max) return base::fail("body_too_large", "the body is too large");
  const auto parsed = patch.is_answer ? sdp::parse(request.body) : sdp::parse_fragment(request.body);
  if (!parsed) return tl::unexpected(parsed.error());
  patch.ufrag = parsed->first_ufrag();
  if (patch.is_answer && patch.ufrag.empty()) return base::fail("bad_sdp", "ice-ufrag is missing");
  patch.body = patch.is_answer ? sdp::replace_candidates(request.body, {&placeholder, 1}, true)
                               : sdp::drop_candidates(request.body);
  return patch;
}

std::string_view rtc_patch_types(std::string_view path) {
  return path.starts_with("/rtc/v1/whip") ? fragment_type : "application/trickle-ice-sdpfrag, application/sdp";
}

std::vector<base::endpoint> rtc_candidates(const rtc_reach& reach) {
  const auto port = reach.media.port;
  std::vector<base::endpoint> out;
  for (const auto& address : reach.advertised) out.push_back({address, port});
  if (!out.empty()) return out;
  if (reach.wanted) return {{reach.wanted->address, reach.wanted->port != 0 ? reach.wanted->port : port}};
  const auto& media = reach.media.address;
  if (!media.is_unspecified()) return {reach.media};
  // A socket of all IPv6 addresses takes IPv4 as well (udp_socket).
  if (!media.is_v4() || reach.api.is_v4()) return {{reach.api, port}};
  if (const auto beside = reach.v4_beside(reach.api)) return {{*beside, port}};
  return {};
}

int rtc_status_of(const base::error& e) {
  if (e.reason == "unsupported_media_type") return 415;
  if (e.reason == "no_secure_media") return 406;
  if (e.reason == "body_too_large") return 413;
  return 400;
}

base::result<rtc_answer> parse_rtc_answer(std::string_view body, rtc_form form, std::span<const base::endpoint> ours) {
  json::object object;
  std::string text;
  if (form == rtc_form::json) {
    auto parsed = parse_object(body);
    if (!parsed) return base::fail("bad_answer", "the origin server's answer is no JSON");
    object = std::move(*parsed);
    const auto* code = object.if_contains("code");
    if (code && !(code->is_int64() && code->get_int64() == 0)) return base::fail("origin_refused");
    text = text_member(object, "sdp");
  } else {
    text = body;
  }
  const auto description = sdp::parse(text);
  if (!description) return base::fail("bad_answer", "the origin server's answer: " + description.error().text);
  rtc_answer answer;
  answer.ufrag = description->first_ufrag();
  answer.password = description->first_password();
  answer.candidate = description->candidate;
  if (answer.ufrag.empty() || answer.password.empty())
    return base::fail("bad_answer", "the origin server's answer has no ICE credentials");
  answer.body = sdp::replace_candidates(text, ours, true);
  if (form == rtc_form::json) {
    object["sdp"] = answer.body;
    answer.body = json::serialize(object);
  }
  return answer;
}

std::optional<std::string> resource_of(std::string_view location, std::string_view path) {
  if (!runtime::is_http_value(location) || location.empty()) return std::nullopt;
  if (const auto fragment = location.find('#'); fragment != location.npos) location = location.substr(0, fragment);
  const auto scheme = location.find("://");
  const bool absolute = scheme != location.npos && scheme < location.find_first_of("/?");
  if (absolute) location.remove_prefix(scheme + 1);
  if (location.starts_with("//")) {
    location.remove_prefix(2);
    const auto rest = location.find_first_of("/?");
    location = rest == location.npos ? std::string_view("/") : location.substr(rest);
  }
  if (location.starts_with('/')) return std::string(location);
  if (location.starts_with('?')) return fmt::format("{}{}", path, location);
  return fmt::format("{}/{}", path.substr(0, path.rfind('/')), location);
}

std::string resource_of(const runtime::http_response& answer, std::string_view path) {
  std::string out;
  for (const auto& [name, value] : answer.headers)
    if (is_header(name, {"location"}))
      if (auto resource = resource_of(value, path)) out = std::move(*resource);
  return out;
}

bool is_counter_offer(const runtime::http_response& answer) {
  return answer.status == 406 && is_media_type(answer.content_type, sdp_type);
}

header_list returned_rtc_headers(const header_list& headers) {
  std::string connection;
  for (const auto& [name, value] : headers)
    if (is_header(name, {"connection"})) connection = value;
  header_list out;
  for (const auto& [name, value] : headers) {
    if (runtime::is_hop_by_hop(name, connection)) continue;
    const bool cors = is_header(std::string_view(name).substr(0, cors_prefix.size()), {cors_prefix});
    if (!cors && !is_header(name, {"location", "content-type", "content-length", "server", "date"}))
      out.emplace_back(name, value);
  }
  return out;
}

header_list rtc_page_headers() {
  // `*` is no name for all in requests with credentials, nor does it ever mean Authorization (Fetch, 3.2.5).
  return {{"Access-Control-Allow-Origin", "*"},
          {"Access-Control-Expose-Headers",
           "Location, Link, ETag, Accept-Patch, Accept-Post, Allow, Retry-After, WWW-Authenticate, *"}};
}

}  // namespace sluice::relay
