#include "base/buffer.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <new>

namespace sluice::base {

namespace {

// Media allocates and frees blocks of like sizes at a high rate, and malloc's arenas of secondary threads give memory back to the kernel and
// take it again. So each thread keeps some free blocks, by size class: four classes to each power of two (at most a quarter is
// wasted), from 64 bytes to 256 KiB.
constexpr unsigned smallest_shift = 6, largest_shift = 18, steps = 4;
constexpr size_t class_count = (largest_shift - smallest_shift) * steps + 1;
constexpr size_t pooled_bytes_max = 4u << 20;  // per thread

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLUICE_NO_BLOCK_POOL  // reuse would hide what the sanitizers look for
#endif
#endif

#ifdef SLUICE_NO_BLOCK_POOL
constexpr bool pooling = false;
#else
constexpr bool pooling = true;
#endif

struct size_class {
  size_t index, bytes;
};

// The smallest class that holds `bytes`; index class_count if none does.
size_class class_of(size_t bytes) {
  if (bytes <= (size_t{1} << smallest_shift)) return {0, size_t{1} << smallest_shift};
  const auto shift = static_cast<unsigned>(std::bit_width(bytes - 1)) - 1;
  if (shift >= largest_shift) return {class_count, bytes};
  const size_t step = (size_t{1} << shift) / steps;
  const size_t step_index = (bytes - 1 - (size_t{1} << shift)) / step;
  return {(shift - smallest_shift) * steps + step_index + 1, (size_t{1} << shift) + (step_index + 1) * step};
}

struct free_block {
  free_block* next;
};

thread_local bool pool_is_gone = false;  // blocks may be released after their thread's pool was destroyed

struct block_pool {
  std::array<free_block*, class_count> heads{};
  size_t bytes = 0;
  ~block_pool() {
    pool_is_gone = true;
    for (free_block* head : heads)
      while (head) std::free(std::exchange(head, head->next));
  }
};

thread_local block_pool pool;

void* take(const size_class& c) {
  if (!pooling || c.index >= class_count || pool_is_gone || !pool.heads[c.index]) return nullptr;
  pool.bytes -= c.bytes;
  return std::exchange(pool.heads[c.index], pool.heads[c.index]->next);
}

bool give_back(void* memory, const size_class& c) {
  if (!pooling || c.index >= class_count || pool_is_gone || pool.bytes + c.bytes > pooled_bytes_max) return false;
  pool.bytes += c.bytes;
  pool.heads[c.index] = new (memory) free_block{pool.heads[c.index]};
  return true;
}

}  // namespace

block_ref block_ref::allocate(size_t capacity) {
  const auto c = class_of(sizeof(header) + capacity);
  if (c.bytes > UINT32_MAX) throw std::bad_alloc();
  void* memory = take(c);
  if (!memory) memory = std::malloc(c.bytes);
  if (!memory) throw std::bad_alloc();
  block_ref ref;
  ref.head_ = new (memory) header{1, static_cast<uint32_t>(capacity)};
  return ref;
}

void block_ref::release(header* head) noexcept {
  const auto c = class_of(sizeof(header) + head->capacity);
  head->~header();
  if (!give_back(head, c)) std::free(head);
}

slice slice::copy_of(bytes_view bytes, size_t headroom) {
  auto block = block_ref::allocate(headroom + bytes.size());
  if (!bytes.empty()) std::memcpy(block.data() + headroom, bytes.data(), bytes.size());
  return {std::move(block), static_cast<uint32_t>(headroom), static_cast<uint32_t>(bytes.size())};
}

slice slice::sub(size_t offset, size_t count) const {
  offset = std::min<size_t>(offset, size_);
  count = std::min<size_t>(count, size_ - offset);
  return {block_, static_cast<uint32_t>(offset_ + offset), static_cast<uint32_t>(count)};
}

}  // namespace sluice::base
