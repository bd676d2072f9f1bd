#include "runtime/loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

namespace sluice::runtime {

namespace asio = boost::asio;

namespace {

/// Small batches: what they read is sent on while it is in the cache, and few blocks are alive at once.
constexpr int batch_events_max = 16;
/// While sockets are busy the loop sleeps in its own epoll set, one system call a wake-up; Asio's handlers (HTTP's
/// client, resolver) get their turn this often, and after each batch while they have been at work within this time.
constexpr auto asio_turn_interval = std::chrono::milliseconds(5);
constexpr base::duration rate_window = std::chrono::milliseconds(10);
constexpr long busy_events_per_window = 50;  // 5,000 a second
constexpr int gather_below = batch_events_max / 2;
constexpr base::duration gather_pause = std::chrono::microseconds(200);
constexpr uint64_t wake_key = UINT64_MAX;

[[noreturn]] void fail_errno(const char* what) { throw std::system_error(errno, std::generic_category(), what); }

/// Kernels before 5.11, and seccomp profiles that do not know the call, have no epoll_pwait2.
bool has_epoll_pwait2(int epoll_fd) {
  epoll_event event;
  const timespec at_once{};
  if (epoll_pwait2(epoll_fd, &event, 1, &at_once, nullptr) >= 0 || errno == EINTR) return true;
  if (errno != ENOSYS && errno != EPERM) fail_errno("epoll_pwait2");
  return false;
}

/// Waits for events, `wait` at most, or without end if it is negative. Never returns before its time for want of
/// precision: a timer would find itself not due.
int wait_for_events(int epoll_fd, epoll_event* events, int count, base::duration wait, bool precise) {
  if (precise) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
    const timespec timeout{static_cast<time_t>(seconds.count()), static_cast<long>((wait - seconds).count())};
    return epoll_pwait2(epoll_fd, events, count, wait < wait.zero() ? nullptr : &timeout, nullptr);
  }
  constexpr int64_t day_ms = 24 * 3600 * 1000;
  const auto ms = std::min<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(wait).count(), day_ms);
  return epoll_wait(epoll_fd, events, count, wait < wait.zero() ? -1 : static_cast<int>(ms));
}

}  // namespace

struct loop::impl {
  struct watched {
    io_handler* handler = nullptr;
    uint32_t generation = 0;
  };
  struct entry {
    base::time_point when;
    uint64_t sequence;  // equal deadlines fire in the order of arming
    timer* owner;
    bool before(const entry& other) const { return when != other.when ? when < other.when : sequence < other.sequence; }
  };
  using tasks = std::vector<std::function<void()>>;

