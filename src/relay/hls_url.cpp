#include "relay/hls_url.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "media/bridge/hls_name.hpp"
#include "proto/hls/playlist.hpp"
#include "runtime/http_text.hpp"

namespace sluice::relay {
namespace {

constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

std::optional<std::string> base64url_decoded(std::string_view text) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto digit = digits.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xFF);
  }
  return out;
}

template <typename Visit>
void for_each_parameter(std::string_view query, Visit visit) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const auto pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (!pair.empty()) visit(pair, pair.substr(0, pair.find('=')));
  }
}

void add_parameter(std::string& query, std::string_view pair) {
  if (!query.empty()) query += '&';
  query += pair;
}

/// RFC 3986 §3: what stands in front of the path, and what behind it.
struct uri_parts {
  std::string_view scheme, authority, path, query, fragment;
  bool has_authority = false, has_query = false;
};

uri_parts split(std::string_view uri) {
  uri_parts p;
  if (const size_t hash = uri.find('#'); hash != std::string_view::npos) {
    p.fragment = uri.substr(hash);
    uri = uri.substr(0, hash);
  }
  if (const size_t mark = uri.find('?'); mark != std::string_view::npos) {
    p.has_query = true;
    p.query = uri.substr(mark + 1);
    uri = uri.substr(0, mark);
  }
  const size_t colon = uri.find_first_of(":/");
  if (colon != std::string_view::npos && uri[colon] == ':') {
    p.scheme = uri.substr(0, colon);
    uri.remove_prefix(colon + 1);
  }
  if (uri.starts_with("//")) {
    p.has_authority = true;
    uri.remove_prefix(2);
    p.authority = uri.substr(0, uri.find('/'));
    uri.remove_prefix(p.authority.size());
  }
  p.path = uri;
  return p;
}

// A port that the scheme implies is none (RFC 9110 §4.2.3).
std::string_view without_default_port(std::string_view authority) {
  for (const std::string_view port : {":80", ":443"})
    if (authority.ends_with(port)) authority.remove_suffix(port.size());
  return authority;
}

std::string_view raw_path(const runtime::http_request& request) {
  return std::string_view(request.target).substr(0, request.target.find('?'));
}

std::string_view file_in(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

std::string spbhid_of(const cluster::stream_key& key) {
  const std::string text = key.str();
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    bits = bits << 8 | static_cast<uint8_t>(c);
    for (count += 8; count >= 6; count -= 6) out += digits[bits >> (count - 6) & 63];
  }
  if (count > 0) out += digits[bits << (6 - count) & 63];
  return out;
}

std::optional<cluster::stream_key> key_of_spbhid(std::string_view id) {
  if (id.size() > 2 * cluster::stream_key_bytes_max) return std::nullopt;
  const auto text = base64url_decoded(id);
  if (!text) return std::nullopt;
  auto key = cluster::parse_key(*text);
  // One stream, one id: other spellings of the last digit are none.
  if (!key || spbhid_of(*key) != id) return std::nullopt;
  return std::move(*key);
}

std::string without_parameters(std::string_view query, const std::vector<std::string_view>& names) {
  std::string out;
  for_each_parameter(query, [&](std::string_view pair, std::string_view name) {
    if (std::ranges::find(names, name) == names.end()) add_parameter(out, pair);
  });
  return out;
}

std::string origin_target(const runtime::http_request& request) {
  std::string out(raw_path(request));
  // Where there is nothing of ours the query stays as it is, byte for byte.
  const auto query = request.query.find(spbhid_parameter) == std::string::npos
                         ? request.query
                         : without_parameters(request.query, {spbhid_parameter});
  if (!query.empty()) out += "?" + query;
  return out;
}

std::optional<cluster::stream_key> key_of_segment(const runtime::http_request& request,
                                                  const cluster::vhost_rules& rules) {
  if (const auto id = request.query_value(spbhid_parameter); !id.empty()) return key_of_spbhid(id);
  const auto path = raw_path(request);
  const auto name = media::parse_hls_name(file_in(path));
  if (!name) return std::nullopt;
  const auto folder = path.substr(0, path.size() - file_in(path).size());
  auto address =
      cluster::parse_http(request.header("host"), fmt::format("{}{}.m3u8", folder, name->stream), request.query, rules);
  if (!address) return std::nullopt;
  return std::move(address->key);
}

