#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>

#include "proto/resp/replies.hpp"
#include "runtime/redis_client.hpp"
#include "runtime/redis_connection.hpp"

namespace sluice::runtime {

/// What the parts of one client share. It outlives them. The callbacks are never called from within a call of the
/// client's user, and destroy nothing.
struct redis_environment {
  redis_environment(loop& loop_of_all, redis_options o);

  std::unique_ptr<redis_connection> connect(const host_port& to, const resp::session_config& config,
                                            redis_connection::handlers h);
  resp::session_config server_config() const;    ///< for a server
  resp::session_config sentinel_config() const;  ///< for a Sentinel
  base::duration backoff_after(unsigned tries);

  loop& l;
  const redis_options options;
  base::result<tls_context> tls = base::fail("no_tls");
  redis_names names;
  std::minstd_rand random;

  std::function<void(const std::string& address)> up;
  /// Also for each attempt that failed while down.
  std::function<void(const std::string& address, const base::error& why)> down;
  std::function<void()> changed;  ///< down and up at once
  std::function<void(const std::string& address, const base::error& why)> unsubscribed;
};

/// Where a call shall go.
struct redis_route {
  redis_connection* to = nullptr;
  bool soon = false;     ///< nowhere yet, but another try within its deadline may do
  std::string_view why;  ///< nowhere
};

/// The servers behind a client: keeps the connections to them.
class redis_backend {
 public:
  virtual ~redis_backend() = default;
  /// For a Cluster slot (nothing: any), or for the server that a redirection named.
  virtual redis_route route(std::optional<uint16_t> slot, const std::optional<host_port>& at) = 0;
  /// `by` answered with MOVED or ASK: where to go.
  virtual std::optional<host_port> redirected(const resp::redirection& r, bool moved, const host_port& by) = 0;
  /// A server cannot serve now, says its error: READONLY, LOADING, CLUSTERDOWN …
  virtual void refused(resp::error_kind kind) = 0;
  /// A server for subscriptions; nothing while there is none.
  virtual std::optional<host_port> any_server() const = 0;
  /// That one still belongs to us.
  virtual bool serves(const host_port& at) const = 0;
};

std::unique_ptr<redis_backend> make_redis_primary(redis_environment& env);
std::unique_ptr<redis_backend> make_redis_cluster(redis_environment& env);

}  // namespace sluice::runtime
