#include "relay/rtc/record.hpp"

#include <boost/json.hpp>

namespace sluice::relay {

namespace json = boost::json;

namespace {

constexpr std::string_view ufrag_key = "srs-proxy-ufrag:";

}  // namespace

std::string text_of(const rtc_record& r) {
  json::object o{{"stream_url", r.stream_url}, {"ufrag", r.ufrag}};
  if (r.origin.empty()) return json::serialize(o);
  json::object ours{{"origin", r.origin}, {"password", r.password}, {"rtc", r.rtc}, {"kind", name_of(r.kind)}};
  if (!r.resource.empty() && r.location.size() + r.resource.size() <= rtc_resource_bytes_max) {
    ours["location"] = r.location;
    ours["resource"] = r.resource;
  }
  o["sluice"] = std::move(ours);
  return json::serialize(o);
}

std::optional<rtc_record> parse_rtc_record(std::string_view text) {
  boost::system::error_code failure;
  const auto value = json::parse(text, failure);
  if (failure || !value.is_object()) return std::nullopt;
  const auto member = [](const json::object& o, std::string_view name) {
    const auto* v = o.if_contains(name);
    return v && v->is_string() ? std::string(v->get_string()) : std::string();
  };
  rtc_record r;
  r.stream_url = member(value.get_object(), "stream_url");
  r.ufrag = member(value.get_object(), "ufrag");
  if (r.stream_url.empty()) return std::nullopt;
  if (const auto* ours = value.get_object().if_contains("sluice"); ours && ours->is_object()) {
    const auto& o = ours->get_object();
    r.origin = member(o, "origin");
    r.password = member(o, "password");
    r.rtc = member(o, "rtc");
    r.kind = member(o, "kind") == name_of(rtc_kind::publish) ? rtc_kind::publish : rtc_kind::play;
    r.location = member(o, "location");
    r.resource = member(o, "resource");
  }
  return r;
}

std::string rtc_stream_key(const cluster::stream_key& key) { return "srs-proxy-rtc:" + key.str(); }
std::string rtc_username_key(std::string_view username) { return std::string(ufrag_key) + std::string(username); }

std::string_view rtc_username_of(std::string_view key) {
  return key.starts_with(ufrag_key) ? key.substr(ufrag_key.size()) : std::string_view();
}

}  // namespace sluice::relay
