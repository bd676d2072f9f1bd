#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "runtime/socket_address.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {

namespace {

std::string_view reason_of(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
      return "refused";
    case ETIMEDOUT:
      return "timeout";
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC:         // no further descriptor can be watched
    case EAGAIN:         // no entry in the routing cache, says connect(2)
    case EADDRNOTAVAIL:  // no local port is left
      return "resources";
    default:
      return "unreachable";
  }
}

tl::unexpected<base::error> connect_failure(const base::endpoint& to, int error) {
  return base::fail(reason_of(error), "connect to " + to.to_string() + ": " + std::generic_category().message(error));
}

}  // namespace

tcp_connector::tcp_connector(loop& l, const base::endpoint& to, base::duration timeout, on_done done)
    : loop_(l),
      to_(to),
      done_(std::move(done)),
      timeout_(l, [this] { finish(connect_failure(to_, early_error_ != 0 ? early_error_ : ETIMEDOUT)); }) {
  start(to, timeout);
}

tcp_connector::~tcp_connector() {
  if (fd_ < 0) return;
  loop_.unwatch(fd_, *this);
  ::close(fd_);
}

void tcp_connector::start(const base::endpoint& to, base::duration timeout) {
  const socket_address address(to);
  fd_ = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
  if (fd_ < 0) return fail_later(errno);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // EINTR, too, means that the attempt goes on.
  if (connect(fd_, address.get(), address.size) != 0 && errno != EINPROGRESS && errno != EINTR) {
    return fail_later(errno);
  }
  if (!loop_.watch(fd_, *this)) return fail_later(errno);
  timeout_.arm_after(timeout);
}

void tcp_connector::fail_later(int error) {
  early_error_ = error;
  timeout_.arm_after(base::duration::zero());
}

void tcp_connector::on_io(io_ready ready) {
  if (!ready.writable && !ready.hangup) return;
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  // A dead server's port may be given to the very socket that dials it: TCP then connects it to itself.
  if (error == 0 && to_.address.is_loopback() && local_endpoint(fd_) == to_) error = ECONNREFUSED;
  if (error != 0) return finish(connect_failure(to_, error));
  loop_.unwatch(fd_, *this);
  finish(tcp_stream(std::exchange(fd_, -1)));
}

void tcp_connector::finish(base::result<tcp_stream> outcome) {
  timeout_.cancel();
  if (fd_ >= 0) {
    loop_.unwatch(fd_, *this);
    ::close(std::exchange(fd_, -1));
  }
  // `done` may destroy this object.
  on_done done = std::move(done_);
  done(std::move(outcome));
}

}  // namespace sluice::runtime
