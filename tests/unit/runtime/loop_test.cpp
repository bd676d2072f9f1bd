#include "runtime/loop.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "loop_test_tools.hpp"

namespace sluice::runtime {
namespace {

using namespace std::chrono_literals;

using timers = loop_test;
using tasks = loop_test;

TEST_F(timers, fire_in_the_order_of_their_deadlines) {
  std::vector<int> fired;
  timer third(loop_, [&] {
    fired.push_back(3);
    loop_.stop();
  });
  timer first(loop_, [&] { fired.push_back(1); });
  timer second(loop_, [&] { fired.push_back(2); });
  timer second_too(loop_, [&] { fired.push_back(22); });
  const auto start = loop_.refresh();
  third.arm_at(start + 30ms);
  first.arm_at(start + 10ms);
  second.arm_at(start + 20ms);
  second_too.arm_at(start + 20ms);
  run();
  EXPECT_EQ(fired, (std::vector{1, 2, 22, 3}));
  EXPECT_GE(loop_.now(), start + 30ms);
  EXPECT_FALSE(first.armed());
}

TEST_F(timers, never_fire_early) {
  timer t(loop_, [&] { loop_.stop(); });
  const auto start = loop::monotonic_now();
  t.arm_after(3ms);
  run();
  EXPECT_GE(loop::monotonic_now() - start, 3ms);
}

TEST_F(timers, a_heap_of_many_stays_in_order_under_cancelling_and_rearming) {
  const auto start = loop_.refresh();
  std::vector<std::unique_ptr<timer>> all;
  std::vector<int> fired;
  std::vector<base::time_point> deadlines(500);
  for (int i = 0; i < 500; ++i) all.push_back(std::make_unique<timer>(loop_, [&fired, i] { fired.push_back(i); }));
  const auto at = [&](int i, int microseconds) {
    deadlines[static_cast<size_t>(i)] = start + std::chrono::microseconds(microseconds);
    all[static_cast<size_t>(i)]->arm_at(deadlines[static_cast<size_t>(i)]);
  };
  for (int i = 0; i < 500; ++i) at(i, i * 7919 % 20'000);
  for (int i = 0; i < 500; i += 3) at(i, i * 104'729 % 20'000);
  for (int i = 0; i < 500; i += 5) all[static_cast<size_t>(i)]->cancel();
  for (int i = 0; i < 500; i += 7) all[static_cast<size_t>(i)].reset();
  timer end(loop_, [&] { loop_.stop(); });
  end.arm_at(start + 25ms);
  run();
  size_t expected = 0;
  for (int i = 0; i < 500; ++i) expected += i % 5 != 0 && i % 7 != 0;
  EXPECT_EQ(fired.size(), expected);
  for (size_t i = 1; i < fired.size(); ++i) {
    EXPECT_LE(deadlines[static_cast<size_t>(fired[i - 1])], deadlines[static_cast<size_t>(fired[i])]);
  }
}

TEST_F(timers, may_be_cancelled_by_another_that_is_due_at_once) {
  bool fired = false;
  timer second(loop_, [&] { fired = true; });
  timer first(loop_, [&] { second.cancel(); });
  timer last(loop_, [&] { loop_.stop(); });
  const auto at = loop_.refresh();
  first.arm_at(at);
  second.arm_at(at);
  last.arm_at(at);
  run();
  EXPECT_FALSE(fired);
}

TEST_F(timers, rearmed_for_now_in_their_callback_do_not_starve_the_loop) {
  int rounds = 0;
  bool posted = false;
  std::optional<timer> t;
  t.emplace(loop_, [&] {
    if (++rounds == 1) loop_.post([&] { posted = true; });
    if (rounds == 100) return loop_.stop();
    t->arm_after(0ns);
  });
  t->arm_after(0ns);
  run();
  EXPECT_EQ(rounds, 100);
  EXPECT_TRUE(posted);
}

TEST_F(timers, that_take_longer_than_their_period_do_not_starve_sockets) {
  loop_.context();  // it sleeps in Asio's epoll set then
  const int fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  bool seen = false;
  io_function handler([&](io_ready ready) { seen |= ready.readable; });
  ASSERT_TRUE(loop_.watch(fd, handler));
  int rounds = 0;
  std::optional<timer> busy;
  busy.emplace(loop_, [&] {
    const uint64_t one = 1;
    if (++rounds == 3) ASSERT_EQ(::write(fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
    for (const auto end = loop::monotonic_now() + 2ms; loop::monotonic_now() < end;) {
    }
    if (seen || rounds == 100) return loop_.stop();
    busy->arm_after(200us);
  });
  busy->arm_after(200us);
  run();
  EXPECT_TRUE(seen);
  loop_.unwatch(fd, handler);
  ::close(fd);
}

TEST_F(timers, may_destroy_themselves) {
  auto token = std::make_shared<int>(1);
  std::weak_ptr<int> watch = token;
  std::unique_ptr<timer> t;
  t = std::make_unique<timer>(loop_, [&, token = std::move(token)] {
    t.reset();
    EXPECT_EQ(*token, 1);  // what the callback holds outlives its timer
    loop_.stop();
  });
  t->arm_after(1ms);
  run();
  EXPECT_TRUE(watch.expired());
}

TEST_F(timers, at_never_are_not_armed) {
  timer t(loop_, [] { ADD_FAILURE(); });
  t.arm_after(1ms);
  t.arm_at(base::never);
  EXPECT_FALSE(t.armed());
  t.arm_after(base::duration::max());
  EXPECT_FALSE(t.armed());
  run_posted();
}

TEST_F(tasks, posted_by_many_threads_all_run_in_the_order_of_each_thread) {
  constexpr int threads = 4, each = 5000;
  std::array<std::vector<int>, threads> seen;
  int finished = 0;
  std::vector<std::thread> posters;
  for (int t = 0; t < threads; ++t) {
    posters.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        loop_.post([&, t, i] {
          seen[static_cast<size_t>(t)].push_back(i);
          if (i == each - 1 && ++finished == threads) loop_.stop();
        });
      }
    });
  }
  run();
  for (auto& p : posters) p.join();
  for (const auto& s : seen) {
    ASSERT_EQ(s.size(), each);
    EXPECT_TRUE(std::is_sorted(s.begin(), s.end()));
  }
}

TEST_F(tasks, that_came_while_the_loop_was_held_up_run_before_the_timers_that_are_due) {
  std::vector<int> ran;
  timer deadline(loop_, [&] {
    ran.push_back(2);
    loop_.stop();
  });
  timer stall(loop_, [&] {
    const auto due = loop_.now() + 1ms;  // not in this turn, however late that is
    deadline.arm_at(due);
    std::jthread([&] { loop_.post([&] { ran.push_back(1); }); }).join();
    while (loop::monotonic_now() < due) std::this_thread::sleep_for(1ms);
  });
  stall.arm_after(1ms);
  run();
  EXPECT_EQ(ran, (std::vector{1, 2}));
}

TEST_F(tasks, posted_to_a_sleeping_loop_wake_it_each_time) {
  loop other;
  std::thread thread([&] { other.run(); });
  int trips = 0;
  std::function<void()> ping = [&] {
    other.post([&] {
      loop_.post([&] {
        if (++trips == 1000) return loop_.stop();
        ping();
      });
    });
  };
  ping();
  run();
  other.stop();
  thread.join();
  EXPECT_EQ(trips, 1000);
}

TEST_F(tasks, of_a_loop_that_ended_are_destroyed_unrun) {
  auto token = std::make_shared<int>();
  std::weak_ptr<int> watch = token;
  {
    loop l;
    l.post([token] { ADD_FAILURE(); });
    l.defer([token] { ADD_FAILURE(); });
    token.reset();
    EXPECT_FALSE(watch.expired());
  }
  EXPECT_TRUE(watch.expired());
}

TEST_F(tasks, stop_before_run_is_not_lost) {
  loop_.stop();
  run();
}

TEST_F(tasks, deferred_run_after_the_batch_and_once_a_round) {
  std::vector<std::string> order;
  loop_.post([&] {
    loop_.defer([&] {
      order.push_back("deferred");
      loop_.defer([&] {
        order.push_back("deferred again");
        loop_.stop();
      });
      loop_.post([&] { order.push_back("posted later"); });
    });
    order.push_back("first");
  });
  loop_.post([&] { order.push_back("second"); });
  run();
  EXPECT_EQ(order, (std::vector<std::string>{"first", "second", "deferred", "posted later", "deferred again"}));
}

TEST_F(tasks, deferred_for_ever_let_events_through) {
  int rounds = 0;
  std::function<void()> again = [&] {
    ++rounds;
    loop_.defer(again);
  };
  loop_.defer(again);
  timer t(loop_, [&] { loop_.stop(); });
  t.arm_after(2ms);
  run();
  EXPECT_GT(rounds, 1);
}

}  // namespace
}  // namespace sluice::runtime
