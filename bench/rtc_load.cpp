// rtc_load: both ends of WebRTC sessions that go through a relay, without any cryptography: the clients, each with a
// socket of its own, and the origin, one socket for all, as SRS. The origin sends each client frames of datagrams of
// 1,200 bytes; the clients count what arrives.
//
// usage: rtc_load --to HOST:PORT --origin-port P --sessions N --frame K --rate R --seconds S [--checks FILE]
//   --checks   file of what each client sends first, 4 bytes of length (big-endian) and that many bytes each; without
//              it, a few bytes
//   --frame    datagrams a frame, sent as one (UDP_SEGMENT) if more than one
//   --rate     frames a second and session
//   --joined   1: clients take the datagrams of a frame as one (UDP_GRO), as far as the relay sent them so. Else the
//              kernel takes it apart for them, on the relay's time: between hosts a network card would.
// Prints {"event":"up"} when every client has been heard by the origin, then {"sent":…,"received":…} after S seconds.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr size_t datagram_bytes = 1200;
constexpr size_t sessions_per_host = 50;

double now_s() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

void rest(long ns) {
  const timespec t{0, ns};
  nanosleep(&t, nullptr);
}

sockaddr_in address(const std::string& host, int port) {
  sockaddr_in a{.sin_family = AF_INET, .sin_port = htons(static_cast<uint16_t>(port))};
  inet_pton(AF_INET, host.c_str(), &a.sin_addr);
  return a;
}

std::vector<std::string> read_checks(const std::string& file, size_t sessions) {
  std::vector<std::string> out;
  if (file.empty()) return std::vector<std::string>(sessions, "hello");
  std::ifstream in(file, std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(in), {}};
  for (size_t at = 0; at + 4 <= all.size();) {
    uint32_t size;
    std::memcpy(&size, all.data() + at, 4);
    out.push_back(all.substr(at + 4, ntohl(size)));
    at += 4 + out.back().size();
  }
  return out;
}

struct load {
  sockaddr_in to{};
  int origin = -1, epoll = -1;
  std::vector<int> clients;
  std::vector<sockaddr_in> peers;  // of the origin: one a session
  std::set<std::pair<uint32_t, uint16_t>> seen;
  uint64_t sent = 0, received = 0;

  void open(size_t sessions, int origin_port, bool joined) {
    const int room = 4 << 20;
    origin = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    setsockopt(origin, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    const auto at = address("127.0.0.1", origin_port);
    if (bind(origin, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
      std::perror("rtc_load: bind");
      std::exit(1);
    }
    epoll = epoll_create1(0);
    for (size_t i = 0; i < sessions; ++i) {
      const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
      // Many hosts: a relay may bound what it takes from one.
      const auto host = static_cast<uint32_t>(i / sessions_per_host);
      const sockaddr_in from{.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(0x7f010001 + host)}};
      if (fd < 0 || bind(fd, reinterpret_cast<const sockaddr*>(&from), sizeof from) != 0 ||
          connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
        std::perror("rtc_load: client");
        std::exit(1);
      }
      const int own = 256 << 10;
      setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &own, sizeof own);
      if (joined) {
        const int on = 1;
        setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on);
      }
      epoll_event e{.events = EPOLLIN, .data = {.fd = fd}};
      epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
      clients.push_back(fd);
    }
  }

  void hear_origin() {
    std::array<char, 2048> bytes;
    sockaddr_in from{};
    for (socklen_t size = sizeof from;
         recvfrom(origin, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&from), &size) > 0;)
      if (seen.insert({from.sin_addr.s_addr, from.sin_port}).second) peers.push_back(from);
  }

  void drain() {
    std::array<epoll_event, 256> ready;
    static std::array<char, 65536> bytes;
    int count;
    do {
      count = epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), 0);
      for (int i = 0; i < count; ++i)
        for (ssize_t n; (n = recv(ready[static_cast<size_t>(i)].data.fd, bytes.data(), bytes.size(), 0)) > 0;)
          received += (static_cast<size_t>(n) + datagram_bytes - 1) / datagram_bytes;
    } while (count == static_cast<int>(ready.size()));
  }

  void send_frame(const sockaddr_in& peer, size_t datagrams, std::vector<uint8_t>& frame) {
    msghdr m{};
    iovec part{frame.data(), frame.size()};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(uint16_t))> control{};
    m.msg_name = const_cast<sockaddr_in*>(&peer);
    m.msg_namelen = sizeof peer;
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    if (datagrams > 1) {
      m.msg_control = control.data();
      m.msg_controllen = control.size();
      auto* c = CMSG_FIRSTHDR(&m);
      c->cmsg_level = SOL_UDP;
      c->cmsg_type = UDP_SEGMENT;
      c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
      const auto each = static_cast<uint16_t>(datagram_bytes);
      std::memcpy(CMSG_DATA(c), &each, sizeof each);
    }
    if (sendmsg(origin, &m, 0) > 0) sent += datagrams;
  }
};

}  // namespace

int main(int argc, char** argv) {
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  const std::string to = options["--to"];
  const auto sessions = static_cast<size_t>(std::atoi(options["--sessions"].c_str()));
  const auto per_frame = static_cast<size_t>(std::atoi(options["--frame"].c_str()));
  const double rate = std::atof(options["--rate"].c_str()), seconds = std::atof(options["--seconds"].c_str());
  if (to.find(':') == to.npos || sessions == 0 || per_frame == 0 || rate <= 0) {
    std::fprintf(stderr, "rtc_load: see the head of rtc_load.cpp\n");
    return 2;
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const auto checks = read_checks(options["--checks"], sessions);

  load l;
  l.to = address(to.substr(0, to.find(':')), std::atoi(to.c_str() + to.find(':') + 1));
  l.open(sessions, std::atoi(options["--origin-port"].c_str()), options["--joined"] == "1");
  for (double until = now_s() + 30; l.peers.size() < sessions;) {
    if (now_s() > until || checks.size() < sessions) {
      std::fprintf(stderr, "rtc_load: only %zu of %zu sessions came up\n", l.peers.size(), sessions);
      return 1;
    }
    for (size_t i = 0; i < sessions; ++i) {
      if (send(l.clients[i], checks[i].data(), checks[i].size(), 0) < 0) continue;
      if (i % 64 == 0) l.hear_origin();
    }
    for (int n = 0; n < 20 && l.peers.size() < sessions; ++n) {
      pollfd p{l.origin, POLLIN, 0};
      poll(&p, 1, 10);
      l.hear_origin();
    }
  }
  std::printf("{\"event\":\"up\"}\n");
  std::fflush(stdout);

  std::vector<uint8_t> frame(per_frame * datagram_bytes, 0x80);
  const double begin = now_s(), interval = 1 / (rate * static_cast<double>(sessions));
  uint64_t frames = 0;
  for (double now = begin; now < begin + seconds; now = now_s()) {
    // At most a few are late at once: the relay is not to be tested by stalls of this program.
    for (int n = 0; n < 32 && begin + static_cast<double>(frames) * interval <= now; ++n, ++frames)
      l.send_frame(l.peers[frames % sessions], per_frame, frame);
    l.hear_origin();
    l.drain();
    // Asleep, and not woken up by what comes: clients are on other machines, so that is not the relay's to pay for.
    if (begin + static_cast<double>(frames) * interval > now) rest(1'000'000);
  }
  rest(100'000'000);
  l.drain();
  std::printf("{\"sent\":%llu,\"received\":%llu}\n", static_cast<unsigned long long>(l.sent),
              static_cast<unsigned long long>(l.received));
  return 0;
}
