#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <queue>
#include <vector>

namespace sluice::bench {

/// CLOCK_MONOTONIC in nanoseconds: the same clock in every process of a machine, so stamps may cross processes.
int64_t now_ns();

/// What the loop calls. A handler outlives its registration (descriptors and timers); timers cannot be cancelled, so
/// on_timer() checks whether it still concerns the handler.
class handler {
 public:
  virtual ~handler() = default;
  virtual void on_io(uint32_t events) = 0;
  virtual void on_timer(int64_t now) {}
};

/// One thread, level-triggered epoll and a heap of timers with nanosecond wake-ups. Deliberately independent of
/// Sluice's own runtime: the measuring side shares no code with what it measures.
class event_loop {
 public:
  event_loop();
  ~event_loop();
  event_loop(const event_loop&) = delete;
  event_loop& operator=(const event_loop&) = delete;

  void watch(int fd, uint32_t events, handler* h);   ///< adds
  void change(int fd, uint32_t events, handler* h);  ///< replaces the events
  void unwatch(int fd);
  void at(int64_t when_ns, handler* h) { timers_.push({when_ns, h}); }

  void run();
  void stop() { stopped_ = true; }

 private:
  struct timer {
    int64_t when;
    handler* target;
    bool operator>(const timer& o) const { return when > o.when; }
  };
  int epoll_;
  bool stopped_ = false;
  std::priority_queue<timer, std::vector<timer>, std::greater<>> timers_;
};

}  // namespace sluice::bench
