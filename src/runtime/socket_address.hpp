#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/endpoint.hpp"

namespace sluice::runtime {

/// The kernel's form of an endpoint: AF_INET for IPv4, else AF_INET6.
struct socket_address {
  socket_address() = default;
  explicit socket_address(const base::endpoint& e);
  base::endpoint to_endpoint() const;  ///< [::]:0 for families other than IP
  int family() const { return storage.ss_family; }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }

  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
};

/// The endpoint a socket is bound or connected to; [::]:0 if it is neither.
base::endpoint local_endpoint(int fd);
base::endpoint remote_endpoint(int fd);

}  // namespace sluice::runtime
