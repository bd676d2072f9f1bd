#include "base/buffer.hpp"

#include <algorithm>
#include <new>

#include "base/block_pool.hpp"

namespace sluice::base {

block_ref block_ref::allocate(size_t capacity) {
  if (capacity > UINT32_MAX - sizeof(header)) throw std::bad_alloc();
  void* const memory = allocate_block(sizeof(header) + capacity);
  if (!memory) throw std::bad_alloc();
  block_ref ref;
  ref.head_ = new (memory) header{1, static_cast<uint32_t>(capacity)};
  return ref;
}

void block_ref::release(header* head) noexcept {
  const size_t bytes = sizeof(header) + head->capacity;
  head->~header();
  release_block(head, bytes);
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
