#include "admin/cluster_api.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <memory>
#include <optional>
#include <utility>

#include "admin/cluster_text.hpp"

namespace sluice::admin {
namespace {

namespace json = boost::json;
using runtime::http_request;

/// A number of a query; `fallback` if it is not there, nothing if it is none.
std::optional<size_t> number_of(const http_request& request, std::string_view name, size_t fallback, size_t max) {
  const auto text = request.query_value(name);
  if (text.empty()) return fallback;
  size_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

void answer_cluster(const cluster_operations& operations, const http_request& request, const router::respond& done) {
  const auto start = number_of(request, "start", 0, SIZE_MAX);
  const auto count = number_of(request, "count", streams_count_default, streams_count_max);
  if (!start || !count)
    return done(json_error(400, fmt::format("start wants a number, count one up to {}", streams_count_max)));
  operations.report(
      [start, count, done](const cluster_report& report) { done(json_body(cluster_body(report, *start, *count))); });
}

/// The keys that `vhost/app/stream`, or `app/stream` of the default virtual host, may mean.
std::vector<cluster::stream_key> keys_of(const std::string& name) {
  std::vector<cluster::stream_key> keys;
  if (std::count(name.begin(), name.end(), '/') > 1)
    if (auto key = cluster::parse_key(name)) keys.push_back(std::move(*key));
  if (auto key = cluster::parse_key(fmt::format("{}/{}", cluster::default_vhost, name)))
    keys.push_back(std::move(*key));
  return keys;
}

/// Answers with the first of `keys` that anybody knows.
void answer_explain_of(const std::shared_ptr<const cluster_operations>& operations,
                       std::vector<cluster::stream_key> keys, const std::string& name, const router::respond& done) {
  if (keys.empty())
    return done(json_error(404, fmt::format("nobody knows {}; names: /api/v1/sluice/cluster", shown(name))));
  const cluster::stream_key key = keys.front();
  keys.erase(keys.begin());
  operations->explain(key, [operations, keys = std::move(keys), key, name, done](const stream_story& story) {
    if (story.events.empty() && story.report.streams.empty()) return answer_explain_of(operations, keys, name, done);
    done(json_body(json::serialize(json::object{
        {"code", 0}, {"stream", stream_object(key.str(), story.report)}, {"events", event_array(story.events)}})));
  });
}

void answer_explain(const std::shared_ptr<const cluster_operations>& operations, const http_request& request,
                    const router::respond& done) {
  const auto name = request.query_value("stream");
  auto keys = keys_of(name);
  if (keys.empty()) return done(json_error(400, "?stream= wants vhost/app/stream, or app/stream"));
  answer_explain_of(operations, std::move(keys), name, done);
}

void answer_drain(const cluster_operations& operations, std::string_view server_id, bool on,
                  const router::respond& done) {
  const auto to_move = operations.drain(std::string(server_id), on);
  if (!to_move) {
    if (to_move.error().reason != "unknown_origin") return done(json_error(503, to_move.error().text));
    return done(json_error(
        404, fmt::format("no origin has the server id {}; see `server` of /api/v1/sluice/cluster", shown(server_id))));
  }
  done(json_body(json::serialize(json::object{
      {"code", 0}, {"server", server_id}, {"draining", on}, {"to_move", *to_move}, {"shared", operations.shared}})));
}

}  // namespace

void add_cluster_routes(router& api, cluster_operations operations) {
  const auto shared = std::make_shared<const cluster_operations>(std::move(operations));
  const auto add = [&](const char* method, const char* path, auto answer) {
    api.add({method, path, access::operators,
             [shared, answer](const http_request& request, std::string_view name, const router::respond& done) {
               answer(shared, request, name, done);
             }});
  };
  add("GET", "/api/v1/sluice/cluster",
      [](const auto& o, const auto& request, auto, const auto& done) { answer_cluster(*o, request, done); });
  add("GET", "/api/v1/sluice/explain",
      [](const auto& o, const auto& request, auto, const auto& done) { answer_explain(o, request, done); });
  add("POST", "/api/v1/sluice/origins/{}/drain",
      [](const auto& o, const auto&, auto name, const auto& done) { answer_drain(*o, name, true, done); });
  add("DELETE", "/api/v1/sluice/origins/{}/drain",
      [](const auto& o, const auto&, auto name, const auto& done) { answer_drain(*o, name, false, done); });
}

}  // namespace sluice::admin
