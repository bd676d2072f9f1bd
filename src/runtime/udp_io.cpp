#include "runtime/udp_io.hpp"

#include <netinet/udp.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "runtime/socket_address.hpp"

namespace sluice::runtime {
namespace {

constexpr int rounds_max = 4;  // then other sockets get their turn
// Of a turn, as the kernel gives them; then the loop's other sockets, timers and tasks get theirs.
constexpr size_t turn_messages_max = 512;
constexpr base::duration rate_window = std::chrono::milliseconds(50);

base::metric_cell& datagrams_cell(base::metrics& m, const char* dir) {
  return m.counter("sluice_udp_datagrams_total", "UDP datagrams from and to all peers.", {{"dir", dir}});
}
base::metric_cell& calls_cell(base::metrics& m, const char* dir) {
  return m.counter("sluice_udp_calls_total", "System calls that moved them.", {{"dir", dir}});
}
base::metric_cell& dropped_cell(base::metrics& m, const char* reason) {
  return m.counter("sluice_udp_dropped_total", "UDP datagrams that could not be sent.", {{"reason", reason}});
}

base::endpoint endpoint_of(const sockaddr_storage& from, bool v6) {
  if (v6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(from);
    std::array<uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &in.sin6_addr, 16);
    return {base::ip_address::v6(bytes), ntohs(in.sin6_port)};
  }
  const auto& in = reinterpret_cast<const sockaddr_in&>(from);
  std::array<uint8_t, 4> bytes;
  std::memcpy(bytes.data(), &in.sin_addr, 4);
  return {base::ip_address::v4(bytes), ntohs(in.sin_port)};
}

[[noreturn]] void fail(const char* what, int error) { throw std::system_error(error, std::generic_category(), what); }

}  // namespace

udp_io::impl::impl(loop& the_loop, base::metrics& metrics, base::duration interval)
    : l(the_loop),
      interval_(interval),
      gathering_(metrics.gauge(
          "sluice_udp_gathering",
          "UDP ports that are looked at at intervals now; each thread has its own of SRT and of WebRTC.")),
      memory_(std::make_unique_for_overwrite<uint8_t[]>(messages_in * buffer_stride)),
      in_cells_{datagrams_cell(metrics, "in"), calls_cell(metrics, "in")},
      out_cells_{datagrams_cell(metrics, "out"), calls_cell(metrics, "out")},
      no_room_(dropped_cell(metrics, "no_room")),
      undelivered_(dropped_cell(metrics, "undelivered")) {
  for (size_t i = 0; i < messages_in; ++i) {
    in_parts_[i].buffer = {memory_.get() + i * buffer_stride, buffer_bytes};
    auto& header = in_[i].msg_hdr;
    header.msg_name = &in_parts_[i].from;
    header.msg_iov = &in_parts_[i].buffer;
    header.msg_iovlen = 1;
    header.msg_control = in_parts_[i].control;
  }
  free_messages();
  set_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!set_.is_open()) fail("epoll_create1", errno);
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_.is_open()) fail("timerfd_create", errno);
  if (!l.watch(timer_.fd(), *this)) fail("epoll_ctl", errno);
  if (l.watch(set_.fd(), *this)) return;
  const int error = errno;
  l.unwatch(timer_.fd(), *this);
  fail("epoll_ctl", error);
}

udp_io::impl::~impl() {
  if (busy_) gathering_.add(-1);
  l.unwatch(set_.fd(), *this);
  l.unwatch(timer_.fd(), *this);
}

// ---- readiness

bool udp_io::impl::watch(udp_socket& s) {
  epoll_event event{EPOLLIN | EPOLLET, {.ptr = &s}};
  return epoll_ctl(set_.fd(), EPOLL_CTL_ADD, s.fd_, &event) == 0;
}

void udp_io::impl::forget(udp_socket& s) {
  epoll_ctl(set_.fd(), EPOLL_CTL_DEL, s.fd_, nullptr);
  if (s.flow_round_ == round_) flush();
  if (reading_ == &s) reading_ = nullptr;
  for (auto& event : std::span(ready_.data(), ready_n_))
    if (event.data.ptr == &s) event.data.ptr = nullptr;
  std::erase(unread_, &s);
  std::erase_if(failed_, [&](const failure& f) { return f.socket == &s; });
}

void udp_io::impl::turn() {
  if (busy_) {
    uint64_t expirations;  // the kernel starts the next interval when they have been read
    [[maybe_unused]] const auto n = ::read(timer_.fd(), &expirations, sizeof expirations);
  }
  const int count = epoll_wait(set_.fd(), ready_.data(), ready_max, 0);
  ready_n_ = count < 0 ? 0 : static_cast<size_t>(count);
  begin_turn();
  // One may destroy others: see forget().
  for (size_t i = 0; i < ready_n_; ++i)
    if (auto* s = static_cast<udp_socket*>(ready_[i].data.ptr))
      read(*s, (ready_[i].events & (EPOLLERR | EPOLLHUP)) != 0);
  end_turn();
  note_rate();
  if (std::exchange(ready_n_, 0) == ready_max) {
    more_ = true;  // the loop hears only of what comes anew
    later();
  }
}

void udp_io::impl::begin_turn() {
  in_turn_ = true;
  turn_messages_ = 0;
}

void udp_io::impl::end_turn() {
  in_turn_ = false;
  free_messages();
}

void udp_io::impl::note_rate() {
  if (interval_ == interval_.zero()) return;
  ++rate_turns_;
  rate_messages_ += static_cast<int64_t>(turn_messages_);
  const auto elapsed = l.now() - rate_since_;
  if (elapsed < rate_window) return;
  // It begins when it saves a third of the turns, and ends when what comes in does not fill them.
  set_busy(busy_ ? rate_messages_ >= rate_turns_ : 2 * rate_turns_ >= 3 * (elapsed / interval_));
  rate_since_ = l.now();
  rate_turns_ = rate_messages_ = 0;
}

