#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "runtime/socket_address.hpp"
#include "runtime/udp.hpp"
#include "runtime/udp_io.hpp"

namespace sluice::runtime {
namespace {

tl::unexpected<base::error> no_descriptor(int error) {
  return base::fail("no_descriptors", "cannot make a UDP socket: " + std::generic_category().message(error));
}

tl::unexpected<base::error> not_bound(const base::endpoint& at, int error) {
  return base::fail(error == EADDRINUSE ? "address_in_use" : "cannot_bind",
                    "cannot bind UDP " + at.to_string() + ": " + std::generic_category().message(error));
}

void set_option(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

int family_of(int fd) {
  int family = AF_INET;
  socklen_t size = sizeof family;
  getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return family;
}

/// None of these is essential.
void configure(int fd, bool v6, const udp_options& options) {
  if (options.receive_bytes > 0) set_option(fd, SOL_SOCKET, SO_RCVBUF, options.receive_bytes);
  if (options.send_bytes > 0) set_option(fd, SOL_SOCKET, SO_SNDBUF, options.send_bytes);
  set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
  // Who chose the size of a datagram is not here to hear that the next part of its way is narrower.
  set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
  if (v6) set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DONT);
}

int new_descriptor(const base::endpoint& for_address) {
  return ::socket(socket_address(for_address).family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

}  // namespace

udp_io::udp_io(loop& l, base::metrics& metrics, base::duration interval)
    : impl_(std::make_unique<impl>(l, metrics, interval)) {}
udp_io::~udp_io() = default;

udp_socket::udp_socket(udp_io& io, int fd, udp_handler& handler)
    : io_(*io.impl_), handler_(handler), fd_(fd), v6_(family_of(fd) == AF_INET6), local_(local_endpoint(fd)) {}

udp_socket::~udp_socket() {
  if (const int fd = release(); fd >= 0) ::close(fd);
}

int udp_socket::release() {
  if (fd_ < 0) return fd_;
  io_.forget(*this);
  return std::exchange(fd_, -1);
}

base::result<std::unique_ptr<udp_socket>> udp_socket::adopt(udp_io& io, int fd, udp_handler& handler) {
  std::unique_ptr<udp_socket> s(new udp_socket(io, fd, handler));
  s->connected_ = true;
  s->peer_ = remote_endpoint(fd);
  if (!s->io_.watch(*s)) return no_descriptor(errno);
  return s;
}

base::result<std::unique_ptr<udp_socket>> udp_socket::bind(udp_io& io, const base::endpoint& at, udp_options options,
                                                           udp_handler& handler) {
  const int fd = new_descriptor(at);
  if (fd < 0) return no_descriptor(errno);
  int error = 0;
  const int on = 1;
  if (options.share_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) error = errno;
  if (error == 0) error = bind_udp(fd, at);
  if (error != 0) {
    ::close(fd);
    return not_bound(at, error);
  }
  std::unique_ptr<udp_socket> s(new udp_socket(io, fd, handler));
  configure(fd, s->v6_, options);
  if (at.address.is_unspecified()) {
    s->wants_local_ = true;
    if (s->v6_) set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    if (!s->v6_) set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
  }
  if (!s->io_.watch(*s)) return no_descriptor(errno);
  return s;
}

base::result<std::unique_ptr<udp_socket>> udp_socket::connect(udp_io& io, const base::endpoint& to, udp_options options,
                                                              udp_handler& handler) {
  const socket_address address(to);
  const int fd = new_descriptor(to);
  if (fd < 0) return no_descriptor(errno);
  if (::connect(fd, address.get(), address.size) != 0) {
    const int error = errno;
    ::close(fd);
    if (error == EAGAIN || error == EADDRNOTAVAIL || error == ENOBUFS) return no_descriptor(error);  // of ports
    return base::fail("unreachable", "UDP to " + to.to_string() + ": " + std::generic_category().message(error));
  }
  std::unique_ptr<udp_socket> s(new udp_socket(io, fd, handler));
  s->connected_ = true;
  s->peer_ = to;
  configure(fd, s->v6_, options);
  if (!s->io_.watch(*s)) return no_descriptor(errno);
  return s;
}

void udp_socket::send(base::bytes_view bytes) { io_.send(*this, {peer_, {}}, bytes); }
void udp_socket::send(const udp_path& to, base::bytes_view bytes) { io_.send(*this, to, bytes); }

void udp_socket::send_now(base::bytes_view bytes) { send_now({peer_, {}}, bytes); }
void udp_socket::send_now(const udp_path& to, base::bytes_view bytes) {
  io_.send(*this, to, bytes);
  io_.flush();
}

}  // namespace sluice::runtime
