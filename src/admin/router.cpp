#include "admin/router.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

namespace sluice::admin {
namespace {

namespace json = boost::json;
using runtime::http_request;
using runtime::http_response;

constexpr std::string_view wildcard = "{}";

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

/// What stands in the place of the pattern's wildcard (empty if it has none); nothing if the path does not fit.
std::optional<std::string_view> match(std::string_view pattern, std::string_view path) {
  const auto at = pattern.find(wildcard);
  if (at == pattern.npos) return pattern == path ? std::optional(std::string_view()) : std::nullopt;
  const auto before = pattern.substr(0, at), after = pattern.substr(at + wildcard.size());
  if (path.size() <= before.size() + after.size() || !path.starts_with(before) || !path.ends_with(after))
    return std::nullopt;
  return path.substr(before.size(), path.size() - before.size() - after.size());
}

/// The part of a Host header or of an origin (`http://host:port`) that names the host.
std::string_view host_of(std::string_view authority) {
  if (const auto scheme = authority.find("://"); scheme != authority.npos) authority.remove_prefix(scheme + 3);
  if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.rfind(':'));
}

bool names_an_address(std::string_view host) {
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return host == "localhost" || base::ip_address::parse(host).has_value();
}

/// Whether the request was made on this host, and on purpose. A page of any site can make a browser send requests to
/// this host, also by a name of its own that it lets point here.
bool from_here(const http_request& request) {
  if (!request.peer.address.is_loopback()) return false;
  for (const char* relayed : {"X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"})
    if (!request.header(relayed).empty()) return false;
  const auto host = request.header("Host"), origin = request.header("Origin");
  if (!host.empty() && !names_an_address(host_of(host))) return false;
  return origin.empty() || (origin.ends_with(host) && host_of(origin) == host_of(host) && !host.empty());
}

http_response unauthorized() {
  auto response = json_error(401, "a valid bearer token is required");
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

/// OPTIONS is answered at every path that there is.
std::string with_options(std::string allow) {
  if (allow.find("OPTIONS") == allow.npos) allow += ", OPTIONS";
  return allow;
}

}  // namespace

http_response json_error(int status, std::string_view text) {
  http_response response;
  response.status = status;
  response.body = json::serialize(json::object{{"code", status}, {"error", text}});
  return response;
}

http_response json_body(std::string body) {
  http_response response;
  response.body = std::move(body);
  return response;
}

bool bearer_matches(std::string_view authorization, std::string_view token) {
  constexpr std::string_view scheme = "bearer ";
  if (authorization.size() < scheme.size() ||
      !std::equal(scheme.begin(), scheme.end(), authorization.begin(), [](char a, char b) { return a == lower(b); })) {
    return false;
  }
  std::string_view given = authorization.substr(scheme.size());
  while (given.starts_with(' ')) given.remove_prefix(1);
  while (given.ends_with(' ')) given.remove_suffix(1);
  // Every byte of what was given is looked at: the time tells nothing about the token, but perhaps its length.
  unsigned difference = given.size() == token.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    const char expected = token.empty() ? '\0' : token[i % token.size()];
    difference |= static_cast<unsigned char>(given[i] ^ expected);
  }
  return difference == 0 && !token.empty();
}

void router::operator()(const http_request& request, respond done) const {
  for (const auto& added : headers_) {
    if (!request.path.starts_with(added.under)) continue;
    done = [headers = added.headers, done = std::move(done)](http_response response) {
      response.headers.insert(response.headers.end(), headers->begin(), headers->end());
      done(std::move(response));
    };
  }
  std::string_view path = request.path;
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const std::string_view method = request.method == "HEAD" ? std::string_view("GET") : std::string_view(request.method);

  std::string allow;
  std::string_view name;
  // Of a path that nobody knows, and of a method that a path does not have.
  access open_to = access::token_holders;
  const route* chosen = nullptr;
  for (const route& r : routes_) {
    const auto matched = match(r.path, path);
    if (!matched) continue;
    allow += (allow.empty() ? "" : ", ") + r.method + (r.method == "GET" ? ", HEAD" : "");
    if (!chosen) open_to = r.open_to;
    if (r.method != method) continue;
    chosen = &r;
    name = *matched;
  }
  if (allow.empty() && pages_) {
    if (auto page = pages_(request)) return done(std::move(*page));
  }
  // A preflight carries no Authorization (Fetch, 3.2.2), and tells nothing but the methods.
  if (request.method == "OPTIONS" && !chosen && !allow.empty()) {
    http_response response;
    response.headers.emplace_back("Allow", with_options(allow));
    return done(std::move(response));
  }
  if (!token_.empty()) {
    if (open_to != access::everyone && !bearer_matches(request.header("Authorization"), token_))
      return done(unauthorized());
  } else if (open_to == access::operators && !from_here(request)) {
    return done(json_error(403,
                           "without a token (PROXY_HTTP_API_AUTH_ENABLED) this is for requests made on this host, to "
                           "its loopback address"));
  }
  if (chosen != nullptr) return chosen->handle(request, name, std::move(done));
  if (allow.empty()) return done(json_error(404, "no such path"));
  http_response response = json_error(405, "method not allowed");
  response.headers.emplace_back("Allow", with_options(allow));
  done(std::move(response));
}

}  // namespace sluice::admin
