#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "runtime/socket_address.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {

namespace {

constexpr int accepts_per_turn_max = 64;
constexpr auto resource_pause = std::chrono::milliseconds(100);

bool is_peers_fault(int error) {
  switch (error) {  // of the connection that was taken, see accept(2)
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
      return true;
    default:
      return false;
  }
}

}  // namespace

base::result<std::unique_ptr<tcp_acceptor>> tcp_acceptor::open(loop& l, const base::endpoint& at,
                                                               listen_options options, on_accept accept) {
  auto listener = tcp_listener::open(at, options);
  if (!listener) return tl::unexpected(listener.error());
  return open(l, std::move(*listener), std::move(accept));
}

base::result<std::unique_ptr<tcp_acceptor>> tcp_acceptor::open(loop& l, tcp_listener from, on_accept accept) {
  std::unique_ptr<tcp_acceptor> acceptor(new tcp_acceptor(l, from.release(), std::move(accept)));
  if (l.watch(acceptor->fd_, *acceptor)) return acceptor;
  return base::fail("cannot_bind",
                    "cannot listen on " + acceptor->local_.to_string() + ": " + std::generic_category().message(errno));
}

tcp_acceptor::tcp_acceptor(loop& l, int fd, on_accept accept)
    : loop_(l),
      fd_(fd),
      local_(local_endpoint(fd)),
      accept_(std::make_shared<on_accept>(std::move(accept))),
      retry_(l, [this] { accept_some(); }) {}

tcp_acceptor::~tcp_acceptor() { close(); }

void tcp_acceptor::close() {
  if (fd_ < 0) return;
  retry_.cancel();
  loop_.unwatch(fd_, *this);
  ::close(std::exchange(fd_, -1));
  accept_.reset();
}

void tcp_acceptor::on_io(io_ready) {
  if (!retry_.armed()) accept_some();
}

void tcp_acceptor::accept_some() {
  // A callback may close or destroy this object: `accept` then is the last one that knows.
  const std::weak_ptr<on_accept> alive = accept_;
  for (int i = 0; i < accepts_per_turn_max; ++i) {
    socket_address peer;
    const int fd = accept4(fd_, peer.get(), &peer.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      const auto accept = alive.lock();
      (*accept)(tcp_stream(fd), peer.to_endpoint());
      if (accept.use_count() == 1) return;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return;
    } else if (!is_peers_fault(errno)) {
      return pause(errno);
    }
  }
  // Others on this loop come first; the edge is spent, so nobody but this task would look again.
  loop_.defer([this, alive] {
    if (!alive.expired() && !retry_.armed()) accept_some();
  });
}

void tcp_acceptor::pause(int error) {
  retry_.arm_after(resource_pause);
  const auto report = on_resource_error;  // a copy: it may destroy this object
  if (report) report(error);
}

}  // namespace sluice::runtime
