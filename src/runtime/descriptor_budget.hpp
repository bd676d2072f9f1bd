#pragma once

#include <atomic>
#include <cstddef>

namespace sluice::runtime {

/// How many more sockets the process may open, so that new work is refused before the kernel refuses old work's. Any
/// thread.
class descriptor_budget {
 public:
  explicit descriptor_budget(size_t available) : left_(static_cast<long>(available)) {}
  /// Takes one; false if none is left.
  bool take() {
    if (left_.fetch_sub(1, std::memory_order_relaxed) > 0) return true;
    give();
    return false;
  }
  void give() { left_.fetch_add(1, std::memory_order_relaxed); }
  long left() const { return left_.load(std::memory_order_relaxed); }

 private:
  std::atomic<long> left_;
};

}  // namespace sluice::runtime
