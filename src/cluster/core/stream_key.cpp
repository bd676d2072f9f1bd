#include "cluster/core/stream_key.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "base/endpoint.hpp"
#include "cluster/core/placement.hpp"
#include "cluster/core/text.hpp"

namespace sluice::cluster {
namespace {

static_assert(3 * stream_key_part_bytes_max + 2 <= stream_key_bytes_max, "a key of valid parts is never too long");

constexpr std::string_view definst = "_definst_";
constexpr std::string_view vhost_mark = "...vhost...";
constexpr std::array<std::string_view, 13> media_extensions = {".flv", ".ts",  ".m3u8", ".mp4", ".m4s",  ".mp3", ".aac",
                                                               ".m4a", ".mpd", ".webm", ".vtt", ".opus", ".cmfv"};

tl::unexpected<base::error> refuse(std::string_view why) { return base::fail("bad_stream_name", std::string(why)); }

/// `text` cut at the first `?` (or `#`, which old Flash clients send instead).
struct path_and_query {
  std::string_view path, query;
};

path_and_query split_query(std::string_view text) {
  const size_t at = text.find_first_of("?#");
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

/// The raw value of a query parameter, empty if it is not there.
std::string_view parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    if (pair.size() > name.size() && pair.starts_with(name) && pair[name.size()] == '=') {
      return pair.substr(name.size() + 1);
    }
    query.remove_prefix(std::min(end + 1, query.size()));
  }
  return {};
}

/// What a query says of the vhost, raw: `vhost` beats `domain`, as in SRS.
std::string_view vhost_parameter(std::string_view query) {
  const std::string_view vhost = parameter(query, "vhost");
  return vhost.empty() ? parameter(query, "domain") : vhost;
}

/// Host without user, port and brackets; nothing if it is not a host at all.
std::optional<std::string_view> host_only(std::string_view authority) {
  if (const size_t at = authority.rfind('@'); at != std::string_view::npos) authority.remove_prefix(at + 1);
  if (authority.starts_with('[')) {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    return authority.substr(1, close - 1);
  }
  // More than one colon without brackets is an IPv6 address without a port.
  const size_t colon = authority.find(':');
  if (colon != std::string_view::npos && authority.find(':', colon + 1) == std::string_view::npos) {
    return authority.substr(0, colon);
  }
  return authority;
}

base::result<std::string> vhost_of(std::string_view raw, const vhost_rules& rules) {
  const auto decoded = percent_decoded(raw);
  if (!decoded) return refuse("malformed percent escape in the host");
  const auto host = host_only(*decoded);
  if (!host || host->size() > stream_key_part_bytes_max || !is_clean_text(*host)) return refuse("malformed host");
  if (base::ip_address::parse(*host)) return std::string(default_vhost);

  std::string name(*host);
  if (name.ends_with('.')) name.pop_back();
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool fine =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || (c & 0x80);
    if (!fine) return refuse("malformed host");
  }
  if (name.find("..") != std::string::npos || name.starts_with('.') || name.ends_with('.'))
    return refuse("malformed host");
  if (rules.only_default) return std::string(default_vhost);
  const bool listed = std::any_of(rules.listed.begin(), rules.listed.end(), [&](const std::string& v) {
    return std::equal(v.begin(), v.end(), name.begin(), name.end(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b; });
  });
  if (listed) return name;
  if (!rules.listed.empty() || name.find('.') == std::string::npos) return std::string(default_vhost);
  return name;
}

bool is_fine_segment(std::string_view segment) {
  return !segment.empty() && segment != "." && segment != ".." &&
         segment.find_first_of("/\\?#%{}") == std::string_view::npos && is_clean_text(segment);
}

/// The last segment is the stream, all before it the app; `_definst_` (Flash's name of an application's default
/// instance) between them is nothing.
base::result<stream_key> key_of(std::string vhost, std::vector<std::string> segments) {
  if (segments.size() > 2)
    segments.erase(std::remove(segments.begin() + 1, segments.end() - 1, definst), segments.end() - 1);
  if (segments.size() < 2) return refuse("an application and a stream name are needed");
  stream_key key;
  key.vhost = std::move(vhost);
  for (size_t i = 0; i < segments.size(); ++i) {
    if (!is_fine_segment(segments[i])) return refuse("empty part, dot segment or forbidden character");
    if (i + 1 == segments.size()) {
      key.stream = std::move(segments[i]);
    } else {
      if (i > 0) key.app += '/';
      key.app += segments[i];
    }
  }
  if (key.app.size() > stream_key_part_bytes_max || key.stream.size() > stream_key_part_bytes_max) {
    return refuse("application or stream name too long");
  }
  return key;
}

