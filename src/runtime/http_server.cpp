#include "runtime/http_server.hpp"

#include <boost/asio/co_spawn.hpp>

#include "runtime/http_session.hpp"

namespace sluice::runtime {

namespace {

namespace asio = boost::asio;
using http_inside::server_state;
using http_inside::session;

/// After stop_listening(), for another request on a connection that has had an answer. A client who sends it in the
/// very moment of a close is reset; most have long gone by then.
constexpr auto last_call_time = std::chrono::seconds(1);

class beast_server final : public http_server {
 public:
  beast_server(loop& l, const limits& lim, base::log_sink& log, handler handle)
      : state_(std::make_shared<server_state>(l, lim, log, std::move(handle))),
        last_call_(l, [this] { abort_idle(); }) {}
  ~beast_server() override { close(); }

  base::result<void> listen(tcp_listeners from) {
    state_->on.context();  // made now: if that fails, it is at the start
    for (auto& socket : from) {
      auto acceptor = tcp_acceptor::open(
          state_->on, std::move(socket),
          [this](tcp_stream connection, const base::endpoint& peer) { accept(std::move(connection), peer); });
      if (!acceptor) return tl::unexpected(acceptor.error());
      (*acceptor)->on_resource_error = [state = state_](int error) {
        state->log.warn("http_accept_failed", {{"reason", "resources"}, {"errno", error}});
      };
      acceptors_.push_back(std::move(*acceptor));
    }
    local_ = acceptors_.front()->local();
    return {};
  }

  std::vector<int> listening() const override {
    std::vector<int> fds;
    for (const auto& a : acceptors_) fds.push_back(a->fd());
    return fds;
  }

  base::endpoint local() const override { return local_; }
  size_t connections() const override { return state_->sessions.size(); }

  void stop_listening() override {
    acceptors_.clear();
    state_->stopping = true;
    last_call_.arm_after(last_call_time);
  }

  void close() override {
    if (std::exchange(state_->closed, true)) return;
    last_call_.cancel();
    acceptors_.clear();
    for (session* s : state_->sessions) s->abort();
  }

 private:
  /// Those that have had an answer and wait for another request have waited for the last time.
  void abort_idle() {
    for (session* s : state_->sessions)
      if (s->idle_since() && s->was_answered()) s->abort();
  }

  void accept(tcp_stream connection, const base::endpoint& peer) {
    if (!make_room(peer)) return refuse(std::move(connection), peer, "too_many_connections");
    descriptor_budget* descriptors = state_->limits.descriptors;
    if (descriptors && !descriptors->take()) return refuse(std::move(connection), peer, "no_descriptors");
    const auto s = std::make_shared<session>(state_, peer);
    if (descriptors) s->set_counted();
    if (!s->open(connection)) return refuse(std::move(connection), peer, "resources");
    asio::co_spawn(state_->on.context(), s->run(s), [state = state_, peer](std::exception_ptr failure) {
      if (!failure || state->closed) return;
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& e) {
        state->log.log(base::log_level::error, "http_session_failed", {{"peer", peer.to_string()}, {"text", e.what()}});
      }
    });
  }

  bool make_room(const base::endpoint& peer) {
    const auto& limits = state_->limits;
    if (limits.connections_per_peer_max == SIZE_MAX && state_->sessions.size() < limits.connections_max) return true;
    const bool bounded = !limits.unbounded_peer || !limits.unbounded_peer(peer.address);
    session* idlest = nullptr;
    session* idlest_of_peer = nullptr;
    size_t of_peer = 0;
    const auto is_idler = [](const session& s, const session* than) {
      return s.idle_since() && (!than || *s.idle_since() < *than->idle_since());
    };
    for (session* s : state_->sessions) {
      if (is_idler(*s, idlest)) idlest = s;
      if (!bounded || s->peer().address != peer.address) continue;
      ++of_peer;
      if (is_idler(*s, idlest_of_peer)) idlest_of_peer = s;
    }
    session* out = nullptr;
    if (of_peer >= limits.connections_per_peer_max) {
      out = idlest_of_peer;
    } else if (state_->sessions.size() >= limits.connections_max) {
      out = idlest;
    } else {
      return true;
    }
    if (out) out->replace();
    return out != nullptr;
  }

  void refuse(tcp_stream connection, const base::endpoint& peer, std::string_view reason) {
    static constexpr std::string_view busy =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 43\r\nRetry-After: 1\r\n"
        "Connection: close\r\n\r\n{\"code\":503,\"error\":\"too many connections\"}";
    connection.write(base::as_bytes(busy));
    connection.shutdown_write();
    state_->log.info("http_refused", {{"peer", peer.to_string()}, {"reason", reason}});
    if (state_->limits.on_refused) state_->limits.on_refused(reason);
  }

  const std::shared_ptr<server_state> state_;
  std::vector<std::unique_ptr<tcp_acceptor>> acceptors_;
  base::endpoint local_;
  timer last_call_;
};

}  // namespace

base::result<std::unique_ptr<http_server>> http_server::open(loop& l, const base::endpoint& at, const limits& lim,
                                                             base::log_sink& log, handler handle) {
  auto from = listen_on(at, {.share_port = lim.share_port});
  if (!from) return tl::unexpected(from.error());
  return open(l, std::move(*from), lim, log, std::move(handle));
}

base::result<std::unique_ptr<http_server>> http_server::open(loop& l, std::vector<tcp_listener>&& from,
                                                             const limits& lim, base::log_sink& log, handler handle) {
  auto server = std::make_unique<beast_server>(l, lim, log, std::move(handle));
  if (auto listening = server->listen(std::move(from)); !listening) return tl::unexpected(listening.error());
  return server;
}

}  // namespace sluice::runtime
