#include "runtime/udp.hpp"

#include <cerrno>
#include <string>
#include <system_error>

#include "runtime/socket_address.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {

std::optional<base::ip_address> route_source(const base::endpoint& to) {
  const socket_address address(to);
  const tcp_stream fd(socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));  // for its destructor only
  if (!fd.is_open() || connect(fd.fd(), address.get(), address.size) != 0) return std::nullopt;
  const auto local = local_endpoint(fd.fd()).address;
  if (local.is_unspecified()) return std::nullopt;
  return local;
}

base::result<void> check_udp_port(const base::endpoint& at) {
  const socket_address address(at);
  const tcp_stream fd(socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (fd.is_open() && bind(fd.fd(), address.get(), address.size) == 0) return {};
  const int error = errno;
  return base::fail(error == EADDRINUSE ? "address_in_use" : "cannot_bind",
                    "cannot bind UDP " + at.to_string() + ": " + std::generic_category().message(error));
}

}  // namespace sluice::runtime