/// Split at slashes, then decoded: an escaped slash thus stays inside its segment, where it is refused.
base::result<std::vector<std::string>> segments_of(std::string_view raw_path) {
  std::vector<std::string> segments;
  for (size_t begin = 0; begin <= raw_path.size();) {
    const size_t end = std::min(raw_path.find('/', begin), raw_path.size());
    auto decoded = percent_decoded(raw_path.substr(begin, end - begin));
    if (!decoded) return refuse("malformed percent escape");
    segments.push_back(std::move(*decoded));
    begin = end + 1;
  }
  return segments;
}

void add_query(std::string& all, std::string_view query) {
  if (query.empty() || all == query) return;
  if (!all.empty()) all += '&';
  all += query;
}

base::result<stream_address> address_of(stream_key key, std::string query) {
  if (query.size() > stream_query_bytes_max) return refuse("parameters too long");
  if (!is_clean_text(query)) return refuse("control character in the parameters");
  return stream_address{std::move(key), std::move(query)};
}

/// Takes `...vhost...V` out of a tcUrl's path (or an app) and returns V, raw. V ends at the next part of the URL.
std::string take_vhost_mark(std::string& text) {
  const size_t at = text.find(vhost_mark);
  if (at == std::string::npos) return {};
  const size_t begin = at + vhost_mark.size();
  const size_t end = std::min({text.find_first_of("/?#&", begin), text.find("...", begin), text.size()});
  std::string vhost = text.substr(begin, end - begin);
  text.erase(at, end - at);
  return vhost;
}

/// The application part of a publish or play URL, in pieces.
struct rtmp_app {
  std::string_view authority;
  std::string marked_vhost;  // of ...vhost...V
  std::string text;          // path and query, what path and query point into
  std::string_view path, query;

  rtmp_app(std::string_view url, bool has_authority) {
    if (const size_t scheme = url.find("://"); has_authority && scheme != std::string_view::npos) {
      url.remove_prefix(scheme + 3);
      authority = url.substr(0, url.find_first_of("/?#"));
      url.remove_prefix(authority.size());
    }
    text = url;
    marked_vhost = take_vhost_mark(text);
    const path_and_query parts = split_query(text);
    path = parts.path;
    query = parts.query;
    if (query.ends_with("/_definst_")) query.remove_suffix(definst.size() + 1);
    if (path.starts_with('/')) path.remove_prefix(1);
    if (path.ends_with('/')) path.remove_suffix(1);
  }
  rtmp_app(const rtmp_app&) = delete;  // path and query point into text
};

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// The keys of an SRT stream id of the form `#!::k=v,k=v` (SRT Access Control Guidelines).
struct srt_fields {
  std::string resource, host, mode, query;

  static base::result<srt_fields> read(std::string_view text) {
    srt_fields f;
    for (const std::string& pair : split(text, ',')) {
      const size_t at = std::min(pair.find('='), pair.size());
      const std::string_view key = std::string_view(pair).substr(0, at);
      std::string* into = key == "r" ? &f.resource : key == "h" ? &f.host : key == "m" ? &f.mode : nullptr;
      if (into == nullptr) {
        add_query(f.query, pair);
        continue;
      }
      // Of two the origin might believe the other one.
      if (!into->empty() || at + 1 >= pair.size()) return refuse("empty or repeated key in the stream id");
      *into = pair.substr(at + 1);
    }
    return f;
  }
};

std::string_view first_of(std::initializer_list<std::string_view> texts) {
  for (std::string_view t : texts) {
    if (!t.empty()) return t;
  }
  return {};
}

}  // namespace

std::string stream_key::str() const {
  std::string out;
  out.reserve(vhost.size() + app.size() + stream.size() + 2);
  out.append(vhost).append(1, '/').append(app).append(1, '/').append(stream);
  return out;
}

base::result<stream_address> parse_rtmp(std::string_view tc_url, std::string_view app, std::string_view name,
                                        const vhost_rules& rules) {
  constexpr size_t input_bytes_max = stream_query_bytes_max + stream_key_bytes_max;
  if (std::max({tc_url.size(), app.size(), name.size()}) > input_bytes_max) return refuse("too long");

  const rtmp_app from_url(tc_url, true);
  const rtmp_app from_app(app, false);
  auto [stream, stream_query] = split_query(name);
  if (stream.starts_with('/')) stream.remove_prefix(1);

  const auto vhost =
      vhost_of(first_of({vhost_parameter(stream_query), vhost_parameter(from_url.query), from_url.marked_vhost,
                         vhost_parameter(from_app.query), from_app.marked_vhost, from_url.authority}),
               rules);
  if (!vhost) return tl::unexpected(vhost.error());

  // Of tcUrl and app, which should agree, SRS believes the tcUrl.
  std::string path(from_url.path.empty() ? from_app.path : from_url.path);
  if (!path.empty()) path += '/';
  path += stream;
  auto segments = segments_of(path);
  if (!segments) return tl::unexpected(segments.error());
  auto key = key_of(*vhost, std::move(*segments));
  if (!key) return tl::unexpected(key.error());

  std::string query(from_url.query);
  add_query(query, from_app.query);
  add_query(query, stream_query);
  return address_of(std::move(*key), std::move(query));
}

