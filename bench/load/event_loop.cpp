#include "load/event_loop.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <stdexcept>

namespace sluice::bench {

int64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

event_loop::event_loop() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  if (epoll_ < 0) throw std::runtime_error("epoll_create1");
}

event_loop::~event_loop() { close(epoll_); }

void event_loop::watch(int fd, uint32_t events, handler* h) {
  epoll_event e{.events = events, .data = {.ptr = h}};
  // EPERM: a regular file or /dev/null on stdin, which never has news for us.
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e) != 0 && errno != EPERM) throw std::runtime_error("epoll_ctl");
}

void event_loop::change(int fd, uint32_t events, handler* h) {
  epoll_event e{.events = events, .data = {.ptr = h}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &e);
}

void event_loop::unwatch(int fd) { epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr); }

void event_loop::run() {
  std::array<epoll_event, 256> events;
  while (!stopped_) {
    timespec wait{};
    timespec* timeout = nullptr;
    if (!timers_.empty()) {
      const int64_t left = std::max<int64_t>(0, timers_.top().when - now_ns());
      wait = {.tv_sec = left / 1'000'000'000, .tv_nsec = left % 1'000'000'000};
      timeout = &wait;
    }
    const int n = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), timeout, nullptr);
    for (int i = 0; i < n && !stopped_; ++i) static_cast<handler*>(events[i].data.ptr)->on_io(events[i].events);
    for (int64_t now = now_ns(); !stopped_ && !timers_.empty() && timers_.top().when <= now;) {
      handler* target = timers_.top().target;
      timers_.pop();
      target->on_timer(now);
    }
  }
}

}  // namespace sluice::bench
