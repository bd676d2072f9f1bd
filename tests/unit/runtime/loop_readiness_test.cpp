#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "loop_test_tools.hpp"
#include "runtime/http_server.hpp"
#include "runtime/loop.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;

using readiness = loop_test;

/// Eventfds: the simplest descriptor that can be made readable.
class event {
 public:
  event() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  ~event() { close(fd_); }
  int fd() const { return fd_; }
  void signal() const {
    const uint64_t one = 1;
    ASSERT_EQ(write(fd_, &one, sizeof one), 8);
  }

 private:
  int fd_;
};

TEST_F(readiness, is_reported_once_per_edge) {
  event e;
  int readable = 0;
  io_function handler([&](io_ready ready) {
    readable += ready.readable;
    EXPECT_FALSE(ready.hangup);
  });
  loop_.watch(e.fd(), handler);
  run_posted();
  EXPECT_EQ(readable, 0);
  e.signal();
  run_posted();
  run_posted();
  EXPECT_EQ(readable, 1);
  loop_.unwatch(e.fd(), handler);
  e.signal();
  run_posted();
  EXPECT_EQ(readable, 1);
}

TEST_F(readiness, fetched_already_is_not_delivered_after_unwatch) {
  // Both are ready in one batch; whichever comes first destroys the other.
  event a, b;
  std::unique_ptr<io_function> first, second;
  int calls = 0;
  const auto drop = [&](const event& e, std::unique_ptr<io_function>& handler) {
    ++calls;
    loop_.unwatch(e.fd(), *handler);
    handler.reset();
  };
  first = std::make_unique<io_function>([&](io_ready) { drop(b, second); });
  second = std::make_unique<io_function>([&](io_ready) { drop(a, first); });
  loop_.watch(a.fd(), *first);
  loop_.watch(b.fd(), *second);
  a.signal();
  b.signal();
  run_posted();
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE((first == nullptr) != (second == nullptr));
  if (first) loop_.unwatch(a.fd(), *first);
  if (second) loop_.unwatch(b.fd(), *second);
}

TEST_F(readiness, of_a_descriptor_is_not_given_to_the_next_owner_of_its_number) {
  event survivor;
  auto victim = std::make_unique<event>();
  const int number = victim->fd();
  std::optional<event> heir;
  int readable_heir = 0;
  io_function heir_handler([&](io_ready ready) { readable_heir += ready.readable; });
  io_function victim_handler([&](io_ready) {});
  bool swapped = false;
  // Runs once for its own event; the victim's event waits in the same batch, before or behind it.
  io_function swap([&](io_ready ready) {
    if (!ready.readable || std::exchange(swapped, true)) return;
    loop_.unwatch(number, victim_handler);
    victim.reset();
    heir.emplace();
    ASSERT_EQ(heir->fd(), number) << "the kernel gives the lowest free number";
    loop_.watch(number, heir_handler);
  });
  loop_.watch(survivor.fd(), swap);
  loop_.watch(number, victim_handler);
  survivor.signal();  // becomes ready first, so it comes first in the batch
  victim->signal();
  run_posted();
  ASSERT_TRUE(swapped);
  EXPECT_EQ(readable_heir, 0);
  heir->signal();
  run_posted();
  EXPECT_EQ(readable_heir, 1);
  loop_.unwatch(number, heir_handler);
  loop_.unwatch(survivor.fd(), swap);
}

TEST_F(readiness, of_more_descriptors_than_a_batch_holds_reaches_all) {
  constexpr size_t count = 700;
  std::vector<event> events(count);
  std::vector<std::unique_ptr<io_function>> handlers;
  size_t readable = 0;
  for (const auto& e : events) {
    handlers.push_back(std::make_unique<io_function>([&](io_ready ready) {
      readable += ready.readable;
      if (readable == count) loop_.stop();
    }));
    loop_.watch(e.fd(), *handlers.back());
    e.signal();
  }
  run();
  EXPECT_EQ(readable, count);
  for (size_t i = 0; i < count; ++i) loop_.unwatch(events[i].fd(), *handlers[i]);
}

