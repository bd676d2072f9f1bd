#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "proto/resp/replies.hpp"
#include "proto/resp/value.hpp"
#include "runtime/loop.hpp"

namespace sluice::runtime {

using resp::host_port;

/// Where Redis is: `cluster` (some of its servers) if not empty, else what the `sentinels` say of `sentinel_master`,
/// else the one server `host`:`port`.
struct redis_options {
  std::string host = "127.0.0.1";
  uint16_t port = 6379;
  std::string username, password;  ///< of the servers, not the Sentinels; no password: no authentication
  unsigned db = 0;                 ///< 0 in a Cluster
  bool tls = false;                ///< to the servers and the Sentinels
  std::string ca_file;             ///< PEM; empty: the system's authorities
  std::vector<host_port> sentinels;
  std::string sentinel_master = "mymaster";
  std::vector<host_port> cluster;
  base::duration connect_timeout = std::chrono::seconds(1);  ///< name, TCP, TLS and handshake, together
  base::duration call_timeout = std::chrono::milliseconds(500);
  base::duration backoff_min = std::chrono::milliseconds(50), backoff_max = std::chrono::seconds(1);
  std::string client_name = "sluice";
  std::string sentinel_username, sentinel_password;
};

/// A Lua script, known to servers by its SHA-1. Cheap to copy.
class redis_script {
 public:
  explicit redis_script(std::string text);
  const std::string& text() const { return body_->text; }
  const std::string& sha() const { return body_->sha; }

 private:
  struct body {
    std::string text, sha;
  };
  std::shared_ptr<const body> body_;
};

/// A client of a Redis server, of the master that Sentinels name, or of a Cluster: keeps its connections, finds the
/// server of a key, comes back with back-off. Nothing blocks, nothing waits longer than `call_timeout`, and nothing
/// stands in line: a call for a server that is not connected, or that has not answered in time, fails at once. That
/// Redis is away is logged at most every 10 s (redis_unavailable), that it is back each time (redis_connected).
///
/// Loop thread. No callback is called from within call(), eval(), subscribe() or the constructor; a callback may call
/// these, and may destroy the client. Destroying it drops all callbacks uncalled.
class redis_client {
 public:
  redis_client(loop& l, redis_options options, base::log_sink& log, base::metrics& metrics);
  ~redis_client();
  redis_client(const redis_client&) = delete;
  redis_client& operator=(const redis_client&) = delete;

  /// Error reasons: store_unavailable (not connected, no answer in time, or a server that cannot serve it now:
  /// READONLY, LOADING, CLUSTERDOWN, OOM …; a call without an answer may have been done all the same), store_error (the
  /// server refused the call; its words).
  using on_reply = std::function<void(base::result<resp::value>)>;
  /// Sends `command` to the server of the Cluster slot of `slot_key`; empty: to any.
  void call(std::string_view slot_key, std::vector<std::string> command, on_reply done);
  /// Runs `script` where keys[0] is: EVALSHA, and EVAL where the script is not known yet.
  void eval(const redis_script& script, std::vector<std::string> keys, std::vector<std::string> arguments,
            on_reply done);

  using on_message = std::function<void(std::string_view channel, std::string_view payload)>;
  /// Subscribes to these channels, instead of those before, on a connection of its own, again after each loss.
  void subscribe(std::vector<std::string> channels, on_message handler);

  /// True: usable. Also called with false and then true when the connection, the master, the Cluster's table, or the
  /// subscription was lost and is there again: what was written or published meanwhile may be lost.
  std::function<void(bool up)> on_state;
  bool is_up() const;

 private:
  struct impl;
  std::shared_ptr<impl> impl_;
};

}  // namespace sluice::runtime
