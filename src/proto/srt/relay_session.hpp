#pragma once

#include <deque>
#include <optional>
#include <string_view>
#include <vector>

#include "base/endpoint.hpp"
#include "base/time.hpp"
#include "proto/srt/handshake.hpp"

namespace sluice::srt {

struct session_limits {
  /// Of the whole handshake: callers wait 3 s, and should hear why it came to nothing.
  base::duration handshake = std::chrono::milliseconds(2800);
  base::duration silence = std::chrono::seconds(10);  ///< of either side; an idle one sends a keep-alive every second
  base::duration linger = std::chrono::seconds(3);    ///< so long a side that did not hear the shutdown is told again
};

enum class session_state : uint8_t {
  waiting,     ///< for an origin: dial() or refuse()
  inducing,    ///< the origin was asked for a cookie
  concluding,  ///< the origin was told what the client wants
  running,
  ended,
};

/// One connection of a caller, through a proxy, to the listener of an origin. The two agree with each other: the
/// caller's conclusion goes to the origin with the origin's cookie, the origin's answer to the caller, both with their
/// extensions as they are (encryption too), and each with the other's socket id. So media and control packets need no
/// change on their way: they are looked at, and passed on. The caller must have been checked: cookie and
/// check_conclusion().
///
/// Times go in with every call; after each: drain poll(), look at state(), and call on_timeout() at next_deadline().
class relay_session {
 public:
  struct output {
    bool to_client;  ///< else to the origin
    std::vector<uint8_t> bytes;
  };
  /// What becomes of a datagram. `fault`: why it goes no further, a reason for a metric; empty also for what was
  /// answered here.
  struct verdict {
    bool forward = false;
    std::string_view fault;
  };

  /// `conclusion`: the whole datagram. `unanswered`: what the caller is told if neither dial() nor refuse() comes in
  /// time.
  relay_session(const session_limits& limits, const base::ip_address& client, base::bytes_view conclusion,
                reject unanswered, base::time_point now);

  /// Begins with an origin, or begins anew with another one.
  void dial(base::time_point now);
  verdict from_client(base::bytes_view datagram, base::time_point now);
  verdict from_origin(base::bytes_view datagram, base::time_point now);
  /// While it does not run.
  void refuse(reject why, std::string_view reason, base::time_point now);
  /// Of a session that has just come to run, before poll(): the caller is refused instead, and the origin told that it
  /// is over.
  void withdraw(reject why, std::string_view reason, base::time_point now);
  /// Tells both sides, if it runs; else it is the server that goes down (reject::down). `reason`: a literal.
  void end(std::string_view reason, base::time_point now);
  void on_timeout(base::time_point now);

  std::optional<output> poll();
  /// May have moved on when it is reached: on_timeout() then does nothing, and there is a next one.
  base::time_point next_deadline() const;
  session_state state() const { return state_; }
  /// After the end: it need not be kept any longer.
  bool finished(base::time_point now) const { return state_ == session_state::ended && now >= linger_until_; }
  /// Whether that conclusion, from the address and socket id of this session, begins another connection.
  bool is_another(const handshake& h) const;
  std::string_view end_reason() const { return end_reason_; }
  /// Of a session that did not come to run: what the caller was told (`reject`, or what the origin said); else 0.
  uint32_t rejection() const { return rejection_; }
  /// The origin has answered anything since dial().
  bool origin_answered() const { return origin_answered_; }
  uint32_t client_id() const { return asked_.socket_id; }
  uint32_t origin_id() const { return origin_id_; }  ///< once it runs; the destination of what the caller sends

 private:
  verdict pass(const packet& p, uint32_t& sent_here, uint32_t sent_there);
  void again_from_client(const handshake& h, base::time_point now);
  void handshake_from_origin(base::bytes_view datagram, base::time_point now);
  void answer_client(base::time_point now);
  void ask_origin(base::time_point now);
  void finish(std::string_view reason, base::time_point now, bool ran);
  void say_goodbye(bool to_client, base::time_point now);
  uint32_t client_clock(base::time_point now) const;

  const session_limits limits_;
  const base::ip_address client_;
  const std::vector<uint8_t> conclusion_;
  const handshake asked_;  // points into conclusion_
  const reject unanswered_;
  session_state state_ = session_state::waiting;
  std::deque<output> out_;

  // The caller's clock: what it said, and when.
  uint32_t client_said_;
  base::time_point client_said_at_;

  base::time_point handshake_until_, ask_again_at_ = base::never, linger_until_ = base::never;
  base::duration ask_interval_{};
  uint32_t origin_cookie_ = 0, origin_id_ = 0;
  bool origin_answered_ = false;
  std::vector<uint8_t> answer_;  // the origin's, as the caller got it
  base::time_point answer_at_{};

  base::time_point client_heard_, origin_heard_;
  uint32_t client_sent_, origin_sent_;  // the highest sequence numbers
  base::time_point goodbye_at_ = base::time_point::min();
  std::string_view end_reason_;
  uint32_t rejection_ = 0;
  bool ran_ = false;
};

}  // namespace sluice::srt