  explicit impl(loop& l) : owner(l) {
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) fail_errno("epoll_create1");
    precise_waits = has_epoll_pwait2(epoll_fd);
    wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0) fail_errno("eventfd");
    epoll_event event{EPOLLIN | EPOLLET, {.u64 = wake_key}};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &event) != 0) fail_errno("epoll_ctl");
  }

  /// Asio is only there on loops that use it: a shard that carries media sleeps in its own epoll set alone.
  asio::io_context& use_asio() {
    if (!context) {
      try {
        context.emplace(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO);
        guard.emplace(context->get_executor());
        nested.emplace(*context, epoll_fd);
        arm_nested();
      } catch (...) {
        drop_asio();  // a context that does not wait for our own set would make the loop blind
        throw;
      }
    }
    note_asio();
    return *context;
  }
  void drop_asio() {
    if (nested) nested->release();
    nested.reset();
    guard.reset();
    context.reset();
  }

  ~impl() {
    // Tasks and handlers may own timers and watched sockets: the heap and the table outlive them.
    destroy_tasks();
    drop_asio();
    destroy_tasks();
    close(wake_fd);
    close(epoll_fd);
  }

  void destroy_tasks() {
    for (;;) {
      tasks dead;
      {
        std::lock_guard lock(post_mutex);
        dead.swap(posted);
      }
      if (dead.empty()) dead.swap(deferred);
      if (dead.empty()) return;
    }
  }

  // ---- the timer heap
  void place(size_t index, const entry& e) {
    heap[index] = e;
    e.owner->index_ = index;
  }
  void sift_up(size_t index) {
    const entry moving = heap[index];
    while (index > 0) {
      const size_t parent = (index - 1) / 2;
      if (!moving.before(heap[parent])) break;
      place(index, heap[parent]);
      index = parent;
    }
    place(index, moving);
  }
  void sift_down(size_t index) {
    const entry moving = heap[index];
    for (;;) {
      size_t child = 2 * index + 1;
      if (child >= heap.size()) break;
      if (child + 1 < heap.size() && heap[child + 1].before(heap[child])) ++child;
      if (!heap[child].before(moving)) break;
      place(index, heap[child]);
      index = child;
    }
    place(index, moving);
  }
  void arm(timer& t, base::time_point when) {
    const entry e{when, next_sequence++, &t};
    if (t.index_ == SIZE_MAX) {
      heap.push_back(e);
      t.index_ = heap.size() - 1;
    } else {
      heap[t.index_] = e;
    }
    sift_up(t.index_);
    sift_down(t.index_);
  }
  void disarm(timer& t) {
    const size_t index = t.index_;
    t.index_ = SIZE_MAX;
    const entry last = heap.back();
    heap.pop_back();
    if (index == heap.size()) return;
    place(index, last);
    sift_up(index);
    sift_down(last.owner->index_);
  }
  /// Fires what is due; a timer re-armed for now from its own callback waits for the next round.
  void fire_due() {
    for (size_t budget = heap.size(); budget > 0 && !heap.empty() && heap.front().when <= owner.now_; --budget) {
      timer& t = *heap.front().owner;
      disarm(t);
      t.when_ = base::never;
      // The callback may destroy its timer, and must outlive itself then.
      std::function<void()> fire = std::move(t.fire_);
      firing = &t;
      fire();
      if (firing == &t) t.fire_ = std::move(fire);
      firing = nullptr;
    }
  }

  // ---- tasks
  bool on_own_thread() const { return thread.load(std::memory_order_relaxed) == std::this_thread::get_id(); }
  void wake() {
    // Never read: an edge-triggered eventfd reports each write.
    const uint64_t one = 1;
    while (::write(wake_fd, &one, sizeof one) < 0 && errno == EINTR) {
    }
  }
  void run_posted() {
    if (!has_posted.load(std::memory_order_acquire)) return;
    tasks batch;
    {
      std::lock_guard lock(post_mutex);
      batch.swap(posted);
      has_posted.store(false, std::memory_order_relaxed);
    }
    for (auto& task : batch) std::exchange(task, nullptr)();
  }
  void run_deferred() {
    if (deferred.empty()) return;
    tasks batch;
    batch.swap(deferred);
    for (auto& task : batch) std::exchange(task, nullptr)();
    batch.clear();
    if (deferred.empty()) deferred.swap(batch);  // keeps the allocation
  }
  bool must_not_sleep() const { return !deferred.empty() || has_posted.load(std::memory_order_acquire); }
  // A thread that was held up hears what came meanwhile before it judges that time is over.
  void after_batch() {
    run_posted();
    fire_due();
    run_deferred();
  }

  // ---- readiness
  void note_asio() { asio_busy_until = owner.now_ + asio_turn_interval; }
  void arm_nested() {
    nested->async_wait(asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
      if (error) return;
      take_batches();
      arm_nested();  // asks anew: events that are left over make it ready at once
    });
  }
  void take_batches() {
    nested_ran = true;
    const auto asio_due = owner.refresh() + asio_turn_interval;
    take_batch(owner.now_);
    while (owner.now_ >= asio_busy_until && owner.now_ < asio_due && !stopping.load(std::memory_order_relaxed))
      take_batch(asio_due);
  }
  /// One batch of events; sleeps for the first of them until `until` or the next timer, at most.
  void take_batch(base::time_point until) {
    if (!heap.empty()) until = std::min(until, heap.front().when);
    if (must_not_sleep()) until = owner.now_;
    if (until > owner.now_ + gather_pause) gather();
    const auto wait = until == base::never ? base::duration(-1) : std::max(until - owner.now_, base::duration::zero());
    std::array<epoll_event, batch_events_max> events;
    const int count = wait_for_events(epoll_fd, events.data(), batch_events_max, wait, precise_waits);
    // Without events the loop would spin, deaf also to signals: better an end that says why.
    if (count < 0 && errno != EINTR) fail_errno("epoll_wait");
    woke();
    for (int i = 0; i < count; ++i) {
      batch_cut = false;
      dispatch(events[static_cast<size_t>(i)]);
      if (batch_cut) run_deferred();
    }
    note_rate(count);
    after_batch();
  }

  // At thousands of events a second, one by one, most of the CPU goes into falling asleep and waking up. As network
  // cards moderate their interrupts, the loop then waits for a moment, so that a wake-up finds several: only above a
  // rate at which messages stand in line anyway, and never when a batch was large or a task waits.
  void note_rate(int count) {
    last_batch = count;
    rate_events += std::max(count, 0);
    const auto elapsed = owner.now_ - rate_since;
    if (elapsed < rate_window) return;
    busy = rate_events * rate_window / elapsed >= busy_events_per_window;
    rate_since = owner.now_;
    rate_events = 0;
  }
  void gather() {
    if (!busy || last_batch > gather_below) return;
    constexpr timespec pause{0, gather_pause.count()};
    ::nanosleep(&pause, nullptr);
    owner.refresh();
  }
  void dispatch(const epoll_event& event) {
    if (event.data.u64 == wake_key) return;
    const size_t fd = event.data.u64 & UINT32_MAX;
    // Looked up for each event: a handler called before may have unwatched this descriptor, or reused its number.
    const watched& w = watches[fd];
    if (!w.handler || w.generation != event.data.u64 >> 32) return;
    w.handler->on_io({.readable = (event.events & EPOLLIN) != 0,
                      .writable = (event.events & EPOLLOUT) != 0,
                      .hangup = (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0});
  }

  /// One turn of the loop. What a handler throws is a bug of ours: noexcept ends the process with the exception's
  /// message and the stack where it was thrown.
  void turn() noexcept {
    if (!context) return take_batch(base::never);
    owner.refresh();  // what ran since the loop woke up took its time
    // A deadline that is as good as here: run_one_until() would return without a look at the sockets.
    const bool due = !heap.empty() && heap.front().when <= owner.now_ + std::chrono::microseconds(20);
    nested_ran = false;
    size_t ran = 0;
    if (due || must_not_sleep()) {
      ran = context->poll_one();
    } else if (heap.empty()) {
      ran = context->run_one();
    } else {
      // The timeout goes into Asio's epoll_wait: timers cost no system call. It is rounded up to milliseconds.
      ran = context->run_one_until(std::chrono::steady_clock::time_point(heap.front().when.time_since_epoch()));
    }
    woke();
    if (ran > 0 && !nested_ran) note_asio();
    after_batch();
  }
  void woke() {
    owner.refresh();
    if (on_wake) on_wake();
  }

  loop& owner;
  int epoll_fd = -1;
  int wake_fd = -1;
  bool precise_waits = true;
  std::vector<watched> watches;  // by descriptor
  uint32_t next_generation = 1;
  std::vector<entry> heap;
  uint64_t next_sequence = 0;
  base::time_point rate_since{};
  long rate_events = 0;
  int last_batch = 0;
  bool busy = false;
  timer* firing = nullptr;
  std::function<void()> on_wake;
  tasks deferred;
  bool batch_cut = false;
  std::mutex post_mutex;
  tasks posted;  // guarded by post_mutex
  std::atomic<bool> has_posted{false};
  std::atomic<bool> stopping{false};
  std::atomic<std::thread::id> thread{};
  bool nested_ran = false;             // the handler of Asio's that ran last was ours
  base::time_point asio_busy_until{};  // it has, or is about to have, handlers of others
  std::optional<asio::io_context> context;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> guard;
  std::optional<asio::posix::basic_stream_descriptor<asio::io_context::executor_type>> nested;
};

