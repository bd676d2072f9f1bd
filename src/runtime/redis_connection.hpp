#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "proto/resp/session.hpp"
#include "runtime/loop.hpp"
#include "runtime/tcp.hpp"
#include "runtime/tls_client.hpp"

namespace sluice::runtime {

/// Look-ups of names, one at a time for each name: a resolver that hangs gathers no queue. Loop thread.
class redis_names {
 public:
  using on_found = std::function<void(const base::result<std::vector<base::endpoint>>&)>;
  /// `done` is never called from within, and not once `alive` has expired.
  void find(loop& l, const resp::host_port& name, std::weak_ptr<bool> alive, on_found done);

 private:
  using waiting = std::vector<std::pair<std::weak_ptr<bool>, on_found>>;
  std::shared_ptr<std::map<resp::host_port, waiting>> asked_ = std::make_shared<std::map<resp::host_port, waiting>>();
};

/// One connection to one Redis server, from the look-up of its name to its end: name, TCP, TLS (if `tls`) and
/// handshake, all within the handshake's time, then calls or messages (resp::session). It does not come back: its owner
/// makes another. No callback is called from within the constructor or call(); each may destroy the connection, which
/// drops the others uncalled.
class redis_connection final : io_handler {
 public:
  struct handlers {
    std::function<void()> up;               ///< ready for calls, or subscribed
    std::function<void(base::error)> down;  ///< the end, once; all calls have been told store_unavailable
    std::function<void(std::string_view channel, std::string_view payload)> message;
  };
  using on_reply = std::function<void(base::result<resp::value>)>;

  redis_connection(loop& l, redis_names& names, const tls_context* tls, resp::host_port to, resp::session_config config,
                   handlers h);
  ~redis_connection();

  /// `done` gets the reply, which may be an error reply, or store_unavailable. Error: store_unavailable; then `done` is
  /// not called.
  base::result<void> call(std::span<const std::string> command, base::time_point due, bool asking, on_reply done);
  /// Ends it now: calls are told store_unavailable, later and even if the connection is destroyed; no `down`.
  void close();
  bool ready() const { return session_ && session_->ready(); }
  const resp::host_port& to() const { return to_; }

 private:
  void connect_to(size_t index);
  void on_connected(tcp_stream stream);
  void begin_session();
  void on_io(io_ready ready) override;
  void read();
  bool take(base::bytes_view bytes);
  bool drain();
  void flush_soon();
  void flush();
  void write(base::send_buffer& out);
  void on_timer();
  void arm();
  void fail(base::error why);
  void shut();

  loop& loop_;
  const tls_context* tls_context_;
  const resp::host_port to_;
  resp::session_config config_;
  std::shared_ptr<const handlers> handlers_;  // held while one of them runs
  const base::time_point connect_due_;
  std::vector<base::endpoint> endpoints_;
  std::unique_ptr<tcp_connector> connector_;
  tcp_stream stream_;
  std::unique_ptr<tls_client> tls_;
  std::vector<uint8_t> plain_;
  std::optional<resp::session> session_;
  std::unordered_map<uint64_t, on_reply> calls_;  // unanswered: as many as the session allows
  uint64_t last_id_ = 0;
  bool flush_deferred_ = false;
  timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // tells callbacks and tasks that we are still there
};

}  // namespace sluice::runtime
