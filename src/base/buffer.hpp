#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace sluice::base {

using bytes_view = std::span<const uint8_t>;

inline bytes_view as_bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(bytes_view bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A counted reference to one heap block of bytes. Copying costs one relaxed atomic increment. Whoever allocated the
/// block may write it until the first copy is handed on; from then on its bytes are immutable.
class block_ref {
 public:
  block_ref() = default;
  /// A block of at least `capacity` uninitialised bytes, from the thread's pool of free blocks if it has one; throws
  /// std::bad_alloc.
  static block_ref allocate(size_t capacity);

  block_ref(const block_ref& other) noexcept : head_(other.head_) {
    if (head_) head_->count.fetch_add(1, std::memory_order_relaxed);
  }
  block_ref(block_ref&& other) noexcept : head_(std::exchange(other.head_, nullptr)) {}
  block_ref& operator=(block_ref other) noexcept {
    std::swap(head_, other.head_);
    return *this;
  }
  ~block_ref() {
    if (head_ && head_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) release(head_);
  }

  explicit operator bool() const { return head_ != nullptr; }
  uint8_t* data() const { return reinterpret_cast<uint8_t*>(head_ + 1); }
  size_t capacity() const { return head_ ? head_->capacity : 0; }
  /// True if this is the only reference, so the bytes may still be written.
  bool unique() const { return head_ && head_->count.load(std::memory_order_acquire) == 1; }

 private:
  struct header {
    std::atomic<uint32_t> count;
    uint32_t capacity;
  };
  static void release(header* head) noexcept;
  header* head_ = nullptr;
};

/// A view of part of a block that keeps the block alive. 16 bytes + nothing on the heap of its own.
class slice {
 public:
  slice() = default;
  slice(block_ref block, uint32_t offset, uint32_t size) : block_(std::move(block)), offset_(offset), size_(size) {}
  /// A copy of `bytes` in a block of its own, with `headroom` writable bytes in front.
  static slice copy_of(bytes_view bytes, size_t headroom = 0);

  const uint8_t* data() const { return block_ ? block_.data() + offset_ : nullptr; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bytes_view view() const { return {data(), size_}; }
  /// Bytes of the block in front of this slice. Only the part of the program that owns the message may write them.
  size_t headroom() const { return offset_; }
  uint8_t* headroom_end() const { return block_.data() + offset_; }
  const block_ref& block() const { return block_; }
  /// The same block from `offset` on, `count` bytes at most.
  slice sub(size_t offset, size_t count = SIZE_MAX) const;

 private:
  block_ref block_;
  uint32_t offset_ = 0;
  uint32_t size_ = 0;
};

}  // namespace sluice::base
