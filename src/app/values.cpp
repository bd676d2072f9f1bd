#include "app/values.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

namespace sluice::app {
namespace {

constexpr std::string_view bad = "bad_value";

std::string lower(std::string_view text) {
  std::string out(text);
  for (auto& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes digits from the front of `text`; nothing if there are none or the number does not fit.
std::optional<uint64_t> take_digits(std::string_view& text) {
  uint64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

struct unit {
  std::string_view name;
  int64_t nanoseconds;
};
constexpr unit units[] = {
    {"h", 3'600'000'000'000}, {"m", 60'000'000'000}, {"s", 1'000'000'000}, {"ms", 1'000'000}, {"us", 1000}, {"ns", 1},
};

std::optional<int64_t> unit_of(std::string_view name) {
  if (name == "\u00b5s" || name == "\u03bcs") return 1000;  // micro sign and Greek mu, both as in Go
  for (const auto& u : units) {
    if (u.name == name) return u.nanoseconds;
  }
  return std::nullopt;
}

}  // namespace

base::result<base::duration> parse_duration(std::string_view text) {
  const auto refuse = [] { return base::fail(bad, "want a duration such as 300s, 1m30s or 500ms"); };
  if (text == "0") return base::duration::zero();
  if (text.empty()) return refuse();
  // Summed as long double: 64 bits of mantissa hold every nanosecond of an int64.
  long double sum = 0;
  while (!text.empty()) {
    const bool has_integer = is_digit(text.front());
    uint64_t integer = 0;
    if (has_integer) {
      const auto digits = take_digits(text);
      if (!digits) return refuse();
      integer = *digits;
    }
    long double fraction = 0;
    bool has_fraction = false;
    if (!text.empty() && text.front() == '.') {
      text.remove_prefix(1);
      for (long double scale = 0.1L; !text.empty() && is_digit(text.front()); scale /= 10) {
        fraction += scale * static_cast<long double>(text.front() - '0');
        has_fraction = true;
        text.remove_prefix(1);
      }
    }
    if (!has_integer && !has_fraction) return refuse();
    const auto name_end = std::find_if(text.begin(), text.end(), [](char c) { return is_digit(c) || c == '.'; });
    const auto name = text.substr(0, static_cast<size_t>(name_end - text.begin()));
    const auto nanoseconds = unit_of(name);
    if (!nanoseconds) return refuse();
    text.remove_prefix(name.size());
    sum += (static_cast<long double>(integer) + fraction) * static_cast<long double>(*nanoseconds);
  }
  if (sum >= static_cast<long double>(std::numeric_limits<int64_t>::max())) return refuse();
  return base::duration(static_cast<int64_t>(std::llroundl(sum)));
}

std::string to_text(base::duration d) {
  if (d.count() == 0) return "0s";
  std::string out;
  int64_t rest = d.count();
  for (const auto& u : units) {
    if (rest < u.nanoseconds) continue;
    out += fmt::format("{}{}", rest / u.nanoseconds, u.name);
    rest %= u.nanoseconds;
  }
  return out;
}

base::result<uint64_t> parse_size(std::string_view text) {
  const auto refuse = [] { return base::fail(bad, "want a number of bytes such as 65536, 512k or 8MiB"); };
  const auto number = take_digits(text);
  if (!number) return refuse();
  static constexpr std::pair<std::string_view, uint64_t> suffixes[] = {
      {"", 1},
      {"b", 1},
      {"k", 1ULL << 10},
      {"kib", 1ULL << 10},
      {"m", 1ULL << 20},
      {"mib", 1ULL << 20},
      {"g", 1ULL << 30},
      {"gib", 1ULL << 30},
      {"kb", 1'000},
      {"mb", 1'000'000},
      {"gb", 1'000'000'000},
  };
  const auto suffix = lower(text);
  for (const auto& [name, factor] : suffixes) {
    if (suffix != name) continue;
    if (*number > std::numeric_limits<uint64_t>::max() / factor) return refuse();
    return *number * factor;
  }
  return refuse();
}

base::result<uint64_t> parse_number(std::string_view text, uint64_t min, uint64_t max) {
  const auto number = take_digits(text);
  if (!number || !text.empty() || *number < min || *number > max) {
    return base::fail(bad, fmt::format("want a whole number from {} to {}", min, max));
  }
  return *number;
}

base::result<bool> parse_switch(std::string_view text) {
  const auto value = lower(text);
  if (value == "on" || value == "true" || value == "yes" || value == "1") return true;
  if (value == "off" || value == "false" || value == "no" || value == "0") return false;
  return base::fail(bad, "want on or off");
}

base::result<base::endpoint> parse_listen(std::string_view text) {
  const auto port_text = text.starts_with(':') ? text.substr(1) : text;
  if (const auto port = parse_number(port_text, 0, 65535)) {
    return base::endpoint{base::ip_address(), static_cast<uint16_t>(*port)};
  }
  if (const auto at = base::endpoint::parse(text)) return *at;
  return base::fail(bad, "want PORT, IP:PORT or [IPV6]:PORT, with a port from 0 to 65535");
}

base::result<resp::host_port> parse_host_port(std::string_view text) {
  constexpr std::string_view wanted = "want HOST:PORT, such as redis-0:6379 or [fd00::7]:26379";
  const auto colon = text.rfind(':');
  if (colon == text.npos || colon == 0) return base::fail(bad, std::string(wanted));
  std::string_view host = text.substr(0, colon);
  const auto port = parse_number(text.substr(colon + 1), 1, 65535);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!port || host.empty() || bracketed != (host.find(':') != host.npos) || host.find_first_of(" /@[]") != host.npos)
    return base::fail(bad, std::string(wanted));
  return resp::host_port{std::string(host), static_cast<uint16_t>(*port)};
}

base::result<base::ip_address> parse_address(std::string_view text) {
  if (const auto address = base::ip_address::parse(text)) return *address;
  return base::fail(bad, "want an IP address");
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const auto part = trim(text.substr(0, comma));
    if (!part.empty()) parts.emplace_back(part);
    if (comma == text.npos) break;
    text.remove_prefix(comma + 1);
  }
  return parts;
}

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::string closest(std::string_view name, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, name.size() / 4) + 1;
  for (const auto& candidate : known) {
    std::vector<size_t> row(candidate.size() + 1);  // Levenshtein, one row at a time
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i);
      for (size_t j = 1; j < row.size(); ++j) {
        const size_t substitute = diagonal + (name[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({substitute, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace sluice::app
