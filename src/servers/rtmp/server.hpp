#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/endpoint.hpp"
#include "base/log.hpp"
#include "base/metrics.hpp"
#include "proto/rtmp/server_session.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/loop.hpp"
#include "runtime/session_budget.hpp"
#include "runtime/tcp.hpp"
#include "servers/rtmp/connection.hpp"
#include "servers/rtmp/hub_flusher.hpp"

namespace sluice::servers {

struct server_limits {
  rtmp::session_config session;
  runtime::descriptor_budget* descriptors = nullptr;  ///< shared by the process; outlives the server
  runtime::session_budget* sessions = nullptr;        ///< shared by the process, likewise; null: no limit
  base::duration player_stall = std::chrono::seconds(20);
  bool proxy_protocol = false;             ///< accept PROXY protocol from trusted peers
  std::vector<base::network> trusted;      ///< whose address prefix, PROXY header and `sluice` fields are believed
  size_t control_bytes_max = 1024 * 1024;  ///< of output that is not media, per connection
};

/// One loop's RTMP listener and its connections.
class rtmp_server {
 public:
  using handler_factory = std::function<std::unique_ptr<client_handler>(connection&)>;
  /// `role` is a literal (proxy, origin) for metrics; `limits`, `log` and `metrics` outlive the server.
  rtmp_server(runtime::loop& l, std::string_view role, const server_limits& limits, base::duration merge,
              base::log_sink& log, base::metrics& metrics, handler_factory make_handler);
  ~rtmp_server();

  base::result<base::endpoint> listen(const base::endpoint& at, runtime::listen_options options);
  /// The same on sockets that listen already, one at least.
  base::result<base::endpoint> listen(runtime::tcp_listeners from);
  /// The sockets on which it listens, which stay its own: to be handed to another process.
  std::vector<int> listening() const;
  /// No new connections; those there are stay.
  void stop_listening();
  void close_all(std::string_view reason);
  /// Closes in peace, each when what waits for it is sent: connections that do not play; with `players` also those that
  /// play and have taken all their hub has shown them. Call it again until sessions() is 0.
  void drain(std::string_view reason, bool players);
  /// Asks the clients that can (E-RTMP, capsEx) to connect anew, elsewhere if they know where; returns how many.
  size_t request_reconnect(std::string_view description);
  /// Connections but those that only ask whether this server lives, or are told that it is full.
  size_t sessions() const { return connections_.size() - controls_ - over_limit_; }
  /// Those that publish or play now (`kind`).
  void for_each_session(const std::function<void(std::string_view kind, const std::string& stream)>& visit) const;

  runtime::loop& loop() { return loop_; }
  const server_limits& limits() const { return limits_; }
  base::log_sink& log() { return log_; }
  hub_flusher& flusher() { return flusher_; }
  /// The refusal counter of that reason (a string literal).
  base::metric_cell& refused(std::string_view reason);

 private:
  friend class connection;
  base::result<void> listen_on(runtime::tcp_listener from);
  void on_accept(runtime::tcp_stream stream, const base::endpoint& peer);
  /// Counts; logs once a second.
  void refuse(const base::endpoint& peer, std::string_view reason);
  /// Takes a closed connection out; it is destroyed after the present batch of events.
  void retire(connection& c);
  void set_standing(connection& c, connection::standing s);
  size_t& count_of(connection::standing s) { return s == connection::standing::control ? controls_ : over_limit_; }
  void show_sessions() { sessions_cell_.set(static_cast<int64_t>(sessions())); }
  void read_later(connection& c);
  std::string next_id();

  runtime::loop& loop_;
  const std::string_view role_;
  const server_limits& limits_;
  base::log_sink& log_;
  base::metrics& metrics_;
  hub_flusher flusher_;
  handler_factory make_handler_;
  std::vector<std::unique_ptr<runtime::tcp_acceptor>> acceptors_;
  std::vector<std::unique_ptr<connection>> connections_, retired_;
  std::vector<connection*> read_again_;
  size_t controls_ = 0, over_limit_ = 0;  // of connections_
  base::metric_cell& sessions_cell_;
  base::metric_cell& bytes_in_cell_;
  base::metric_cell& bytes_out_cell_;
  base::metric_cell& dropped_cell_;
  std::string id_prefix_;
  uint64_t ids_ = 0;
  base::time_point full_logged_{};
};

}  // namespace sluice::servers
