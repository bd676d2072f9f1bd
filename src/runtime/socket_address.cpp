#include "runtime/socket_address.hpp"

#include <cstring>

namespace sluice::runtime {

socket_address::socket_address(const base::endpoint& e) {
  if (e.address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(e.port);
    std::memcpy(&in.sin_addr, e.address.v4_bytes().data(), 4);
    std::memcpy(&storage, &in, sizeof in);
    size = sizeof in;
  } else {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(e.port);
    std::memcpy(&in.sin6_addr, e.address.bytes().data(), 16);
    std::memcpy(&storage, &in, sizeof in);
    size = sizeof in;
  }
}

base::endpoint socket_address::to_endpoint() const {
  if (storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &storage, sizeof in);
    std::array<uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &in.sin_addr, 4);
    return {base::ip_address::v4(bytes), ntohs(in.sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, &storage, sizeof in);
    std::array<uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &in.sin6_addr, 16);
    return {base::ip_address::v6(bytes), ntohs(in.sin6_port)};
  }
  return {};
}

base::endpoint local_endpoint(int fd) {
  socket_address at;
  return getsockname(fd, at.get(), &at.size) == 0 ? at.to_endpoint() : base::endpoint{};
}

base::endpoint remote_endpoint(int fd) {
  socket_address at;
  return getpeername(fd, at.get(), &at.size) == 0 ? at.to_endpoint() : base::endpoint{};
}

}  // namespace sluice::runtime
