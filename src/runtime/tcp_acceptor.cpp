#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "runtime/socket_address.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {

namespace {

constexpr int accepts_per_turn_max = 64;
constexpr auto resource_pause = std::chrono::milliseconds(100);

/// A descriptor that closes itself unless it is released.
using owned_fd = tcp_stream;

std::string describe(int error) { return std::generic_category().message(error); }

tl::unexpected<base::error> bind_failure(const base::endpoint& at, int error) {
  if (error == EADDRINUSE) {
    return base::fail("address_in_use", "cannot listen on " + at.to_string() +
                                            ": the address is in use; stop the other " +
                                            "process or choose another port");
  }
  return base::fail("cannot_bind", "cannot listen on " + at.to_string() + ": " + describe(error));
}

bool set_flag(int fd, int level, int name, int value = 1) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

enum class bind_mode { exclusive, shared, shared_strict /* without SO_REUSEADDR */ };

/// A bound socket. [::] takes IPv4 too; any other IPv6 address only itself.
base::result<owned_fd> bound_socket(const base::endpoint& at, bind_mode mode) {
  const socket_address address(at);
  owned_fd fd(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd.is_open()) return bind_failure(at, errno);
  bool ok = true;
  // Connections of a former process in TIME_WAIT must not hinder a restart.
  if (mode != bind_mode::shared_strict) ok = ok && set_flag(fd.fd(), SOL_SOCKET, SO_REUSEADDR);
  if (mode != bind_mode::exclusive) ok = ok && set_flag(fd.fd(), SOL_SOCKET, SO_REUSEPORT);
  if (address.family() == AF_INET6) {
    ok = ok && set_flag(fd.fd(), IPPROTO_IPV6, IPV6_V6ONLY, at.address.is_unspecified() ? 0 : 1);
  }
  if (!ok || bind(fd.fd(), address.get(), address.size) != 0) return bind_failure(at, errno);
  return fd;
}

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

base::result<std::pair<base::endpoint, int>> reserve_port(const base::endpoint& at) {
  auto probe = bound_socket(at, bind_mode::exclusive);
  if (!probe) return tl::unexpected(probe.error());
  const base::endpoint real{at.address, local_endpoint(probe->fd()).port};
  if (!set_flag(probe->fd(), SOL_SOCKET, SO_REUSEPORT)) return bind_failure(real, errno);
  // The probe had SO_REUSEADDR, and the kernel lets two such sockets share a port until one of them listens. A second
  // socket without it keeps rivals out from now on. Where old connections forbid that, the probe has to do: rivals are
  // then refused from our first listen() on.
  if (auto strict = bound_socket(real, bind_mode::shared_strict)) return std::pair{real, strict->release()};
  return std::pair{real, probe->release()};
}

base::result<std::unique_ptr<tcp_acceptor>> tcp_acceptor::open(loop& l, const base::endpoint& at,
                                                               listen_options options, on_accept accept) {
  auto fd = bound_socket(at, options.share_port ? bind_mode::shared : bind_mode::exclusive);
  if (!fd) return tl::unexpected(fd.error());
  set_flag(fd->fd(), IPPROTO_TCP, TCP_NODELAY);  // accepted sockets inherit it
  if (listen(fd->fd(), options.backlog) != 0) return bind_failure(at, errno);
  std::unique_ptr<tcp_acceptor> acceptor(new tcp_acceptor(l, fd->release(), std::move(accept)));
  if (!l.watch(acceptor->fd_, *acceptor)) return bind_failure(at, errno);
  return acceptor;
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
