#include "runtime/http_text.hpp"

#include <algorithm>

#include "runtime/http_server.hpp"

namespace sluice::runtime {

namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char l = lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}

bool is_http_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

bool is_http_value(std::string_view text) {
  return std::none_of(text.begin(), text.end(), [](char c) { return is_control(c) && c != '\t'; });
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    out.push_back(c);
  }
  return out;
}

std::optional<http_target> parse_http_target(std::string_view target) {
  if (target == "*") return http_target{"*", "", "*", {}};
  if (std::any_of(target.begin(), target.end(), is_control)) return std::nullopt;
  std::string_view authority;
  if (!target.starts_with('/')) {
    const size_t scheme = target.find("://");
    if (scheme == std::string_view::npos || scheme == 0) return std::nullopt;
    const size_t path = std::min(target.find_first_of("/?", scheme + 3), target.size());
    authority = target.substr(scheme + 3, path - scheme - 3);
    if (authority.empty() || authority.find('@') != std::string_view::npos) return std::nullopt;
    target = target.substr(path);
  }
  const size_t question = target.find('?');
  auto path = percent_decode(target.substr(0, question));
  if (!path) return std::nullopt;
  if (path->empty()) path = "/";
  return http_target{std::move(*path),
                     std::string(question == std::string_view::npos ? "" : target.substr(question + 1)),
                     (target.starts_with('/') ? "" : "/") + std::string(target), std::string(authority)};
}

std::string_view http_request::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (equal_ignoring_case(key, name)) return value;
  }
  return {};
}

std::string http_request::query_value(std::string_view name) const {
  for (std::string_view rest = query; !rest.empty();) {
    const size_t end = std::min(rest.find('&'), rest.size());
    const std::string_view pair = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    if (percent_decode(pair.substr(0, equals)) != name) continue;
    return percent_decode(pair.substr(std::min(equals + 1, pair.size()))).value_or("");
  }
  return {};
}

}  // namespace sluice::runtime
