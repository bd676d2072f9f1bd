#include "servers/http/target.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "media/bridge/hls_name.hpp"
#include "runtime/http_text.hpp"

namespace sluice::servers {
namespace {

bool is_trusted(const base::ip_address& a, const std::vector<base::network>& trusted) {
  return std::any_of(trusted.begin(), trusted.end(), [&](const base::network& n) { return n.contains(a); });
}

std::string_view trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view extension_of(std::string_view path) {
  const auto slash = path.rfind('/');
  const auto dot = path.rfind('.');
  if (dot == std::string_view::npos || (slash != std::string_view::npos && dot < slash)) return {};
  return path.substr(dot);
}

// `{stream}-{number}.ts`: segments are counted from the wall clock in seconds on (segments_from_now()), and never
// faster than that goes, so until the year 2286 their numbers have ten digits. Other dates in names are longer or
// shorter.
bool may_name_segment(std::string_view path) {
  constexpr size_t digits_of_seconds = 10;
  const auto dash = path.rfind('-');
  const auto number =
      dash == std::string_view::npos ? std::string_view{} : path.substr(dash + 1, path.size() - dash - 4);
  return number.size() == digits_of_seconds && number.front() != '0' &&
         number.find_first_not_of("0123456789") == std::string_view::npos;
}

std::string_view file_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

std::string_view name(http_format f) { return f == http_format::flv ? "http-flv" : "http-ts"; }
std::string_view content_type(http_format f) { return f == http_format::flv ? "video/x-flv" : "video/mp2t"; }

base::result<media_target> parse_media_target(const runtime::http_request& request, const cluster::vhost_rules& rules) {
  media_target target;
  const auto extension = extension_of(request.path);
  const bool has_id = !request.query_value("spbhid").empty();
  if (extension == ".flv") {
    target.kind = media_kind::endless;
  } else if (extension == ".ts") {
    const bool by_name = may_name_segment(request.path);
    target.may_be_stream = by_name && !has_id && request.header(segment_header).empty();
    target.kind = by_name || has_id ? media_kind::segment : media_kind::endless;
    target.format = http_format::ts;
  } else if (extension == ".m3u8") {
    target.kind = media_kind::playlist;
  } else if (has_id || media::parse_hls_name(file_of(request.path))) {
    target.kind = media_kind::segment;
  }
  if (target.kind == media_kind::none || (target.kind == media_kind::segment && !target.may_be_stream)) return target;
  const std::string_view raw = std::string_view(request.target).substr(0, request.target.find('?'));
  auto address = cluster::parse_http(request.header("host"), raw, request.query, rules);
  if (!address && target.may_be_stream)
    target.may_be_stream = false;
  else if (!address && !has_id)
    return tl::unexpected(address.error());
  if (address) target.address = std::move(*address);
  return target;
}

std::string forwarded_for(const runtime::http_request& request) {
  std::string all;
  for (const auto& [name, value] : request.headers) {
    if (!runtime::equal_ignoring_case(name, "x-forwarded-for")) continue;
    if (!all.empty()) all += ", ";
    all += value;
  }
  return all;
}

base::endpoint client_address(const runtime::http_request& request, const std::vector<base::network>& trusted) {
  if (!is_trusted(request.peer.address, trusted)) return request.peer;
  std::optional<base::ip_address> found;
  const auto said = forwarded_for(request);
  for (std::string_view list = said; !list.empty();) {
    const auto comma = list.rfind(',');
    const auto last = trim(comma == std::string_view::npos ? list : list.substr(comma + 1));
    list = comma == std::string_view::npos ? std::string_view{} : list.substr(0, comma);
    const auto address = base::ip_address::parse(last);
    if (!address) break;
    found = *address;
    if (!is_trusted(*found, trusted)) break;
  }
  if (!found)
    if (const auto real = base::ip_address::parse(trim(request.header("x-real-ip")))) found = *real;
  return found ? base::endpoint{*found, 0} : request.peer;
}

void allow_any_site(runtime::http_response& response) {
  response.headers.emplace_back("Access-Control-Allow-Origin", "*");
  response.headers.emplace_back("Access-Control-Expose-Headers", "*");
}

runtime::http_response options_response() {
  runtime::http_response r;
  r.content_type.clear();
  allow_any_site(r);
  r.headers.emplace_back("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS");
  r.headers.emplace_back("Access-Control-Allow-Headers", "*");
  r.headers.emplace_back("Access-Control-Max-Age", "86400");
  r.headers.emplace_back("Allow", "GET, HEAD, OPTIONS");
  return r;
}

runtime::http_response http_failure(int status, std::string_view text) {
  runtime::http_response r;
  r.status = status;
  r.body = fmt::format(R"({{"code":{},"error":{}}})", status, boost::json::serialize(boost::json::value(text)));
  allow_any_site(r);
  r.headers.emplace_back("Cache-Control", "no-cache");
  return r;
}

}  // namespace sluice::servers