loop::loop()
    : impl_(std::make_unique<impl>(*this)), read_buffer_(new uint8_t[read_buffer_size]), now_(monotonic_now()) {
  ::signal(SIGPIPE, SIG_IGN);  // sendfile() has no MSG_NOSIGNAL
}

loop::~loop() = default;

base::time_point loop::monotonic_now() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return base::time_point(std::chrono::seconds(ts.tv_sec) + std::chrono::nanoseconds(ts.tv_nsec));
}

base::time_point loop::refresh() { return now_ = monotonic_now(); }

void loop::post(std::function<void()> task) {
  bool first;
  {
    std::lock_guard lock(impl_->post_mutex);
    first = impl_->posted.empty();
    impl_->posted.push_back(std::move(task));
    impl_->has_posted.store(true, std::memory_order_release);
  }
  // The loop's own thread looks at the queue before it sleeps.
  if (first && !impl_->on_own_thread()) impl_->wake();
}

void loop::defer(std::function<void()> task) { impl_->deferred.push_back(std::move(task)); }

void loop::cut_batch() { impl_->batch_cut = true; }

bool loop::watch(int fd, io_handler& handler) {
  const auto index = static_cast<size_t>(fd);
  if (index >= impl_->watches.size()) impl_->watches.resize(std::max(index + 1, impl_->watches.size() * 2));
  const uint32_t generation = impl_->next_generation++;
  epoll_event event{EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                    {.u64 = static_cast<uint64_t>(generation) << 32 | static_cast<uint32_t>(fd)}};
  if (epoll_ctl(impl_->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  impl_->watches[index] = {&handler, generation};
  return true;
}

void loop::unwatch(int fd, io_handler& handler) {
  const auto index = static_cast<size_t>(fd);
  if (fd < 0 || index >= impl_->watches.size() || impl_->watches[index].handler != &handler) return;
  impl_->watches[index].handler = nullptr;
  epoll_ctl(impl_->epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
}

void loop::on_wake(std::function<void()> f) { impl_->on_wake = std::move(f); }

void loop::run() {
  impl_->thread.store(std::this_thread::get_id(), std::memory_order_relaxed);
  refresh();
  while (!impl_->stopping.load(std::memory_order_acquire)) impl_->turn();
  impl_->stopping.store(false, std::memory_order_relaxed);
  impl_->thread.store(std::thread::id(), std::memory_order_relaxed);
}

void loop::stop() {
  impl_->stopping.store(true, std::memory_order_release);
  impl_->wake();
}

boost::asio::io_context& loop::context() { return impl_->use_asio(); }

timer::timer(loop& l, std::function<void()> fire) : loop_(l), fire_(std::move(fire)) {}

timer::~timer() {
  cancel();
  if (loop_.impl_->firing == this) loop_.impl_->firing = nullptr;
}

void timer::arm_at(base::time_point when) {
  if (when == base::never) return cancel();
  when_ = when;
  loop_.impl_->arm(*this, when);
}

void timer::arm_after(base::duration delay) {
  // Outside run() nobody keeps now() fresh.
  const base::time_point now = loop_.impl_->on_own_thread() ? loop_.now() : loop_.refresh();
  arm_at(delay > base::never - now ? base::never : now + delay);
}

void timer::cancel() {
  when_ = base::never;
  if (armed()) loop_.impl_->disarm(*this);
}

}  // namespace sluice::runtime
