#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <string_view>

#include "base/endpoint.hpp"
#include "runtime/socket_address.hpp"

namespace sluice::relay::test {

inline constexpr int patience_ms = 10'000;
inline const base::endpoint loopback = *base::endpoint::parse("127.0.0.1:0");

/// A blocking UDP socket of a test.
class plain_socket {
 public:
  plain_socket() : fd_(::socket(AF_INET, SOCK_DGRAM, 0)) {
    const runtime::socket_address a(loopback);
    EXPECT_EQ(::bind(fd_, a.get(), a.size), 0);
  }
  ~plain_socket() { ::close(fd_); }
  plain_socket(const plain_socket&) = delete;
  plain_socket& operator=(const plain_socket&) = delete;

  base::endpoint at() const { return runtime::local_endpoint(fd_); }
  void send(const base::endpoint& to, std::string_view bytes) {
    const runtime::socket_address a(to);
    EXPECT_EQ(::sendto(fd_, bytes.data(), bytes.size(), 0, a.get(), a.size), static_cast<ssize_t>(bytes.size()));
  }
  /// Empty: nothing came within `ms`.
  std::string receive(base::endpoint* from = nullptr, int ms = patience_ms) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, ms) <= 0) return {};
    std::array<char, 2048> bytes;
    runtime::socket_address a;
    const auto n = ::recvfrom(fd_, bytes.data(), bytes.size(), 0, a.get(), &a.size);
    if (from) *from = a.to_endpoint();
    return n <= 0 ? std::string() : std::string(bytes.data(), static_cast<size_t>(n));
  }

 private:
  int fd_;
};

}  // namespace sluice::relay::test
