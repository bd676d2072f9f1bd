#include "admin/api.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

namespace sluice::admin {
namespace {

namespace json = boost::json;
using runtime::http_request;
using runtime::http_response;
using respond_fn = runtime::http_server::respond;

constexpr std::string_view versions_path = "/api/v1/versions";

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

http_response json_body(std::string body) {
  http_response response;
  response.body = std::move(body);
  return response;
}

router::route versions_route(std::string body) {
  auto handle = [body = std::move(body)](const http_request&, const respond_fn& respond) {
    http_response response;
    response.body = body;
    respond(std::move(response));
  };
  return {"GET", std::string(versions_path), true, std::move(handle)};
}

router::route metrics_route(metrics_source metrics) {
  auto handle = [metrics = std::move(metrics)](const http_request& request, const respond_fn& respond) {
    http_response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics(request.query_value("streams") == "1");
    respond(std::move(response));
  };
  return {"GET", "/metrics", true, std::move(handle)};
}

router::route register_route(std::string pid, cluster::address_policy policy, register_sink sink) {
  auto handle = [pid = std::move(pid), policy = std::move(policy), sink = std::move(sink)](const http_request& request,
                                                                                           respond_fn respond) {
    auto parsed = cluster::parse_registration(request.body, policy);
    if (!parsed) return respond(json_error(cluster::http_status_of(parsed.error()), parsed.error().text));
    sink(std::move(*parsed), request.peer, [pid, respond = std::move(respond)](const base::result<void>& outcome) {
      if (!outcome) return respond(json_error(cluster::http_status_of(outcome.error()), outcome.error().text));
      respond(json_body(json::serialize(json::object{{"code", 0}, {"pid", pid}})));
    });
  };
  return {"POST", "/api/v1/srs/register", false, std::move(handle)};
}

/// `1.2.3-rc1` as {1, 2, 3}; what is missing is 0.
std::array<int, 3> version_numbers(std::string_view version) {
  std::array<int, 3> numbers{};
  for (int& n : numbers) {
    const auto [end, failure] = std::from_chars(version.data(), version.data() + version.size(), n);
    if (failure != std::errc()) break;
    version.remove_prefix(static_cast<size_t>(end - version.data()));
    if (!version.starts_with('.')) break;
    version.remove_prefix(1);
  }
  return numbers;
}

}  // namespace

http_response json_error(int status, std::string_view text) {
  http_response response;
  response.status = status;
  response.body = json::serialize(json::object{{"code", status}, {"error", text}});
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

void router::operator()(const http_request& request, respond_fn respond) const {
  std::string_view path = request.path;
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  const std::string_view method = request.method == "HEAD" ? std::string_view("GET") : std::string_view(request.method);

  std::string allow;
  bool needs_token = !token_.empty();
  const route* chosen = nullptr;
  for (const route& r : routes_) {
    if (r.path != path) continue;
    allow += (allow.empty() ? "" : ", ") + r.method + (r.method == "GET" ? ", HEAD" : "");
    if (r.open) needs_token = false;
    if (r.method == method) chosen = &r;
  }
  if (chosen != nullptr) needs_token = !token_.empty() && !chosen->open;
  // A preflight carries no Authorization (Fetch, 3.2.2), and tells nothing but the methods.
  if (request.method == "OPTIONS" && !allow.empty()) {
    http_response response;
    response.headers.emplace_back("Allow", allow + ", OPTIONS");
    return respond(std::move(response));
  }
  if (needs_token && !bearer_matches(request.header("Authorization"), token_)) {
    http_response response = json_error(401, "a valid bearer token is required");
    response.headers.emplace_back("WWW-Authenticate", "Bearer");
    return respond(std::move(response));
  }
  if (chosen != nullptr) return chosen->handle(request, std::move(respond));
  if (allow.empty()) return respond(json_error(404, "no such path"));
  http_response response = json_error(405, "method not allowed");
  response.headers.emplace_back("Allow", allow + ", OPTIONS");
  respond(std::move(response));
}

std::string proxy_versions_body(const version_info& info) {
  return json::serialize(json::object{{"signature", "Sluice/" + info.version}, {"version", info.version}});
}

std::string origin_versions_body(const version_info& info) {
  const auto [major, minor, revision] = version_numbers(info.version);
  json::object body{{"code", 0}};
  if (!info.server.empty()) body["server"] = info.server;
  if (!info.service.empty()) body["service"] = info.service;
  body["pid"] = info.pid;
  body["data"] = json::object{{"major", major}, {"minor", minor}, {"revision", revision}, {"version", info.version}};
  return json::serialize(body);
}

router make_system_api(version_info info, cluster::address_policy policy, std::string token, register_sink sink,
                       metrics_source metrics) {
  router api(std::move(token));
  api.add(versions_route(proxy_versions_body(info)));
  api.add(register_route(info.pid, std::move(policy), std::move(sink)));
  api.add(metrics_route(std::move(metrics)));
  return api;
}

router make_proxy_api(version_info info, std::string token) {
  router api(std::move(token));
  api.add(versions_route(proxy_versions_body(info)));
  return api;
}

router make_proxy_http(version_info info) {
  router api;
  api.add(versions_route(origin_versions_body(info)));
  return api;
}

router make_origin_api(version_info info, metrics_source metrics) {
  router api;
  api.add(versions_route(origin_versions_body(info)));
  api.add(metrics_route(std::move(metrics)));
  return api;
}

}  // namespace sluice::admin