std::optional<std::string> hls_file_of(const runtime::http_request& request, const cluster::stream_key& key,
                                       bool playlist) {
  if (!playlist) {
    const auto name = media::parse_hls_name(file_in(raw_path(request)));
    if (!name || runtime::percent_decode(name->stream) != key.stream) return std::nullopt;
    return name->init ? media::init_name(key.stream, name->value)
                      : media::segment_name(key.stream, name->value, name->format);
  }
  const std::string file = hls::escape_name(key.stream) + ".m3u8";
  for (const std::string_view parameter : {"media", "hls"}) {
    const auto format = request.query_value(parameter);
    if (format == "ts" || format == "fmp4" || format == "auto") return fmt::format("{}?{}={}", file, parameter, format);
    if (!format.empty()) return std::nullopt;
  }
  return file;
}

std::string hls_path(const cluster::stream_key& key, std::string_view file) {
  std::string out;
  for (std::string_view rest = key.app; !rest.empty();) {
    const size_t end = std::min(rest.find('/'), rest.size());
    out += "/" + hls::escape_name(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return fmt::format("{}/{}", out, file);
}

std::optional<std::string> uri_tagger::operator()(std::string_view uri) const {
  const auto parts = split(uri);
  if (!parts.scheme.empty() || uri.starts_with(':')) {
    const bool http = runtime::equal_ignoring_case(parts.scheme, "http");
    if (!(http || runtime::equal_ignoring_case(parts.scheme, "https")) || !parts.has_authority) return std::nullopt;
  }
  if (parts.has_authority) {
    const auto is_it = [&](std::string_view ours) {
      return runtime::equal_ignoring_case(without_default_port(ours), without_default_port(parts.authority));
    };
    if (parts.authority.empty() || std::ranges::none_of(authorities, is_it)) return std::nullopt;
  } else if (parts.path.empty() && !parts.has_query) {
    return std::nullopt;  // the playlist itself
  }
  std::string query = without_parameters(parts.query, {spbhid_parameter});
  add_parameter(query, fmt::format("{}={}", spbhid_parameter, id));
  std::string path(parts.path);
  if (parts.has_authority && path.empty()) path = "/";
  if (parts.has_authority && path.starts_with("//")) path = "/." + path;  // or it would be an authority itself
  return fmt::format("{}?{}{}", path, query, parts.fragment);
}

std::string path_to(const runtime::http_request& request, std::string_view uri) {
  const auto parts = split(uri);
  const auto base = raw_path(request);
  std::string whole(parts.path);
  if (whole.empty()) whole = parts.has_authority ? "/" : base;
  if (!whole.starts_with('/')) whole = std::string(base.substr(0, base.size() - file_in(base).size())) + whole;
  std::vector<std::string_view> kept;  // §5.2.4
  for (std::string_view rest = std::string_view(whole).substr(1);;) {
    const size_t end = std::min(rest.find('/'), rest.size());
    const auto segment = rest.substr(0, end);
    const bool dots = segment == "." || segment == "..", last = end == rest.size();
    if (segment == ".." && !kept.empty()) kept.pop_back();
    if (!dots || last) kept.push_back(dots ? std::string_view() : segment);
    if (last) break;
    rest.remove_prefix(end + 1);
  }
  return fmt::format("/{}", fmt::join(kept, "/"));
}

std::string with_parameters_of(std::string_view uri, std::string_view query) {
  const auto parts = split(uri);
  std::vector<std::string_view> there;
  for_each_parameter(parts.query, [&](std::string_view, std::string_view name) { there.push_back(name); });
  std::string all(parts.query);
  if (const auto more = without_parameters(query, there); !more.empty()) add_parameter(all, more);
  const auto stem = uri.substr(0, uri.find_first_of("?#"));
  return all.empty() ? std::string(uri) : fmt::format("{}?{}{}", stem, all, parts.fragment);
}

}  // namespace sluice::relay
