#include "runtime/udp.hpp"

#include <linux/filter.h>

#include <cerrno>
#include <string>
#include <system_error>

#include "runtime/socket_address.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {
namespace {

/// A descriptor that closes itself unless it is released.
using owned_fd = tcp_stream;

owned_fd udp_descriptor(const base::endpoint& at) {
  return owned_fd(socket(socket_address(at).family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

tl::unexpected<base::error> bind_failure(const base::endpoint& at, int error) {
  if (error == EADDRINUSE) {
    return base::fail("address_in_use", "cannot bind UDP " + at.to_string() +
                                            ": the address is in use; stop the other process or choose another port");
  }
  return base::fail("cannot_bind", "cannot bind UDP " + at.to_string() + ": " + std::generic_category().message(error));
}

}  // namespace

std::optional<base::ip_address> route_source(const base::endpoint& to) {
  const socket_address address(to);
  const owned_fd fd = udp_descriptor(to);
  if (!fd.is_open() || connect(fd.fd(), address.get(), address.size) != 0) return std::nullopt;
  const auto local = local_endpoint(fd.fd()).address;
  if (local.is_unspecified()) return std::nullopt;
  return local;
}

int bind_udp(int fd, const base::endpoint& at) {
  const socket_address address(at);
  if (address.family() == AF_INET6) {
    const int only = at.address.is_unspecified() ? 0 : 1;
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) != 0) return errno;
  }
  return bind(fd, address.get(), address.size) == 0 ? 0 : errno;
}

base::result<void> check_udp_port(const base::endpoint& at) {
  const owned_fd fd = udp_descriptor(at);
  if (!fd.is_open()) return bind_failure(at, errno);
  if (const int error = bind_udp(fd.fd(), at); error != 0) return bind_failure(at, error);
  return {};
}

base::result<std::pair<base::endpoint, int>> reserve_udp_port(const base::endpoint& at) {
  owned_fd fd = udp_descriptor(at);
  if (!fd.is_open()) return bind_failure(at, errno);
  // What comes before anybody serves is not kept.
  sock_filter nothing[] = {BPF_STMT(BPF_RET | BPF_K, 0)};
  const sock_fprog drop_all{1, nothing};
  setsockopt(fd.fd(), SOL_SOCKET, SO_ATTACH_FILTER, &drop_all, sizeof drop_all);
  // First alone, so that anybody else's socket at this port is a conflict.
  if (const int error = bind_udp(fd.fd(), at); error != 0) return bind_failure(at, error);
  const int on = 1;
  if (setsockopt(fd.fd(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return bind_failure(at, errno);
  const base::endpoint real{at.address, local_endpoint(fd.fd()).port};
  return std::pair{real, fd.release()};
}

}  // namespace sluice::runtime
