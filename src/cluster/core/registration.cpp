#include "cluster/core/registration.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <limits>
#include <utility>

#include "cluster/core/stream_key.hpp"
#include "cluster/core/text.hpp"

namespace sluice::cluster {
namespace {

namespace json = boost::json;

constexpr size_t json_depth_max = 16;
/// Of a registration without its streams: ids, labels and 6 lists of 16 endpoints.
constexpr size_t rest_bytes_max = 64 * 1024;

tl::unexpected<base::error> bad(std::string text) { return base::fail("bad_registration", std::move(text)); }

/// The member as text; a number counts as its digits, everything else, or nothing at all, as empty.
std::string text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr) return {};
  if (const json::string* text = value->if_string()) return std::string(std::string_view(*text));
  if (value->is_int64() || value->is_uint64()) return json::serialize(*value);
  return {};
}

struct listen_text {
  enum class transport : uint8_t { unsaid, tcp, udp } over = transport::unsaid;
  base::ip_address address;  // unspecified: that of the registration
  uint16_t port = 0;
};

std::optional<uint16_t> port_of(std::string_view digits) {
  if (digits.empty() || digits.size() > 5) return std::nullopt;
  unsigned port = 0;
  for (char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    port = port * 10 + static_cast<unsigned>(c - '0');
  }
  if (port == 0 || port > 65535) return std::nullopt;
  return static_cast<uint16_t>(port);
}

/// `1935`, `:1935`, `0.0.0.0:1935`, `[::]:1935`, each also behind `tcp://` or `udp://`: what SRS writes in `listen`.
std::optional<listen_text> parse_listen(std::string_view text) {
  listen_text out;
  if (text.starts_with("tcp://")) out.over = listen_text::transport::tcp;
  if (text.starts_with("udp://")) out.over = listen_text::transport::udp;
  if (out.over != listen_text::transport::unsaid) text.remove_prefix(6);
  const auto port = port_of(text.starts_with(':') ? text.substr(1) : text);
  if (port) {
    out.port = *port;
    return out;
  }
  const auto at = base::endpoint::parse(text);
  if (!at || at->port == 0) return std::nullopt;
  out.address = at->address;
  out.port = at->port;
  return out;
}

base::result<void> check_address(const base::ip_address& address, const address_policy& policy) {
  if (address.is_loopback()) return {};
  const bool forbidden = address.is_link_local() || address.is_multicast() || address.is_unspecified();
  const bool allowed =
      policy.allowed.empty() || std::any_of(policy.allowed.begin(), policy.allowed.end(),
                                            [&](const base::network& n) { return n.contains(address); });
  if (!forbidden && allowed) return {};
  return base::fail("forbidden_address", "address " + address.to_string() + " is not allowed");
}

class parser {
 public:
  parser(const json::object& body, const address_policy& policy) : body_(body), policy_(policy) {}

  base::result<origin_registration> run() {
    using transport = listen_text::transport;
    return ids()
        .and_then([&] { return endpoints("rtmp", transport::tcp, out_.rtmp, nullptr); })
        .and_then([&]() -> base::result<void> {
          if (out_.rtmp.empty()) return bad("empty rtmp");
          return {};
        })
        .and_then([&] { return endpoints("http", transport::tcp, out_.http, nullptr); })
        .and_then([&] { return endpoints("api", transport::tcp, out_.api, nullptr); })
        .and_then([&] { return endpoints("srt", transport::udp, out_.srt, nullptr); })
        .and_then([&] { return endpoints("rtc", transport::udp, out_.rtc_udp, &out_.rtc_tcp); })
        .and_then([&] { return sluice(); })
        .map([&] { return std::move(out_); });
  }

 private:
  base::result<void> ids() {
    const std::array<std::pair<std::string_view, std::string*>, 4> required = {
        std::pair{"ip", &out_.ip}, {"server", &out_.server}, {"service", &out_.service}, {"pid", &out_.pid}};
    for (const auto& [name, into] : required) {
      *into = text_of(body_, name);
      if (into->empty()) return bad("empty " + std::string(name));
      if (!is_fine_id(*into)) return bad("bad " + std::string(name));
    }
    const auto address = base::ip_address::parse(out_.ip);
    if (!address) return bad("bad ip");
    out_.address = *address;
    out_.ip = address->to_string();
    out_.device_id = text_of(body_, "device_id");
    if (!is_fine_label(out_.device_id)) return bad("bad device_id");
    return check_address(*address, policy_);
  }

