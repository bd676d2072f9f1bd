#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <utility>

namespace sluice::base {

/// A queue in one block of memory: append at the back, take at the front, index in between. Unlike std::deque it holds
/// no memory until used, and gives a large block back when it becomes empty. T must be default-constructible and
/// movable; a taken element is reset to T{}.
template <typename T>
class ring {
 public:
  bool empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return items_[(head_ + i) & mask()]; }
  const T& operator[](size_t i) const { return items_[(head_ + i) & mask()]; }
  const T& front() const { return (*this)[0]; }
  const T& back() const { return (*this)[size_ - 1]; }

  void push_back(T item) {
    if (size_ == capacity_) grow();
    items_[(head_ + size_) & mask()] = std::move(item);
    ++size_;
  }
  void pop_front() {
    items_[head_] = T{};
    head_ = (head_ + 1) & mask();
    if (--size_ == 0 && capacity_ > kept_max) clear();
  }
  void clear() {
    items_.reset();
    head_ = size_ = capacity_ = 0;
  }

 private:
  static constexpr size_t first = 4, kept_max = 8;
  size_t mask() const { return capacity_ - 1; }
  void grow() {
    const size_t capacity = capacity_ ? capacity_ * 2 : first;
    auto items = std::make_unique<T[]>(capacity);
    for (size_t i = 0; i < size_; ++i) items[i] = std::move((*this)[i]);
    items_ = std::move(items);
    capacity_ = capacity;
    head_ = 0;
  }

  std::unique_ptr<T[]> items_;
  size_t head_ = 0, size_ = 0, capacity_ = 0;
};

}  // namespace sluice::base
