#include "cluster/store/server_text.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <chrono>
#include <utility>

namespace sluice::cluster {
namespace {

namespace json = boost::json;

/// Names here, and in a registration.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> renamed = {std::pair{"server_id", "server"},
                                                                                  std::pair{"service_id", "service"}};

/// The system clock counts nanoseconds, which 63 bits can up to 2262.
constexpr int64_t year_max = 2200;

/// RFC 3339 with nanoseconds, as Go writes a time.
std::string time_text(uint64_t wall_ms) {
  const std::chrono::system_clock::time_point at{std::chrono::milliseconds(wall_ms)};
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z", fmt::gmtime(std::chrono::floor<std::chrono::seconds>(at)),
                     wall_ms % 1000 * 1'000'000);
}

/// What time_text(), or a Go program in any zone, has written; 0: it is no such text.
uint64_t wall_of(const json::value* text) {
  if (text == nullptr || !text->is_string()) return 0;
  // 2006-01-02T15:04:05.999999999Z07:00; of the fraction milliseconds count.
  const std::string_view s = text->get_string();
  int64_t year, month, day, hour, minute, second;
  const auto number = [&](size_t at, size_t digits, char after, int64_t& out) {
    const char* const end = s.data() + std::min(s.size(), at + digits);
    const auto got = std::from_chars(s.data() + std::min(s.size(), at), end, out);
    return got.ec == std::errc() && got.ptr == end && out >= 0 &&
           (after == 0 || (end != s.data() + s.size() && *end == after));
  };
  if (!number(0, 4, '-', year) || !number(5, 2, '-', month) || !number(8, 2, 'T', day) || !number(11, 2, ':', hour) ||
      !number(14, 2, ':', minute) || !number(17, 2, 0, second))
    return 0;
  size_t at = 19;
  int64_t milliseconds = 0;
  if (at < s.size() && s[at] == '.') {
    for (int64_t unit = 100; ++at < s.size() && s[at] >= '0' && s[at] <= '9'; unit /= 10)
      milliseconds += unit * (s[at] - '0');
  }
  int64_t zone_minutes = 0;
  if (at < s.size() && (s[at] == '+' || s[at] == '-')) {
    int64_t hours, minutes;
    if (!number(at + 1, 2, ':', hours) || !number(at + 4, 2, 0, minutes)) return 0;
    zone_minutes = (60 * hours + minutes) * (s[at] == '-' ? -1 : 1);
  } else if (at >= s.size() || s[at] != 'Z') {
    return 0;
  }
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(year)),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok() || year > year_max) return 0;
  const std::chrono::milliseconds since = std::chrono::sys_days(date).time_since_epoch() + std::chrono::hours(hour) +
                                          std::chrono::minutes(minute - zone_minutes) + std::chrono::seconds(second) +
                                          std::chrono::milliseconds(milliseconds);
  return static_cast<uint64_t>(std::max<int64_t>(0, since.count()));
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
  out.wall_ms = wall_of(object->if_contains("update_at"));
  for (const auto& [ours, posted] : renamed)
    if (object->contains(ours)) (*object)[posted] = (*object)[ours];
  auto registration = parse_registration(json::serialize(*object), policy);
  if (!registration) return tl::unexpected(registration.error());
  out.registration = std::move(*registration);
  return out;
}

}  // namespace sluice::cluster
