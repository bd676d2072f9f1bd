#include "relay/http_pass.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "relay/http_tunnel.hpp"
#include "runtime/http_text.hpp"

namespace sluice::relay {
namespace {

using header_list = std::vector<std::pair<std::string, std::string>>;

bool is_trusted(const base::ip_address& a, const std::vector<base::network>& trusted) {
  return std::any_of(trusted.begin(), trusted.end(), [&](const base::network& n) { return n.contains(a); });
}

}  // namespace

header_list forwarded_headers(const runtime::http_request& request, const std::vector<base::network>& trusted,
                              std::string_view host, const std::vector<base::endpoint>& origin) {
  const auto connection = request.header("connection");
  const auto is = [](std::string_view a, std::string_view b) { return runtime::equal_ignoring_case(a, b); };
  header_list out{{"Host", !host.empty() || origin.empty() ? std::string(host) : origin.front().to_string()}};
  for (const auto& [name, value] : request.headers) {
    if (is(name, "host") || is(name, "x-forwarded-for") || is(name, "x-real-ip") || is(name, "content-length") ||
        is(name, "expect") || runtime::is_hop_by_hop(name, connection))
      continue;
    if (runtime::is_http_token(name) && runtime::is_http_value(value)) out.emplace_back(name, value);
  }
  // What a stranger says of where he comes from is not passed on.
  const auto client = servers::client_address(request, trusted).address.to_string();
  auto chain = is_trusted(request.peer.address, trusted) ? servers::forwarded_for(request) : std::string();
  if (!chain.empty() && runtime::is_http_value(chain)) {
    chain += ", " + request.peer.address.to_string();
  } else {
    chain = client;
  }
  out.emplace_back("X-Forwarded-For", std::move(chain));
  out.emplace_back("X-Real-IP", client);
  return out;
}

header_list returned_headers(const runtime::http_response_head& head) {
  const auto connection = head.header("connection");
  header_list out;
  for (const auto& [name, value] : head.headers)
    if (!runtime::is_hop_by_hop(name, connection) && !runtime::equal_ignoring_case(name, "content-length"))
      out.emplace_back(name, value);
  return out;
}

http_pass::http_pass(shard_context& shard, const http_pass_config& config)
    : shard_(shard),
      config_(config),
      cells_(shard.metrics, "http"),
      sessions_cell_(shard.metrics.gauge("sluice_sessions", "Client connections open now.",
                                         {{"role", "proxy"}, {"proto", "http-relay"}})),
      bytes_out_cell_(shard.metrics.counter("sluice_bytes_total", "Bytes from and to clients.",
                                            {{"dir", "out"}, {"proto", "http-relay"}})) {}

http_pass::~http_pass() { close_all("shutdown"); }

void http_pass::stream(const runtime::http_request& request, const servers::stream_ask& ask,
                       const cluster::assignment& to, runtime::http_server::respond respond) {
  auto place = runtime::session_place::take(config_.sessions);
  if (!place.held()) {
    shard_.log.warn("session_refused", {{"session", ask.session},
                                        {"peer", ask.peer.to_string()},
                                        {"stream", ask.address.key.str()},
                                        {"status", 503},
                                        {"reason", "too_many_sessions"}});
    return respond(servers::http_failure(503, "this server has as many players and other sessions as it may"));
  }
  auto tunnel = std::make_unique<http_tunnel>(*this, request, ask, to, std::move(respond));
  http_tunnel& t = *tunnel;
  t.place_ = std::move(place);
  tunnels_.emplace(&t, std::move(tunnel));
  t.start();
}

void http_pass::retire(http_tunnel& t) {
  t.place_.give_back();
  auto node = tunnels_.extract(&t);
  if (node) shard_.loop.defer([gone = std::shared_ptr<http_tunnel>(std::move(node.mapped()))] {});
}

void http_pass::close_all(std::string_view reason) {
  while (!tunnels_.empty()) tunnels_.begin()->second->close(reason);
}

void http_pass::for_each_session(const std::function<void(const std::string& stream)>& visit) const {
  for (const auto& [t, owner] : tunnels_) visit(t->stream());
}

}  // namespace sluice::relay
