#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "runtime/socket_address.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {

namespace {

void set_option(int fd, int level, int name, int value) { setsockopt(fd, level, name, &value, sizeof value); }

io_result failure(int error) {
  if (error == EAGAIN || error == EWOULDBLOCK) return {io_status::would_block, 0, 0};
  return {io_status::failed, 0, error};
}

io_result send_parts(int fd, const iovec* parts, size_t count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = count;
  ssize_t sent;
  do {
    sent = sendmsg(fd, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? failure(errno) : io_result{io_status::ok, static_cast<size_t>(sent), 0};
}

int clamp_to_int(int64_t value) { return static_cast<int>(std::clamp<int64_t>(value, 1, INT_MAX)); }

}  // namespace

tcp_stream& tcp_stream::operator=(tcp_stream&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

io_result tcp_stream::read(uint8_t* into, size_t size) {
  ssize_t got;
  do {
    got = recv(fd_, into, size, 0);
  } while (got < 0 && errno == EINTR);
  if (got < 0) return failure(errno);
  if (got == 0 && size > 0) return {io_status::closed, 0, 0};
  return {io_status::ok, static_cast<size_t>(got), 0};
}

io_result tcp_stream::write(base::bytes_view bytes, bool more) {
  ssize_t sent;
  do {
    sent = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | (more ? MSG_MORE : 0));
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? failure(errno) : io_result{io_status::ok, static_cast<size_t>(sent), 0};
}

io_result tcp_stream::write(std::span<const iovec> parts) {
  return send_parts(fd_, parts.data(), std::min<size_t>(parts.size(), IOV_MAX));
}

io_result tcp_stream::send_file(int file, size_t offset, size_t count) {
  ssize_t sent;
  do {
    auto at = static_cast<off_t>(offset);
    sent = sendfile(fd_, file, &at, count);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? failure(errno) : io_result{io_status::ok, static_cast<size_t>(sent), 0};
}

void tcp_stream::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

void tcp_stream::abort() {
  const linger now{1, 0};
  if (fd_ >= 0) setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

void tcp_stream::shutdown_write() { shutdown(fd_, SHUT_WR); }

base::endpoint tcp_stream::local() const { return local_endpoint(fd_); }

base::endpoint tcp_stream::remote() const { return remote_endpoint(fd_); }

void tcp_stream::limit_send_memory(int sndbuf_bytes, int notsent_bytes) {
  set_option(fd_, SOL_SOCKET, SO_SNDBUF, sndbuf_bytes);
  set_option(fd_, IPPROTO_TCP, TCP_NOTSENT_LOWAT, notsent_bytes);
}

void tcp_stream::limit_receive_memory(int rcvbuf_bytes) { set_option(fd_, SOL_SOCKET, SO_RCVBUF, rcvbuf_bytes); }

void tcp_stream::set_backstop(base::duration user_timeout, base::duration keepalive_idle) {
  const auto milliseconds = std::chrono::duration_cast<std::chrono::milliseconds>(user_timeout).count();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(keepalive_idle).count();
  set_option(fd_, IPPROTO_TCP, TCP_USER_TIMEOUT, clamp_to_int(milliseconds));
  set_option(fd_, IPPROTO_TCP, TCP_KEEPIDLE, clamp_to_int(seconds));
  set_option(fd_, IPPROTO_TCP, TCP_KEEPINTVL, clamp_to_int(seconds));
  set_option(fd_, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(fd_, SOL_SOCKET, SO_KEEPALIVE, 1);
}

}  // namespace sluice::runtime