TEST_F(readiness, deferred_tasks_run_once_for_many_events) {
  std::vector<event> events(10);  // fewer than a batch holds
  std::vector<std::unique_ptr<io_function>> handlers;
  size_t readable = 0;
  std::vector<size_t> flushes;
  bool flush_wanted = false;
  for (const auto& e : events) {
    handlers.push_back(std::make_unique<io_function>([&](io_ready ready) {
      readable += ready.readable;
      if (std::exchange(flush_wanted, true)) return;
      loop_.defer([&] {
        flush_wanted = false;
        flushes.push_back(readable);
        loop_.stop();
      });
    }));
    loop_.watch(e.fd(), *handlers.back());
    e.signal();
  }
  run();
  EXPECT_EQ(flushes, (std::vector<size_t>{10}));
  for (size_t i = 0; i < events.size(); ++i) loop_.unwatch(events[i].fd(), *handlers[i]);
}

/// Ten events, which come at once.
struct cut_batches : readiness {
  /// `on_each` is told how many were readable, this one included.
  void watch_all(const std::function<void(size_t)>& on_each) {
    for (const auto& e : events) {
      handlers.push_back(std::make_unique<io_function>([this, on_each](io_ready ready) {
        if (ready.readable) on_each(++readable);
      }));
      loop_.watch(e.fd(), *handlers.back());
    }
  }
  void signal_all() {
    for (const auto& e : events) e.signal();
  }
  void run_to_the_end() {
    run();
    for (size_t i = 0; i < events.size(); ++i) loop_.unwatch(events[i].fd(), *handlers[i]);
  }
  std::vector<event> events{10};
  std::vector<std::unique_ptr<io_function>> handlers;
  size_t readable = 0;
  std::vector<size_t> flushes;
};

TEST_F(cut_batches, deferred_tasks_do_not_wait_for_the_rest) {
  watch_all([this](size_t count) {
    if (count == 1 || count == events.size())
      loop_.defer([this] {
        flushes.push_back(readable);
        if (readable == events.size()) loop_.stop();
      });
    if (count == 3) loop_.cut_batch();
  });
  signal_all();
  run_to_the_end();
  EXPECT_EQ(flushes, (std::vector<size_t>{3, 10}));
}

TEST_F(cut_batches, are_not_made_by_what_a_task_took_in) {
  watch_all([this](size_t count) {
    if (count == 1)
      loop_.defer([this] {
        flushes.push_back(readable);
        loop_.stop();
      });
  });
  loop_.defer([this] {
    loop_.cut_batch();
    signal_all();
  });
  run_to_the_end();
  EXPECT_EQ(flushes, (std::vector<size_t>{10}));
}

class wake_ups : public loop_test, public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(with_and_without_asio, wake_ups, ::testing::Bool());

TEST_P(wake_ups, are_told_before_what_woke_the_loop_with_the_time_fresh) {
  if (GetParam()) loop_.context();
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
  std::vector<std::string> seen;
  base::time_point told_at{};
  loop_.on_wake([&] {
    if (seen.empty() || seen.back() != "woke") seen.emplace_back("woke");
    told_at = loop_.now();
  });
  io_function reader([&](io_ready) {
    char byte;
    if (::read(ends[0], &byte, 1) != 1) return;
    seen.emplace_back("read");
    EXPECT_EQ(told_at, loop_.now());
    EXPECT_LE(loop::monotonic_now() - told_at, std::chrono::seconds(1));
  });
  ASSERT_TRUE(loop_.watch(ends[0], reader));
  timer writes(loop_, [&] {
    seen.emplace_back("timer");
    EXPECT_EQ(::write(ends[1], "x", 1), 1);
  });
  timer ends_it(loop_, [&] { loop_.stop(); });
  writes.arm_after(std::chrono::milliseconds(5));
  ends_it.arm_after(std::chrono::milliseconds(40));
  run();
  loop_.unwatch(ends[0], reader);
  ::close(ends[0]);
  ::close(ends[1]);
  EXPECT_EQ(seen, (std::vector<std::string>{"woke", "timer", "woke", "read", "woke"}));
  seen.clear();
  loop_.on_wake({});
  run_posted();
  EXPECT_TRUE(seen.empty());
}

