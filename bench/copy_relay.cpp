// copy_relay: the least that a relay of bytes can do: one thread, raw epoll, one 64 KB buffer for everybody, read and
// write at once; what the other side does not take waits in a queue, and its source is not read until it is gone. It
// looks at nothing. A floor to compare relays against.
//
// usage: copy_relay A.B.C.D:PORT        prints {"event":"ready","port":N} once it listens on 127.0.0.1:N

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr size_t buffer_bytes = 64 * 1024;

struct side {
  int fd = -1;
  side* other = nullptr;
  std::vector<uint8_t> unsent;  ///< came from `other`, goes to fd
  uint32_t events = 0;
  bool dead = false;
};

int epoll_fd;
std::array<uint8_t, buffer_bytes> buffer;
std::vector<side*> graveyard;  ///< freed after the batch of events that may still name them

void want(side& s, uint32_t events) {
  if (s.events == events) return;
  s.events = events;
  epoll_event e{.events = events, .data = {.ptr = &s}};
  epoll_ctl(epoll_fd, EPOLL_CTL_MOD, s.fd, &e);
}

/// A side reads while its peer's queue is empty and writes while its own is not.
void update(side& s) { want(s, (s.other->unsent.empty() ? EPOLLIN : 0u) | (s.unsent.empty() ? 0u : EPOLLOUT)); }

void kill_pair(side& s) {
  if (s.dead) return;
  for (side* one : {&s, s.other}) {
    one->dead = true;
    close(one->fd);
    graveyard.push_back(one);
  }
}

void forward(side& from) {
  side& to = *from.other;
  const ssize_t n = recv(from.fd, buffer.data(), buffer.size(), 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) return kill_pair(from);
  if (n < 0) return;
  ssize_t sent = send(to.fd, buffer.data(), static_cast<size_t>(n), MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) return kill_pair(from);
  if (sent < 0) sent = 0;
  if (sent == n) return;
  to.unsent.assign(buffer.begin() + sent, buffer.begin() + n);
  update(from);
  update(to);
}

void flush(side& s) {
  const ssize_t n = send(s.fd, s.unsent.data(), s.unsent.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) return kill_pair(s);
  if (n > 0) s.unsent.erase(s.unsent.begin(), s.unsent.begin() + n);
  update(s);
  update(*s.other);
}

void take(int listener, const sockaddr_in& target) {
  const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  const int up = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(up, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (up < 0 || (connect(up, reinterpret_cast<const sockaddr*>(&target), sizeof target) != 0 && errno != EINPROGRESS)) {
    close(fd);
    if (up >= 0) close(up);
    return;
  }
  auto* a = new side{.fd = fd};
  auto* b = new side{.fd = up, .other = a};
  a->other = b;
  for (side* s : {a, b}) {
    s->events = EPOLLIN;
    epoll_event e{.events = EPOLLIN, .data = {.ptr = s}};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &e);
  }
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  const std::string to = argc == 2 ? argv[1] : "";
  const size_t colon = to.find(':');
  sockaddr_in target{.sin_family = AF_INET};
  if (colon == std::string::npos || inet_pton(AF_INET, to.substr(0, colon).c_str(), &target.sin_addr) != 1) {
    std::fprintf(stderr, "usage: copy_relay A.B.C.D:PORT\n");
    return 2;
  }
  target.sin_port = htons(static_cast<uint16_t>(std::atoi(to.c_str() + colon + 1)));

  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in at{.sin_family = AF_INET};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), size) != 0 || listen(listener, 4096) != 0) {
    std::perror("copy_relay");
    return 1;
  }
  getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  epoll_event e{.events = EPOLLIN, .data = {.ptr = nullptr}};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &e);
  std::printf("{\"event\":\"ready\",\"port\":%u}\n", ntohs(at.sin_port));
  std::fflush(stdout);

  std::array<epoll_event, 256> events;
  for (;;) {
    const int n = epoll_wait(epoll_fd, events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < n; ++i) {
      auto* s = static_cast<side*>(events[i].data.ptr);
      if (!s) {
        take(listener, target);
        continue;
      }
      if (!s->dead && (events[i].events & EPOLLOUT)) flush(*s);
      if (!s->dead && (events[i].events & ~EPOLLOUT)) forward(*s);
    }
    for (side* s : graveyard) delete s;
    graveyard.clear();
  }
}
