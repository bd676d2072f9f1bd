#include "admin/api.hpp"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <charconv>
#include <utility>

#include "admin/pages.hpp"
#include "admin/static_files.hpp"

namespace sluice::admin {
namespace {

namespace json = boost::json;
using runtime::http_request;
using runtime::http_response;

constexpr std::string_view versions_path = "/api/v1/versions";

router::route versions_route(std::string body) {
  auto handle = [body = std::move(body)](const http_request&, std::string_view, const router::respond& respond) {
    respond(json_body(body));
  };
  return {"GET", std::string(versions_path), access::everyone, std::move(handle)};
}

router::route metrics_route(metrics_source metrics) {
  auto handle = [metrics = std::move(metrics)](const http_request& request, std::string_view,
                                               const router::respond& respond) {
    http_response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = metrics(request.query_value("streams") == "1");
    respond(std::move(response));
  };
  return {"GET", "/metrics", access::everyone, std::move(handle)};
}

/// `sluice` is for Sluice origins: who asks for what, and which of their streams have another owner by now.
std::string register_answer(const std::string& pid, const std::string& proxy_id, bool is_sluice,
                            const cluster::registration_reply& reply) {
  json::object body{{"code", 0}, {"pid", pid}};
  if (is_sluice) {
    json::object fenced;
    for (const auto& [name, epoch] : reply.fenced) fenced[name] = cluster::text_of(epoch);
    body["sluice"] = json::object{{"proxy", proxy_id}, {"want_whole", reply.want_whole}, {"fenced", std::move(fenced)}};
  }
  return json::serialize(body);
}

router::route register_route(const version_info& info, cluster::address_policy policy, register_sink sink) {
  auto handle = [pid = info.pid, id = info.proxy_id, policy = std::move(policy), sink = std::move(sink)](
                    const http_request& request, std::string_view, const router::respond& respond) {
    auto parsed = cluster::parse_registration(request.body, policy);
    if (!parsed) return respond(json_error(cluster::http_status_of(parsed.error()), parsed.error().text));
    const bool is_sluice = parsed->sluice.has_value();
    sink(std::move(*parsed), request.peer,
         [pid, id, is_sluice, respond](const base::result<cluster::registration_reply>& outcome) {
           if (!outcome) return respond(json_error(cluster::http_status_of(outcome.error()), outcome.error().text));
           respond(json_body(register_answer(pid, id, is_sluice, *outcome)));
         });
  };
  return {"POST", "/api/v1/srs/register", access::token_holders, std::move(handle)};
}

/// For load balancers, which take a server out of their list by its answer: unlike the versions, which say that it
/// lives.
router::route ready_route(unready_reason unready) {
  auto handle = [unready = std::move(unready)](const http_request&, std::string_view, const router::respond& respond) {
    const auto why = unready();
    respond(why.empty() ? json_body(R"({"code":0,"ready":true})") : json_error(503, why));
  };
  return {"GET", "/api/v1/sluice/ready", access::everyone, std::move(handle)};
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

router make_system_api(const version_info& info, cluster::address_policy policy, std::string token, register_sink sink,
                       metrics_source metrics, unready_reason unready, cluster_operations operations) {
  router api = make_proxy_api(info, std::move(token), std::move(unready));
  api.add(register_route(info, std::move(policy), std::move(sink)));
  api.add(metrics_route(std::move(metrics)));
  add_cluster_routes(api, std::move(operations));
  return api;
}

router make_proxy_api(const version_info& info, std::string token, unready_reason unready) {
  router api(std::move(token));
  api.add(versions_route(proxy_versions_body(info)));
  api.add(ready_route(std::move(unready)));
  return api;
}

router make_site(version_info info, router::pages pages) {
  router api;
  api.add(versions_route(origin_versions_body(info)));
  api.otherwise(std::move(pages));
  return api;
}

router::pages make_pages(std::string static_folder) {
  return [files = static_files(std::move(static_folder))](const runtime::http_request& request) {
    auto file = files(request);
    return file ? file : page_response(request);
  };
}

router make_origin_api(version_info info, metrics_source metrics) {
  router api;
  api.add(versions_route(origin_versions_body(info)));
  api.add(metrics_route(std::move(metrics)));
  return api;
}

}  // namespace sluice::admin
