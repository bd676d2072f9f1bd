#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "proto/resp/parser.hpp"
#include "proto/resp/replies.hpp"

namespace sluice::resp {

struct session_config {
  std::string username;  ///< empty: the default user
  std::string password;  ///< empty: no authentication
  std::string client_name;
  unsigned db = 0;
  bool master_wanted = false;         ///< a replica is refused
  std::vector<std::string> channels;  ///< not empty: this connection subscribes to them, and takes no calls
  base::duration handshake_timeout = std::chrono::seconds(1);
  base::duration ping_interval = std::chrono::seconds(1);  ///< of an idle connection
  base::duration ping_timeout = std::chrono::milliseconds(500);
  base::duration overdue_max =
      std::chrono::seconds(2);       ///< how late an answer may be before the connection is given up
  size_t calls_max = 1024;           ///< unanswered
  size_t call_bytes_max = 8u << 20;  ///< of unanswered calls, together
  limits reply_limits;
};

/// The handshake is over (and the channels are subscribed): calls are taken.
struct session_ready {};
/// The answer to a call (which may be an error reply), or store_unavailable: its deadline passed. The server may have
/// done it all the same.
struct call_done {
  uint64_t id = 0;
  base::result<value> reply;
};
/// Somebody published on a channel of ours.
struct channel_message {
  std::string channel, payload;
};
using session_event = std::variant<session_ready, call_done, channel_message>;

/// The client's side of one Redis connection, sans-IO: HELLO 3 with AUTH (AUTH and RESP2 where HELLO is unknown),
/// CLIENT SETNAME, SELECT, ROLE, PING, SUBSCRIBE; then pipelined calls, answered in order. Nothing stands in line
/// behind a server that does not answer: while the oldest unanswered call is overdue, no further call is taken; late
/// answers are dropped in their order. An idle connection is pinged.
///
/// Errors of receive() and on_timeout() are final; the caller closes. Reasons: bad_resp, resp_too_large, redis_auth,
/// redis_loading, redis_not_master, redis_refused, redis_silent. No text contains the password.
class session {
 public:
  session(session_config config, base::time_point now);
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  base::result<void> receive(base::bytes_view bytes, base::time_point now);
  base::result<void> on_timeout(base::time_point now);
  /// When on_timeout() wants to be called, at the latest; it may find nothing to do.
  base::time_point deadline() const;
  std::optional<session_event> next_event();
  base::send_buffer& output() { return output_; }

  /// Sends a command whose answer is due at `due`. With `asking`, ASKING goes in front. Error: store_unavailable (not
  /// ready, overdue, or too much is unanswered); then there is no call_done.
  base::result<void> call(uint64_t id, std::span<const std::string> command, base::time_point due, bool asking = false);

  bool ready() const { return state_ == state::ready; }
  /// The oldest unanswered call is overdue: calls are refused until it is answered.
  bool overdue() const { return !pending_.empty() && pending_.front().expired; }
  size_t unanswered() const { return pending_.size(); }
  bool speaks_resp3() const { return resp3_; }
  server_role role() const { return role_; }

 private:
  enum class state : uint8_t { hello, settings, subscribing, ready };
  enum class purpose : uint8_t { hello, auth, name, select, role, ping, subscribe, asking, call };
  struct pending {
    purpose what;
    uint64_t id;
    base::time_point due;
    size_t bytes;
    bool expired = false;
  };
  void send(purpose what, std::span<const std::string> command, uint64_t id, base::time_point due);
  void send(purpose what, std::initializer_list<std::string> command);
  void send_hello();
  void send_settings(bool auth);
  base::result<void> settled();
  base::result<void> on_value(value v, base::time_point now);
  bool on_push(value& v);
  base::result<void> on_reply(const pending& p, value v);
  base::result<void> on_hello(const value& v);
  void become_ready();

  const session_config config_;
  parser parser_;
  base::send_buffer output_;
  std::deque<session_event> events_;
  std::deque<pending> pending_;
  size_t pending_bytes_ = 0;
  state state_ = state::hello;
  bool resp3_ = false;
  server_role role_ = server_role::unknown;
  size_t unsubscribed_;  // channels whose subscription is not confirmed
  base::time_point handshake_due_;
  base::time_point next_due_ = base::never;  // no answer is due before; may be too early
  base::time_point next_ping_ = base::never;
};

}  // namespace sluice::resp
