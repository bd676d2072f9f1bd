#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>

#include "runtime/socket_address.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {
namespace {

tl::unexpected<base::error> bind_failure(const base::endpoint& at, int error) {
  if (error == EADDRINUSE) {
    return base::fail("address_in_use", "cannot listen on " + at.to_string() +
                                            ": the address is in use; stop the other " +
                                            "process or choose another port");
  }
  return base::fail("cannot_bind",
                    "cannot listen on " + at.to_string() + ": " + std::generic_category().message(error));
}

bool set_flag(int fd, int level, int name, int value = 1) {
  return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

int flag_of(int fd, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : 0;
}

enum class bind_mode { exclusive, shared, shared_strict /* without SO_REUSEADDR */ };

/// A bound socket. [::] takes IPv4 too; any other IPv6 address only itself.
base::result<descriptor> bound_socket(const base::endpoint& at, bind_mode mode) {
  const socket_address address(at);
  descriptor fd(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
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

base::result<tcp_listener> tcp_listener::open(const base::endpoint& at, listen_options options) {
  auto fd = bound_socket(at, options.share_port ? bind_mode::shared : bind_mode::exclusive);
  if (!fd) return tl::unexpected(fd.error());
  set_flag(fd->fd(), IPPROTO_TCP, TCP_NODELAY);  // accepted sockets inherit it
  if (listen(fd->fd(), options.backlog) != 0) return bind_failure(at, errno);
  return tcp_listener(std::move(*fd));
}

base::result<tcp_listeners> listen_on(const base::endpoint& at, listen_options options) {
  auto one = tcp_listener::open(at, options);
  if (!one) return tl::unexpected(one.error());
  tcp_listeners all;
  all.push_back(std::move(*one));
  return all;
}

base::result<tcp_listener> tcp_listener::adopt(descriptor fd) {
  if (flag_of(fd.fd(), SO_ACCEPTCONN) == 0 || flag_of(fd.fd(), SO_PROTOCOL) != IPPROTO_TCP)
    return base::fail("not_listening", "the descriptor is no TCP socket that listens");
  return tcp_listener(std::move(fd));
}

tcp_listener::tcp_listener(descriptor fd) : fd_(std::move(fd)), local_(local_endpoint(fd_.fd())) {}

}  // namespace sluice::runtime
