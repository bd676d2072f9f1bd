#include "cluster/store/server_text.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <array>
#include <boost/json.hpp>
#include <chrono>
#include <utility>

namespace sluice::cluster {
namespace {

namespace json = boost::json;

/// Names here, and in a registration.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> renamed = {std::pair{"server_id", "server"},
                                                                                  std::pair{"service_id", "service"}};

/// RFC 3339 with nanoseconds, as Go writes a time.
std::string time_text(uint64_t wall_ms) {
  const std::chrono::system_clock::time_point at{std::chrono::milliseconds(wall_ms)};
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z", fmt::gmtime(std::chrono::floor<std::chrono::seconds>(at)),
                     wall_ms % 1000 * 1'000'000);
}

}  // namespace

std::string server_json(const origin_registration& registration, std::string_view host, uint64_t wall_ms) {
  origin_registration without_streams = registration;
  if (without_streams.sluice) {
    without_streams.sluice->streams.clear();
    without_streams.sluice->whole = false;
  }
  json::object out = json::parse(make_registration_body(without_streams)).as_object();
  for (const auto& [ours, posted] : renamed) {
    out[ours] = std::move(out[posted]);
    out.erase(posted);
  }
  out["update_at"] = time_text(wall_ms);
  out["sluice_host"] = host;
  return json::serialize(out);
}

base::result<stored_server> parse_server_json(std::string_view text, const address_policy& policy) {
  json::error_code failure;
  json::value parsed = json::parse(text, failure);
  json::object* object = failure ? nullptr : parsed.if_object();
  if (object == nullptr) return base::fail("bad_registration", "a server's record is no JSON object");
  stored_server out;
  if (const json::value* host = object->if_contains("sluice_host"); host != nullptr && host->is_string())
    out.host = std::string(std::string_view(host->get_string()));
  for (const auto& [ours, posted] : renamed)
    if (object->contains(ours)) (*object)[posted] = (*object)[ours];
  auto registration = parse_registration(json::serialize(*object), policy);
  if (!registration) return tl::unexpected(registration.error());
  out.registration = std::move(*registration);
  return out;
}

}  // namespace sluice::cluster
