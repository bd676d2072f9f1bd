#pragma once

#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/time.hpp"

namespace boost::asio {
class io_context;
}

namespace sluice::runtime {

/// Readiness of a descriptor, edge-triggered: handle it until the socket says would_block.
struct io_ready {
  bool readable;
  bool writable;
  bool hangup;  ///< EPOLLHUP, EPOLLERR or EPOLLRDHUP: read to learn what it was
};

class io_handler {
 public:
  virtual void on_io(io_ready ready) = 0;

 protected:
  ~io_handler() = default;
};

class loop;

/// A deadline of one owner. Destroying it cancels it. Loop thread only. An armed timer costs one heap entry.
class timer {
 public:
  timer(loop& l, std::function<void()> fire);
  ~timer();
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;
  void arm_at(base::time_point when);  ///< re-arms; base::never cancels
  void arm_after(base::duration delay);
  void cancel();
  bool armed() const { return index_ != SIZE_MAX; }

 private:
  friend class loop;
  loop& loop_;
  std::function<void()> fire_;
  base::time_point when_ = base::never;
  size_t index_ = SIZE_MAX;  // in the loop's heap
};

/// One thread's event loop: an Asio io_context (resolver, HTTP) with an edge-triggered epoll set of its own nested in
/// it for the hot sockets: each is registered once, and a busy loop takes batch after batch with one epoll_wait each
/// (docs/adr/0002; epoll_pwait2 where the kernel has it, else epoll_wait). Timers are up to 1 ms late, never early. A
/// handler, task or callback that throws ends the process: that is a bug of ours. All members are for the loop's thread
/// (before run(): for the one that sets it up), except post() and stop(). A process with a loop ignores SIGPIPE.
class loop {
 public:
  loop();
  ~loop();
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;

  /// Monotonic time, read once per wake-up (refresh() reads it anew).
  base::time_point now() const { return now_; }
  base::time_point refresh();
  static base::time_point monotonic_now();

  /// Runs `task` on the loop's thread, soon. Any thread. Tasks of one posting thread run in the order of posting, and
  /// before timers that are due by then.
  /// Nothing bounds the queue but its callers. Tasks that no run() comes for are destroyed unrun with the loop.
  void post(std::function<void()> task);
  /// Runs `task` on this thread after the present batch of events, before the loop sleeps; if asked again from within,
  /// in the next batch. Used to write once for many reads.
  void defer(std::function<void()> task);
  /// By a handler that has taken in so much that the rest of the batch would push it out of the cache: deferred tasks
  /// run as soon as it has returned. Elsewhere than in on_io() it does nothing.
  void cut_batch();

  /// Hands readiness of `fd` to `handler`, edge-triggered for both directions, until unwatch(); what is ready already
  /// is reported soon. After unwatch() returns the handler is not called again, not even for events already fetched.
  /// Call unwatch() before closing `fd`; it does nothing if this handler does not watch this descriptor. False, with
  /// errno set, if the kernel cannot watch `fd` (ENOSPC: fs.epoll.max_user_watches, ENOMEM): its owner has to close it.
  bool watch(int fd, io_handler& handler);
  void unwatch(int fd, io_handler& handler);

  /// Called each time the loop has woken up, with now() fresh, before it hands out what woke it (but for Asio's
  /// handlers) and before timers and tasks: for what must know first whether this process was stopped. Empty: nothing.
  void on_wake(std::function<void()> f);

  void run();   ///< until stop(); also one that came before
  void stop();  ///< any thread
  /// Asio's context, made by the first call, or an exception (no descriptors). Loop thread, or before run().
  boost::asio::io_context& context();

  /// A buffer for one read, shared by all sockets of this loop: its bytes are valid until the handler returns.
  static constexpr size_t read_buffer_size = 64 * 1024;
  uint8_t* read_buffer() { return read_buffer_.get(); }

 private:
  friend class timer;
  struct impl;
  std::unique_ptr<impl> impl_;
  std::unique_ptr<uint8_t[]> read_buffer_;
  base::time_point now_;
};

}  // namespace sluice::runtime
