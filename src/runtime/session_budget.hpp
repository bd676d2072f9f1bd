#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace sluice::runtime {

/// How many sessions of clients the process takes at once, of all protocols and on all threads. A session has a
/// session_place from its admission to its end; nothing in between looks at this. Any thread.
class session_budget {
 public:
  /// `max`: 0 means no limit.
  explicit session_budget(size_t max) : max_(max == 0 ? SIZE_MAX : max) {}
  size_t max() const { return max_; }
  size_t taken() const { return taken_.load(std::memory_order_relaxed); }
  bool full() const { return taken() >= max_; }

 private:
  friend class session_place;
  bool take() {
    if (taken_.fetch_add(1, std::memory_order_relaxed) < max_) return true;
    give();
    return false;
  }
  void take_beyond() { taken_.fetch_add(1, std::memory_order_relaxed); }
  void give() { taken_.fetch_sub(1, std::memory_order_relaxed); }

  const size_t max_;
  std::atomic<size_t> taken_{0};
};

/// One of a budget, given back when this is destroyed, or before. The budget outlives it.
class session_place {
 public:
  session_place() = default;  ///< none
  /// Not held if there is none left. Without a budget there is always one.
  static session_place take(session_budget* from) { return {from, from == nullptr || from->take()}; }
  /// Held even if there is none left: of a session that has been admitted already.
  static session_place take_beyond(session_budget* from) {
    if (from != nullptr) from->take_beyond();
    return {from, true};
  }
  session_place(session_place&& other) noexcept : from_(other.from_), held_(std::exchange(other.held_, false)) {}
  session_place& operator=(session_place&& other) noexcept {
    give_back();
    from_ = other.from_;
    held_ = std::exchange(other.held_, false);
    return *this;
  }
  ~session_place() { give_back(); }

  bool held() const { return held_; }
  void give_back() {
    if (std::exchange(held_, false) && from_ != nullptr) from_->give();
  }

 private:
  session_place(session_budget* from, bool held) : from_(from), held_(held) {}
  session_budget* from_ = nullptr;
  bool held_ = false;
};

}  // namespace sluice::runtime