  /// `usual` is the transport of entries that name none; entries of the other one go to `other`, if there is such a
  /// list.
  base::result<void> endpoints(std::string_view name, listen_text::transport usual, std::vector<base::endpoint>& into,
                               std::vector<base::endpoint>* other) {
    const json::value* member = body_.if_contains(name);
    if (member == nullptr || member->is_null()) return {};
    const json::array single = member->is_array() ? json::array() : json::array{*member};
    const json::array& entries = member->is_array() ? member->get_array() : single;
    if (entries.size() > registration_endpoints_max) return bad("too many " + std::string(name) + " endpoints");
    for (const json::value& entry : entries) {
      const auto listen = entry.is_string()  ? parse_listen(std::string_view(entry.get_string()))
                          : entry.is_int64() ? parse_listen(json::serialize(entry))
                                             : std::nullopt;
      if (!listen) return bad("bad " + std::string(name) + " endpoint");
      const bool is_other = listen->over != listen_text::transport::unsaid && listen->over != usual;
      if (is_other && other == nullptr) return bad("bad " + std::string(name) + " endpoint");
      const base::endpoint at{listen->address.is_unspecified() ? out_.address : listen->address, listen->port};
      if (auto ok = check_address(at.address, policy_); !ok) return ok;
      (is_other ? *other : into).push_back(at);
    }
    return {};
  }

  /// A number within bounds, `absent` if it is not there; nothing if it is something else.
  static std::optional<double> number(const json::object& object, std::string_view name, double low, double high,
                                      double absent) {
    const json::value* value = object.if_contains(name);
    if (value == nullptr || value->is_null()) return absent;
    if (!value->is_number()) return std::nullopt;
    const double n = value->to_number<double>();
    if (!(n >= low && n <= high)) return std::nullopt;
    return n;
  }

  base::result<void> sluice() {
    const json::value* member = body_.if_contains("sluice");
    if (member == nullptr) return {};
    const json::object* object = member->if_object();
    if (object == nullptr) return bad("bad sluice");
    static const json::object none;
    const json::value* load_member = object->if_contains("load");
    const json::object* load = load_member ? load_member->if_object() : &none;
    if (load == nullptr) return bad("bad sluice load");

    constexpr double whole_max = std::numeric_limits<uint32_t>::max();
    const auto period = number(*object, "period_ms", 0, 3'600'000, 0);
    const auto weight = number(*object, "weight", 0.01, 1000, 1);
    const auto capacity = number(*object, "capacity", 0, whole_max, 0);
    constexpr double count_max = 9'007'199'254'740'992;  // 2^53: what JSON's numbers hold exactly
    const auto beat = number(*object, "beat", 0, count_max, 0);
    const auto since = number(*object, "since", 0, count_max, 0);
    const auto streams = number(*load, "streams", 0, whole_max, 0);
    const auto sessions = number(*load, "sessions", 0, whole_max, 0);
    const auto cpu = number(*load, "cpu", 0, 1e6, -1);
    sluice_info info;
    info.version = text_of(*object, "version");
    if (!period || !weight || !capacity || !beat || !since || !streams || !sessions || !cpu)
      return bad("bad number in sluice");
    if (!is_fine_label(info.version)) return bad("bad sluice version");
    info.period_ms = static_cast<uint32_t>(*period);
    info.weight = *weight;
    info.capacity = static_cast<uint32_t>(*capacity);
    info.beat = static_cast<uint64_t>(*beat);
    info.since = static_cast<uint64_t>(*since);
    info.load.streams = static_cast<uint32_t>(*streams);
    info.load.sessions = static_cast<uint32_t>(*sessions);
    if (*cpu >= 0) info.load.cpu = *cpu;
    auto listed = held_streams(*object, info);
    out_.sluice = std::move(info);
    return listed;
  }