void udp_io::impl::set_busy(bool busy) {
  if (busy == busy_) return;
  itimerspec time{};  // all zero: off
  if (busy) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(interval_);
    time.it_interval = {static_cast<time_t>(seconds.count()), static_cast<long>((interval_ - seconds).count())};
    time.it_value = time.it_interval;
  }
  // Without the timer, or without the set in the loop, nothing would be read any more.
  if (busy && timerfd_settime(timer_.fd(), 0, &time, nullptr) != 0) return;
  if (busy) {
    l.unwatch(set_.fd(), *this);
  } else {
    if (!l.watch(set_.fd(), *this)) return;
    timerfd_settime(timer_.fd(), 0, &time, nullptr);
  }
  busy_ = busy;
  gathering_.add(busy ? 1 : -1);
}

// ---- in

/// What was read, and is to be sent on, is sent; then its place is free.
void udp_io::impl::free_messages() {
  flush();
  for (size_t i = 0; i < used_; ++i) {
    in_[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    in_[i].msg_hdr.msg_controllen = control_bytes;
  }
  used_ = 0;
}

/// Reads up to `count` messages behind those that are in use.
size_t udp_io::impl::receive(udp_socket& s, size_t count, int& error) {
  int got;
  do {
    got = recvmmsg(s.fd_, &in_[used_], static_cast<unsigned>(count), 0, nullptr);
  } while (got < 0 && errno == EINTR);
  error = got < 0 ? errno : 0;
  const size_t messages = got < 0 ? 0 : static_cast<size_t>(got);
  used_ += messages;
  turn_messages_ += messages;
  return messages;
}

void udp_io::impl::read(udp_socket& s, bool until_empty) {
  for (int round = 0; round < rounds_max && turn_messages_ < turn_messages_max; ++round) {
    if (messages_in - used_ < free_min) free_messages();
    const size_t first = used_, room = messages_in - used_;
    int error;
    const size_t got = receive(s, room, error);
    if (error == EAGAIN || error == EWOULDBLOCK) return;
    if (error != 0) {
      if (!report(s, error)) return;
      continue;
    }
    in_cells_.calls.add();
    if (!hand_over(s, first, got)) return;
    if (got < room && !until_empty) return;
  }
  unread_.push_back(&s);
  later();
}

datagram udp_io::impl::describe(const udp_socket& s, size_t message, size_t& segment) const {
  const auto& header = in_[message].msg_hdr;
  const size_t size = in_[message].msg_len;
  datagram d;
  d.path.peer = s.connected_ ? s.peer_ : endpoint_of(in_parts_[message].from, s.v6_);
  d.bytes = {memory_.get() + message * buffer_stride, size};
  segment = size;
  for (auto* c = CMSG_FIRSTHDR(&header); c != nullptr; c = CMSG_NXTHDR(const_cast<msghdr*>(&header), c)) {
    if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
      int each;
      std::memcpy(&each, CMSG_DATA(c), sizeof each);
      if (each > 0) segment = static_cast<size_t>(each);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      std::array<uint8_t, 16> bytes;
      std::memcpy(bytes.data(), CMSG_DATA(c) + offsetof(in6_pktinfo, ipi6_addr), 16);
      d.path.local = base::ip_address::v6(bytes);
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      std::array<uint8_t, 4> bytes;
      std::memcpy(bytes.data(), CMSG_DATA(c) + offsetof(in_pktinfo, ipi_spec_dst), 4);
      d.path.local = base::ip_address::v4(bytes);
    }
  }
  return d;
}

/// False if the socket is gone.
bool udp_io::impl::hand_over(udp_socket& s, size_t first, size_t count) {
  size_t n = 0;
  for (size_t i = first; i < first + count; ++i) {
    size_t segment;
    const datagram all = describe(s, i, segment);
    if ((in_[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) continue;
    for (size_t at = 0; at < all.bytes.size(); at += segment) {
      if (n == batch_max && !deliver(s, std::exchange(n, 0))) return false;
      batch_[n++] = {all.path, all.bytes.subspan(at, std::min(segment, all.bytes.size() - at))};
    }
  }
  return n == 0 || deliver(s, n);
}

bool udp_io::impl::deliver(udp_socket& s, size_t datagrams) {
  in_cells_.datagrams.add(static_cast<int64_t>(datagrams));
  reading_ = &s;
  s.handler_.on_datagrams(s, std::span(batch_.data(), datagrams));
  return std::exchange(reading_, nullptr) == &s;
}

bool udp_io::impl::report(udp_socket& s, int error) {
  if (!s.connected_) return true;
  reading_ = &s;
  const bool in_turn = std::exchange(in_turn_, false);
  s.handler_.on_unreachable(s, error);
  in_turn_ = in_turn;
  return std::exchange(reading_, nullptr) == &s;
}

void udp_io::impl::later() {
  if (std::exchange(later_, true)) return;
  l.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    later_ = false;
    // What one handler does may destroy others: each is taken off before it is served. Those that come anew wait.
    for (size_t left = failed_.size(); left > 0 && !failed_.empty(); --left) {
      const failure f = failed_.front();
      failed_.erase(failed_.begin());
      report(*f.socket, f.error);
    }
    begin_turn();
    for (size_t left = unread_.size(); left > 0 && !unread_.empty(); --left) {
      udp_socket& s = *unread_.front();
      unread_.erase(unread_.begin());
      read(s, true);
    }
    end_turn();
    if (std::exchange(more_, false)) turn();
  });
}

}  // namespace sluice::runtime
