// udp_relay: the least that a relay of datagrams can do: one thread, raw epoll, recvfrom and send of one datagram at a
// time, a connected socket for each client. It looks at nothing. A floor to compare relays of media against.
//
// usage: udp_relay A.B.C.D:PORT        prints {"event":"ready","port":N} once it serves 127.0.0.1:N

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_map>

namespace {

struct client {
  sockaddr_in at;
  int upstream;
};

int fail(const char* what) {
  std::perror(what);
  return 1;
}

uint64_t key_of(const sockaddr_in& a) { return static_cast<uint64_t>(a.sin_addr.s_addr) << 16 | a.sin_port; }

}  // namespace

int main(int argc, char** argv) {
  const std::string to = argc > 1 ? argv[1] : "";
  const auto colon = to.rfind(':');
  sockaddr_in origin{.sin_family = AF_INET};
  if (colon == to.npos || inet_pton(AF_INET, to.substr(0, colon).c_str(), &origin.sin_addr) != 1) {
    std::fprintf(stderr, "usage: udp_relay A.B.C.D:PORT\n");
    return 2;
  }
  origin.sin_port = htons(static_cast<uint16_t>(std::atoi(to.c_str() + colon + 1)));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  const int listener = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  sockaddr_in at{.sin_family = AF_INET};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int room = 4 << 20;
  setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  if (bind(listener, reinterpret_cast<sockaddr*>(&at), sizeof at) != 0) return fail("bind");
  socklen_t size = sizeof at;
  getsockname(listener, reinterpret_cast<sockaddr*>(&at), &size);
  std::printf("{\"event\":\"ready\",\"port\":%u}\n", ntohs(at.sin_port));
  std::fflush(stdout);

  const int epoll = epoll_create1(0);
  epoll_event wanted{.events = EPOLLIN, .data = {.ptr = nullptr}};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &wanted);
  std::unordered_map<uint64_t, client> clients;
  std::array<uint8_t, 65536> bytes;
  std::array<epoll_event, 256> ready;
  for (;;) {
    const int count = epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), -1);
    for (int i = 0; i < count; ++i) {
      if (auto* c = static_cast<client*>(ready[static_cast<size_t>(i)].data.ptr)) {
        for (ssize_t n; (n = recv(c->upstream, bytes.data(), bytes.size(), 0)) > 0;)
          sendto(listener, bytes.data(), static_cast<size_t>(n), 0, reinterpret_cast<sockaddr*>(&c->at), sizeof c->at);
        continue;
      }
      sockaddr_in from{};
      for (ssize_t n; size = sizeof from, (n = recvfrom(listener, bytes.data(), bytes.size(), 0,
                                                        reinterpret_cast<sockaddr*>(&from), &size)) > 0;) {
        auto [known, is_new] = clients.try_emplace(key_of(from));
        client& c = known->second;
        if (is_new) {
          c = {from, socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0)};
          if (c.upstream < 0 || connect(c.upstream, reinterpret_cast<sockaddr*>(&origin), sizeof origin) != 0)
            return fail("upstream");
          epoll_event e{.events = EPOLLIN, .data = {.ptr = &c}};
          epoll_ctl(epoll, EPOLL_CTL_ADD, c.upstream, &e);
        }
        send(c.upstream, bytes.data(), static_cast<size_t>(n), 0);
      }
    }
  }
}
