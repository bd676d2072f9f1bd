#include "runtime/handover_socket.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "runtime/loop.hpp"

namespace sluice::runtime {
namespace {

constexpr int backlog = 4;

std::string describe(int error) { return std::generic_category().message(error); }

std::optional<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return std::nullopt;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

tl::unexpected<base::error> bad_path(const std::string& path, std::string_view why) {
  return base::fail("bad_path", fmt::format("{}: {}", path, why));
}

constexpr std::string_view too_long = "the path is too long for a socket";

bool await(int fd, short what, base::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - loop::monotonic_now()).count();
    if (left <= 0) return false;
    pollfd entry{fd, what, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<decltype(left)>(left, 60'000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

union control_buffer {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int) * handover_descriptors_max)];
};

}  // namespace

received_packet receive_packet(int fd) {
  received_packet got;
  got.bytes.resize(handover_packet_bytes_max);
  iovec part{got.bytes.data(), got.bytes.size()};
  control_buffer control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  // Who closes without having read all gives the other end one ECONNRESET; what he has said before waits behind that.
  ssize_t count;
  do {
    count = ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (count < 0 && (errno == EINTR || errno == ECONNRESET));
  if (count < 0) {
    got.status = errno == EAGAIN || errno == EWOULDBLOCK ? packet_status::would_block : packet_status::closed;
    return got;
  }
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const size_t fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < fds; ++i) {
      int handed;
      std::memcpy(&handed, CMSG_DATA(c) + i * sizeof handed, sizeof handed);
      got.descriptors.emplace_back(handed);
    }
  }
  got.bytes.resize(static_cast<size_t>(count));
  const bool cut = message.msg_flags & (MSG_TRUNC | MSG_CTRUNC);
  got.status = cut ? packet_status::bad : count == 0 ? packet_status::closed : packet_status::ok;
  return got;
}

packet_status send_packet(int fd, std::string_view bytes, std::span<const int> descriptors) {
  if (bytes.size() > handover_packet_bytes_max || descriptors.size() > handover_descriptors_max)
    return packet_status::bad;
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  control_buffer control;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    std::memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(c), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t count;
  do {
    count = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count >= 0) return packet_status::ok;
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? packet_status::would_block
                                                                     : packet_status::closed;
}

bool await_readable(int fd, base::time_point deadline) { return await(fd, POLLIN, deadline); }
bool await_writable(int fd, base::time_point deadline) { return await(fd, POLLOUT, deadline); }

std::optional<socket_peer> peer_of(int fd) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0) return std::nullopt;
  return socket_peer{who.pid, who.uid};
}

bool is_ours(const socket_peer& peer) { return peer.uid == 0 || peer.uid == ::geteuid(); }

base::result<descriptor> listen_at_path(const std::string& path) {
  struct stat there{};
  if (::lstat(path.c_str(), &there) == 0 && !S_ISSOCK(there.st_mode))
    return bad_path(path, "something that is no socket is there");
  // Under a name of its own first: to rename it is one step, after which everybody finds the new one.
  const std::string own = fmt::format("{}.{}", path, ::getpid());
  const auto address = address_of(own);
  if (!address) return bad_path(path, too_long);
  descriptor fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  ::unlink(own.c_str());
  const bool bound =
      fd.is_open() && ::bind(fd.fd(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0;
  // Nobody can connect before listen(), so nobody does before the mode is right.
  if (!bound || ::chmod(own.c_str(), 0600) != 0 || ::listen(fd.fd(), backlog) != 0 ||
      ::rename(own.c_str(), path.c_str()) != 0) {
    const int error = errno;
    if (bound) ::unlink(own.c_str());
    return base::fail("cannot_bind", fmt::format("{}: {}", path, describe(error)));
  }
  return fd;
}

base::result<std::optional<descriptor>> connect_to_path(const std::string& path) {
  const auto address = address_of(path);
  if (!address) return bad_path(path, too_long);
  descriptor fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.is_open() || ::connect(fd.fd(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    const int error = errno;
    struct stat there{};
    const bool is_there = ::lstat(path.c_str(), &there) == 0;
    if (is_there && !S_ISSOCK(there.st_mode)) return bad_path(path, "something that is no socket is there");
    if (error == ENOENT || error == ECONNREFUSED) return std::optional<descriptor>();
    return base::fail("cannot_connect", fmt::format("{}: {}", path, describe(error)));
  }
  // Whoever may write the folder could offer sockets of his own.
  const auto peer = peer_of(fd.fd());
  if (!peer || !is_ours(*peer)) return base::fail("wrong_owner", path + ": another user's process listens there");
  return std::optional<descriptor>(std::move(fd));
}

}  // namespace sluice::runtime
