#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/time.hpp"

namespace sluice::sim {

using base::duration;
using base::time_point;
using namespace std::chrono_literals;

/// A move-only callable kept in place: a schedule makes tens of thousands of events, most of them carry a packet.
template <size_t bytes_max>
class callback_of {
 public:
  callback_of() = default;
  template <typename F>
    requires(!std::is_same_v<std::decay_t<F>, callback_of>)
  callback_of(F&& f) {  // NOLINT: converts implicitly, as std::function does
    using held = std::decay_t<F>;
    static_assert(sizeof(held) <= bytes_max && alignof(held) <= alignof(std::max_align_t));
    static_assert(std::is_nothrow_move_constructible_v<held>);
    new (storage_) held(std::forward<F>(f));
    static constexpr operations table = {
        [](void* at) { (*static_cast<held*>(at))(); },
        [](void* to, void* from) {
          new (to) held(std::move(*static_cast<held*>(from)));
          static_cast<held*>(from)->~held();
        },
        [](void* at) { static_cast<held*>(at)->~held(); },
    };
    does_ = &table;
  }
  callback_of(callback_of&& other) noexcept { take(other); }
  callback_of& operator=(callback_of&& other) noexcept {
    if (this != &other) {
      reset();
      take(other);
    }
    return *this;
  }
  ~callback_of() { reset(); }

  void operator()() { does_->call(storage_); }

 private:
  struct operations {
    void (*call)(void*);
    void (*move)(void*, void*);
    void (*destroy)(void*);
  };
  void reset() {
    if (does_ != nullptr) std::exchange(does_, nullptr)->destroy(storage_);
  }
  void take(callback_of& other) {
    does_ = std::exchange(other.does_, nullptr);
    if (does_ != nullptr) does_->move(storage_, other.storage_);
  }

  alignas(std::max_align_t) std::byte storage_[bytes_max];
  const operations* does_ = nullptr;
};
using callback = callback_of<128>;
/// One that fits into another event.
using inner_callback = callback_of<80>;

class process;

/// Virtual time: events run in the order of (time, sequence), nothing else moves the clock.
class event_queue {
 public:
  explicit event_queue(time_point start) : now_(start) {}

  time_point now() const { return now_; }
  uint64_t events() const { return sequence_; }
  /// Runs `fn` at `when` (at once if that is past).
  void at(time_point when, callback fn) { add(when, nullptr, 0, std::move(fn)); }
  /// The same within a process, as it lives now: dropped if it has died by then, put off while it is paused.
  void at(time_point when, process& in, callback fn);
  /// Runs all events up to `until`, included.
  void run(time_point until);

 private:
  struct slot {
    callback fn;
    process* target = nullptr;
    uint32_t life = 0;
  };
  struct entry {
    time_point at;
    uint64_t sequence;
    uint32_t slot;
    bool operator<(const entry& other) const {  // std::push_heap keeps the greatest in front
      return at != other.at ? at > other.at : sequence > other.sequence;
    }
  };
  void add(time_point when, process* target, uint32_t life, callback fn);

  time_point now_;
  uint64_t sequence_ = 0;
  std::vector<entry> heap_;
  std::vector<slot> slots_;
  std::vector<uint32_t> free_;
};

/// Something with a process id: it can crash, be started again as another life, be stopped and go on.
class process {
 public:
  explicit process(event_queue& queue) : queue_(queue) {}
  virtual ~process() = default;
  process(const process&) = delete;
  process& operator=(const process&) = delete;

  bool up() const { return up_; }
  bool paused() const { return paused_; }
  bool running() const { return up_ && !paused_; }
  /// Counts its starts.
  uint32_t life() const { return life_; }
  time_point now() const { return queue_.now(); }
  /// When it last went on after a stop.
  time_point resumed_at() const { return resumed_at_; }

  /// Input from outside: handled now, or when a paused process goes on; lost if there is none.
  void input(callback fn);
  void at(time_point when, callback fn) { queue_.at(when, *this, std::move(fn)); }
  void after(duration d, callback fn) { at(now() + d, std::move(fn)); }
  void pause();
  void resume();

 protected:
  void begin_life();
  void end_life();
  /// Around all work that the process does.
  virtual void before_work() {}
  virtual void after_work() {}

 private:
  friend class event_queue;
  void work(callback& fn);

  event_queue& queue_;
  bool up_ = false;
  bool paused_ = false;
  uint32_t life_ = 0;
  time_point resumed_at_{};
  std::vector<callback> put_off_;
};

}  // namespace sluice::sim