  static base::result<void> held_streams(const json::object& object, sluice_info& into) {
    if (const json::value* whole = object.if_contains("whole")) {
      if (!whole->is_bool()) return bad("bad sluice whole");
      into.whole = whole->get_bool();
    }
    const json::value* member = object.if_contains("streams");
    if (member == nullptr) return {};
    const json::array* entries = member->if_array();
    if (entries == nullptr) return bad("bad sluice streams");
    if (entries->size() > held_streams_max) return bad("too many sluice streams");
    into.streams.reserve(entries->size());
    for (const json::value& entry : *entries) {
      const json::object* stream = entry.if_object();
      if (stream == nullptr) return bad("bad sluice streams");
      held_stream held;
      held.name = text_of(*stream, "name");
      if (!parse_key(held.name)) return bad("bad name in sluice streams");
      if (stream->contains("epoch")) {
        const auto e = parse_epoch(text_of(*stream, "epoch"));
        if (!e) return bad("bad epoch in sluice streams");
        held.epoch = *e;
      }
      if (const json::value* published = stream->if_contains("published")) {
        if (!published->is_bool()) return bad("bad published in sluice streams");
        held.published = published->get_bool();
      }
      into.streams.push_back(std::move(held));
    }
    return {};
  }

  const json::object& body_;
  const address_policy& policy_;
  origin_registration out_;
};

}  // namespace

base::result<origin_registration> parse_registration(std::string_view body, const address_policy& policy) {
  if (body.size() > registration_body_bytes_max) return bad("body too large");
  json::parse_options options;
  options.max_depth = json_depth_max;
  json::error_code failure;
  const json::value parsed = json::parse(body, failure, {}, options);
  if (failure) return bad("bad JSON: " + failure.message());
  const json::object* object = parsed.if_object();
  if (object == nullptr) return bad("bad JSON: not an object");
  return parser(*object, policy).run();
}

int http_status_of(const base::error& error) {
  if (error.reason == "bad_registration") return 400;
  if (error.reason == "forbidden_address") return 403;
  if (error.reason == "voided_incarnation") return 409;
  return 503;  // too_many_origins, shutting down: the origin may try again
}

namespace {

/// The streams as JSON, of at most so many bytes; false if some had to be left out.
bool write_streams(const std::vector<held_stream>& streams, size_t bytes_max, json::array& out) {
  size_t bytes = 0;
  for (const held_stream& held : streams) {
    json::object one{{"name", held.name}};
    if (held.epoch != epoch{}) one["epoch"] = text_of(held.epoch);
    if (held.published) one["published"] = true;
    bytes += json::serialize(one).size() + 1;
    if (bytes > bytes_max || out.size() == held_streams_max) return false;
    out.push_back(std::move(one));
  }
  return true;
}

}  // namespace

std::string make_registration_body(const origin_registration& registration) {
  // A plain port wherever it says enough: the Go proxy reads nothing else.
  auto list = [&](const std::vector<base::endpoint>& endpoints, std::string_view scheme, json::array out = {}) {
    for (const base::endpoint& at : endpoints) {
      const bool plain = at.address == registration.address;
      std::string text(scheme);
      if (!plain) {
        text += at.to_string();
      } else {
        if (!scheme.empty()) text += registration.address.is_v4() ? "0.0.0.0:" : "[::]:";
        text += std::to_string(at.port);
      }
      out.emplace_back(text);
    }
    return out;
  };
  json::object body;
  body["device_id"] = registration.device_id;
  body["ip"] = registration.address.to_string();
  body["server"] = registration.server;
  body["service"] = registration.service;
  body["pid"] = registration.pid;
  body["rtmp"] = list(registration.rtmp, "");
  body["http"] = list(registration.http, "");
  body["api"] = list(registration.api, "");
  body["srt"] = list(registration.srt, "udp://");
  body["rtc"] = list(registration.rtc_tcp, "tcp://", list(registration.rtc_udp, "udp://"));
  if (registration.sluice) {
    const sluice_info& info = *registration.sluice;
    json::object load{{"streams", info.load.streams}, {"sessions", info.load.sessions}};
    if (info.load.cpu) load["cpu"] = *info.load.cpu;
    body["sluice"] = json::object{{"version", info.version},
                                  {"period_ms", info.period_ms},
                                  {"load", std::move(load)},
                                  {"weight", info.weight},
                                  {"capacity", info.capacity}};
    json::array streams;
    const bool all = write_streams(info.streams, registration_body_bytes_max - rest_bytes_max, streams);
    if (!streams.empty()) body["sluice"].as_object()["streams"] = std::move(streams);
    if (info.whole && all) body["sluice"].as_object()["whole"] = true;
    if (info.beat != 0) body["sluice"].as_object()["beat"] = info.beat;
    if (info.since != 0) body["sluice"].as_object()["since"] = info.since;
  }
  return json::serialize(body);
}

}  // namespace sluice::cluster