TEST_F(readiness, of_what_the_kernel_cannot_watch_is_refused) {
  event e;
  io_function handler([](io_ready) { ADD_FAILURE(); });
  FILE* const file = tmpfile();  // epoll takes no regular files
  EXPECT_FALSE(loop_.watch(fileno(file), handler));
  EXPECT_EQ(errno, EPERM);
  loop_.unwatch(fileno(file), handler);
  EXPECT_TRUE(loop_.watch(e.fd(), handler));
  EXPECT_FALSE(loop_.watch(e.fd(), handler));
  EXPECT_EQ(errno, EEXIST);
  loop_.unwatch(e.fd(), handler);
  fclose(file);
}

/// A loop's life in a process of its own: timers, tasks of another thread, events, sleep without end.
[[noreturn]] void live_without_epoll_pwait2(int error) {
  if (!forbid_call(SYS_epoll_pwait2, error)) std::_Exit(2);
  loop l;
  event e;
  int readable = 0;
  io_function handler([&](io_ready ready) { readable += ready.readable; });
  l.watch(e.fd(), handler);
  const auto start = loop::monotonic_now();
  bool on_time = false;
  timer t(l, [&] {
    on_time = loop::monotonic_now() - start >= 2ms;
    e.signal();
  });
  t.arm_at(start + 2ms);
  std::thread other([&] {
    // Asks until the loop, which has nothing else to wait for at last, has seen the event.
    for (bool done = false; !done;) {
      std::atomic<bool> ran{false};
      l.post([&] {
        done = readable == 1;
        ran = true;
        ran.notify_one();
      });
      ran.wait(false);
    }
    l.stop();
  });
  l.run();
  other.join();
  l.unwatch(e.fd(), handler);
  std::_Exit(on_time ? 0 : 1);
}

TEST(loop_death, does_not_come_of_a_kernel_without_epoll_pwait2) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(live_without_epoll_pwait2(ENOSYS), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(live_without_epoll_pwait2(EPERM), ::testing::ExitedWithCode(0), "");
}

/// A loop goes on without Asio's context when there is no room for it.
[[noreturn]] void live_without_asio(long refused_call) {
  loop l;
  event e;
  io_function handler([&](io_ready ready) {
    if (ready.readable) l.stop();
  });
  l.watch(e.fd(), handler);
  std::string fetched, resolved;
  l.post([&] {
    if (!forbid_call(refused_call, EMFILE)) std::_Exit(2);
    http_fetch(l, {.url = "http://127.0.0.1:1/"}, [](auto) { std::_Exit(3); })();
    http_fetch(l, {.url = "http://127.0.0.1:1/"},
               [&](const base::result<http_response>& r) { fetched = r ? "ok" : r.error().reason; });
    if (!fetched.empty()) std::_Exit(4);
    resolve(l, "localhost", 1, [&](const base::result<std::vector<base::endpoint>>& r) {
      resolved = r ? "ok" : r.error().reason;
      e.signal();
    });
  });
  l.run();
  l.unwatch(e.fd(), handler);
  std::_Exit(fetched == "no_descriptors" && resolved == "no_such_host" ? 0 : 1);
}

TEST(loop_death, does_not_come_of_no_descriptors_for_asio) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(live_without_asio(SYS_epoll_create1), ::testing::ExitedWithCode(0), "");
  EXPECT_EXIT(live_without_asio(SYS_epoll_ctl), ::testing::ExitedWithCode(0), "");
}

TEST(loop_death, of_an_epoll_that_fails_says_so) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        loop l;
        l.post([] { forbid_call(SYS_epoll_pwait2, EINVAL); });
        l.run();
      },
      "epoll_wait");
}

TEST(loop_death, of_a_handler_that_throws_names_the_exception) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        loop l;
        l.post([] { throw std::runtime_error("a bug of ours"); });
        l.run();
      },
      "a bug of ours");
}

}  // namespace
}  // namespace sluice::runtime
