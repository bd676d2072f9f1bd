#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/http_server.hpp"
#include "runtime/loop.hpp"
#include "runtime/session_budget.hpp"
#include "servers/http/format_set.hpp"
#include "servers/http/stream_access.hpp"
#include "servers/http/target.hpp"

namespace sluice::servers {

class http_player;

struct media_server_limits {
  runtime::descriptor_budget* descriptors = nullptr;  ///< which the HTTP server counts by, too; outlives this
  runtime::session_budget* sessions = nullptr;        ///< shared by the process, likewise; null: no limit
  base::duration player_stall = std::chrono::seconds(20);
  /// How long a player waits for a first keyframe, where the answer depends on what the stream is made of.
  base::duration start_wait = std::chrono::seconds(10);
  std::vector<base::network> trusted;  ///< whose X-Forwarded-For and X-Real-IP are believed
  media::byte_log_limits log;
};

/// Players of one loop who take a stream by HTTP without an end, HTTP-FLV and HTTP-TS. Sockets come from the loop's
/// http_server, once the answer's header is sent.
class media_server {
 public:
  /// `role` is a literal, for metrics; all that is referred to outlives the server.
  media_server(runtime::loop& l, std::string_view role, const media_server_limits& limits, stream_access& streams,
               base::log_sink& log, base::metrics& metrics);
  ~media_server();

  /// Answers a request for an endless target.
  void play(const runtime::http_request& request, const media_target& target, runtime::http_server::respond respond);

  size_t sessions() const { return players_.size(); }
  void close_all(std::string_view reason);
  /// Closes in peace players who have taken all that there is for them. Call it again until sessions() is 0.
  void drain(std::string_view reason);
  void for_each_session(const std::function<void(const std::string& stream)>& visit) const;

 private:
  friend class http_player;
  struct cells {
    cells(base::metrics& m, std::string_view role, std::string_view proto);
    base::metric_cell& sessions;
    base::metric_cell& bytes_out;
    base::metric_cell& drops;
  };
  cells& cells_of(http_format f) { return f == http_format::flv ? flv_cells_ : ts_cells_; }
  base::metric_cell& refused(std::string_view proto, std::string_view reason);
  void retire(http_player& p);

  runtime::loop& loop_;
  const media_server_limits& limits_;
  stream_access& streams_;
  base::log_sink& log_;
  base::metrics& metrics_;
  cells flv_cells_, ts_cells_;
  format_set formats_;
  std::vector<std::unique_ptr<http_player>> players_, retired_;
  const std::string id_prefix_;
  uint64_t ids_ = 0;
};

}  // namespace sluice::servers