base::result<stream_address> parse_http(std::string_view host, std::string_view path, std::string_view query,
                                        const vhost_rules& rules) {
  if (std::max({host.size(), path.size(), query.size()}) > stream_query_bytes_max) return refuse("too long");
  const auto vhost = vhost_of(first_of({vhost_parameter(query), host}), rules);
  if (!vhost) return tl::unexpected(vhost.error());

  const std::string_view app = parameter(query, "app");
  const std::string_view stream = parameter(query, "stream");
  std::string name;
  if (!app.empty() && !stream.empty()) {
    // In a query an escaped slash is a plain one, so the value is decoded before it is split.
    const auto decoded_app = percent_decoded(app);
    const auto decoded_stream = percent_decoded(stream);
    if (!decoded_app || !decoded_stream) return refuse("malformed percent escape");
    name = *decoded_app + "/" + *decoded_stream;
    if (name.find('%') != std::string::npos) return refuse("escaped twice");
  } else {
    if (path.starts_with('/')) path.remove_prefix(1);
    for (std::string_view extension : media_extensions) {
      if (!path.ends_with(extension)) continue;
      path.remove_suffix(extension.size());
      break;
    }
    name = path;
  }
  auto segments = segments_of(name);
  if (!segments) return tl::unexpected(segments.error());
  auto key = key_of(*vhost, std::move(*segments));
  if (!key) return tl::unexpected(key.error());
  return address_of(std::move(*key), std::string(query));
}

base::result<srt_request> parse_srt(std::string_view stream_id, const vhost_rules& rules) {
  constexpr std::string_view form = "#!::", default_app = "live";
  if (stream_id.size() > stream_key_bytes_max) return refuse("too long");
  srt_fields f;
  if (stream_id.starts_with(form)) {
    auto read = srt_fields::read(stream_id.substr(form.size()));
    if (!read) return tl::unexpected(read.error());
    f = std::move(*read);
  } else {
    f.resource = stream_id;
  }
  if (!f.mode.empty() && f.mode != "publish" && f.mode != "request")
    return base::fail("bad_mode", "the mode in the stream id is neither publish nor request");

  std::string path = std::move(f.resource);
  const bool old_form = path.empty();
  if (old_form) path = std::exchange(f.host, {});
  const size_t mark = std::min(path.find('?'), path.size());
  std::string query(std::string_view(path).substr(std::min(mark + 1, path.size())));
  add_query(query, f.query);
  path.resize(mark);
  auto segments = split(std::string_view(path).substr(path.starts_with('/') ? 1 : 0), '/');
  if (old_form && segments.size() > 2) {
    f.host = std::move(segments.front());
    segments.erase(segments.begin());
  }
  if (segments.size() == 1 && !old_form) segments.insert(segments.begin(), std::string(default_app));

  const auto vhost = vhost_of(first_of({vhost_parameter(query), f.host}), rules);
  if (!vhost) return tl::unexpected(vhost.error());
  auto key = key_of(*vhost, std::move(segments));
  if (!key) return tl::unexpected(key.error());
  auto address = address_of(std::move(*key), std::move(query));
  if (!address) return tl::unexpected(address.error());
  return srt_request{std::move(*address), f.mode == "publish"};
}

base::result<stream_key> parse_key(std::string_view name) {
  if (name.size() > stream_key_bytes_max) return refuse("too long");
  auto segments = split(name, '/');
  std::string vhost = std::move(segments.front());
  segments.erase(segments.begin());
  if (!is_fine_segment(vhost) || vhost.size() > stream_key_part_bytes_max) return refuse("malformed host");
  auto key = key_of(std::move(vhost), std::move(segments));
  if (key && key->str() != name) return refuse("not in normal form");
  return key;
}

}  // namespace sluice::cluster

size_t std::hash<sluice::cluster::stream_key>::operator()(const sluice::cluster::stream_key& key) const noexcept {
  using sluice::cluster::hash64;
  return hash64(key.stream, hash64(key.app, hash64(key.vhost)));
}
