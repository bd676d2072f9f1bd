#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "relay/http_upstream.hpp"
#include "relay/shard.hpp"
#include "runtime/http_server.hpp"
#include "runtime/session_budget.hpp"
#include "servers/http/stream_access.hpp"
#include "servers/http/target.hpp"

namespace sluice::relay {

class http_tunnel;

struct http_pass_config {
  std::vector<base::network> trusted;  ///< whose X-Forwarded-For goes on
  base::duration player_stall = std::chrono::seconds(20);
  runtime::session_budget* sessions = nullptr;  ///< shared by the process, outlives this; null: no limit
  size_t backlog_max = 256u << 10;              ///< bytes held for a viewer before his origin is not read
};

/// The headers with which a viewer's request goes to an origin: his own, but those of the connection and what only a
/// proxy may say of his address. Who names no `host` (HTTP/1.0) means that of the origin, at whose first endpoint it
/// is.
std::vector<std::pair<std::string, std::string>> forwarded_headers(const runtime::http_request& request,
                                                                   const std::vector<base::network>& trusted,
                                                                   std::string_view host,
                                                                   const std::vector<base::endpoint>& origin = {});
/// The headers of an origin's answer that go back to the viewer.
std::vector<std::pair<std::string, std::string>> returned_headers(const runtime::http_response_head& head);

/// Requests of one shard's HTTP viewers that an origin answers itself, with an answer that has no end: each gets an
/// upstream connection, and bytes go on as they come.
class http_pass {
 public:
  http_pass(shard_context& shard, const http_pass_config& config);
  ~http_pass();

  void stream(const runtime::http_request& request, const servers::stream_ask& ask, const cluster::assignment& to,
              runtime::http_server::respond respond);

  /// The headers with which a request of that viewer goes to an origin.
  std::vector<std::pair<std::string, std::string>> forwarded(const runtime::http_request& request,
                                                             const cluster::assignment& to) const {
    return forwarded_headers(request, config_.trusted, request.header("host"), to.http);
  }
  upstream_metrics& cells() { return cells_; }
  size_t sessions() const { return tunnels_.size(); }
  void close_all(std::string_view reason);
  void for_each_session(const std::function<void(const std::string& stream)>& visit) const;

 private:
  friend class http_tunnel;
  void retire(http_tunnel& t);

  shard_context& shard_;
  const http_pass_config& config_;
  upstream_metrics cells_;
  base::metric_cell& sessions_cell_;
  base::metric_cell& bytes_out_cell_;
  std::unordered_map<const http_tunnel*, std::unique_ptr<http_tunnel>> tunnels_;
};

}  // namespace sluice::relay
