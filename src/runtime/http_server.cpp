#include "runtime/http_server.hpp"

#include "runtime/http_session.hpp"

namespace sluice::runtime {

namespace http_inside {

namespace {

/// Whether `s` has sent no whole request for longer than `than`.
bool is_idler(const session& s, const session* than) {
  return s.idle_since() && (!than || *s.idle_since() < *than->idle_since());
}

}  // namespace

bool server_state::make_room() {
  if (sessions.size() < limits.connections_max) return true;
  session* out = nullptr;
  for (const auto& [s, owner] : sessions)
    if (is_idler(*s, out)) out = s;
  if (out) out->replace();
  return out != nullptr;
}

bool server_state::make_room_of(const base::ip_address& peer) {
  if (limits.connections_per_peer_max == SIZE_MAX || (limits.unbounded_peer && limits.unbounded_peer(peer)))
    return true;
  size_t others = 0;
  session* out = nullptr;
  for (const auto& [s, owner] : sessions) {
    if (s->is_unnamed() || s->peer().address != peer) continue;
    ++others;
    if (is_idler(*s, out)) out = s;
  }
  if (others < limits.connections_per_peer_max) return true;
  if (out) out->replace();
  return out != nullptr;
}

}  // namespace http_inside

namespace {

using http_inside::server_state;
using http_inside::session;

class beast_server final : public http_server {
 public:
  beast_server(loop& l, const limits& lim, base::log_sink& log, handler handle)
      : state_(std::make_shared<server_state>(l, lim, log, std::move(handle))),
        last_call_(l, [this] { abort_idle(); }) {}
  ~beast_server() override { close(); }

  base::result<void> listen(tcp_listeners from) {
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
    last_call_.arm_after(http_inside::last_call_time);
  }

  void close() override {
    if (std::exchange(state_->closed, true)) return;
    last_call_.cancel();
    acceptors_.clear();
    for (session* s : all([](const session&) { return true; })) s->end();
  }

 private:
  /// Those that have had an answer and wait for another request have waited for the last time.
  void abort_idle() {
    for (session* s : all([](const session& s) { return s.idle_since() && s.was_answered(); })) s->end();
  }

  template <typename F>
  std::vector<session*> all(F wanted) const {
    std::vector<session*> found;
    for (const auto& [s, owner] : state_->sessions)
      if (wanted(*s)) found.push_back(s);
    return found;
  }

  void accept(tcp_stream connection, const base::endpoint& peer) {
    const auto& speaks_for_others = state_->limits.introduction.speaks_for_others;
    const bool unnamed = speaks_for_others && speaks_for_others(peer.address);
    if ((!unnamed && !state_->make_room_of(peer.address)) || !state_->make_room())
      return refuse(std::move(connection), peer, "too_many_connections");
    descriptor_budget* descriptors = state_->limits.descriptors;
    if (descriptors && !descriptors->take()) return refuse(std::move(connection), peer, "no_descriptors");
    auto s = std::make_unique<session>(*state_, peer);
    if (descriptors) s->set_counted();
    if (unnamed) s->set_unnamed();
    if (!s->open(connection)) return refuse(std::move(connection), peer, "resources");
    session* const key = s.get();
    state_->sessions.emplace(key, std::move(s));
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
