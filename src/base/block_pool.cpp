#include "base/block_pool.hpp"

#include <sys/mman.h>

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace sluice::base {
namespace {

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SLUICE_NO_BLOCK_POOL
#endif
#endif

#ifdef SLUICE_NO_BLOCK_POOL
constexpr bool pooling = false;
#else
constexpr bool pooling = true;
#endif

constexpr unsigned smallest_shift = 7, largest_shift = 16, steps = 4;
constexpr size_t class_count = (largest_shift - smallest_shift) * steps;
constexpr size_t slab_bytes = size_t{1} << 17;
constexpr size_t spare_slabs_max = 16;  // per thread

struct size_class {
  size_t index, bytes;
};

bool is_pooled(size_t bytes) {
  return pooling && bytes > (size_t{1} << smallest_shift) && bytes <= (size_t{1} << largest_shift);
}

size_class class_of(size_t bytes) {
  const auto shift = static_cast<unsigned>(std::bit_width(bytes - 1)) - 1;
  const size_t step = (size_t{1} << shift) / steps;
  const size_t index = (bytes - 1 - (size_t{1} << shift)) / step;
  return {(shift - smallest_shift) * steps + index, (size_t{1} << shift) + (index + 1) * step};
}

struct free_block {
  free_block* next;
};

class block_pool;

/// At the start of its 128 KiB.
struct alignas(64) slab {
  block_pool* owner;
  slab *previous, *next;  // in the list of its class's slabs with room, or of spare ones
  free_block* free;       // blocks that came back
  uint32_t block_bytes;
  uint32_t class_index;
  uint32_t fresh;  // offset of the part never used
  uint32_t used;   // blocks out

  bool has_room() const { return free || fresh + block_bytes <= slab_bytes; }
};

slab* slab_of(void* memory) { return reinterpret_cast<slab*>(reinterpret_cast<uintptr_t>(memory) & ~(slab_bytes - 1)); }

void* map_aligned() {
  // Twice the size holds an aligned half; the rest goes back at once.
  void* const mapped =
      mmap(nullptr, 2 * slab_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto begin = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t at = (begin + slab_bytes - 1) & ~(slab_bytes - 1);
  if (at > begin) munmap(mapped, at - begin);
  munmap(reinterpret_cast<void*>(at + slab_bytes), begin + slab_bytes - at);
  return reinterpret_cast<void*>(at);
}

/// The slabs of one thread.
class block_pool {
 public:
  void* allocate(const size_class& c) {
    if (remote_.load(std::memory_order_relaxed)) take_remote();
    slab* s = roomy_[c.index];
    if (!s) {
      s = new_slab(c);
      if (!s) return nullptr;
      link(roomy_[c.index], s);
    }
    void* memory;
    if (s->free) {
      memory = std::exchange(s->free, s->free->next);
    } else {
      memory = reinterpret_cast<uint8_t*>(s) + s->fresh;
      s->fresh += s->block_bytes;
    }
    ++s->used;
    if (!s->has_room()) unlink(roomy_[c.index], s);
    return memory;
  }

  /// By the owner's thread.
  void release(void* memory, slab* s) {
    if (!s->has_room()) link(roomy_[s->class_index], s);
    s->free = new (memory) free_block{s->free};
    if (--s->used > 0) return;
    unlink(roomy_[s->class_index], s);
    --slabs_;
    if (spares_ < spare_slabs_max) {
      ++spares_;
      link(spare_, s);
    } else {
      munmap(s, slab_bytes);
    }
  }

  /// By any other thread.
  void release_remote(void* memory) {
    auto* const b = static_cast<free_block*>(memory);
    b->next = remote_.load(std::memory_order_relaxed);
    while (!remote_.compare_exchange_weak(b->next, b, std::memory_order_release, std::memory_order_relaxed)) {
    }
  }

  /// True if nobody holds a block any more: it may be destroyed.
  bool clear() {
    take_remote();
    while (spare_) {
      slab* const s = spare_;
      unlink(spare_, s);
      munmap(s, slab_bytes);
    }
    return slabs_ == 0;
  }

 private:
  slab* new_slab(const size_class& c) {
    void* memory = spare_;
    if (spare_) {
      unlink(spare_, spare_);
      --spares_;
    } else {
      memory = map_aligned();
      if (!memory) return nullptr;
    }
    ++slabs_;
    return new (memory) slab{.owner = this,
                             .previous = nullptr,
                             .next = nullptr,
                             .free = nullptr,
                             .block_bytes = static_cast<uint32_t>(c.bytes),
                             .class_index = static_cast<uint32_t>(c.index),
                             .fresh = sizeof(slab),
                             .used = 0};
  }

  void take_remote() {
    free_block* b = remote_.exchange(nullptr, std::memory_order_acquire);
    while (b) {
      free_block* const next = b->next;
      release(b, slab_of(b));
      b = next;
    }
  }

  static void link(slab*& head, slab* s) {
    s->previous = nullptr;
    s->next = head;
    if (head) head->previous = s;
    head = s;
  }
  static void unlink(slab*& head, slab* s) {
    (s->previous ? s->previous->next : head) = s->next;
    if (s->next) s->next->previous = s->previous;
  }

  std::array<slab*, class_count> roomy_{};
  slab* spare_ = nullptr;
  size_t spares_ = 0, slabs_ = 0;
  std::atomic<free_block*> remote_{nullptr};
};

/// The thread's pool lives on after the thread for as long as its blocks do (then for ever: nobody is left to notice).
struct pool_holder {
  block_pool* pool = nullptr;
  ~pool_holder() {
    if (pool && pool->clear()) delete pool;
    pool = nullptr;
  }
};

thread_local pool_holder mine;

}  // namespace

void* allocate_block(size_t bytes) noexcept {
  if (!is_pooled(bytes)) return std::malloc(bytes);
  if (!mine.pool) mine.pool = new (std::nothrow) block_pool;
  return mine.pool ? mine.pool->allocate(class_of(bytes)) : nullptr;
}

void release_block(void* memory, size_t bytes) noexcept {
  if (!is_pooled(bytes)) return std::free(memory);
  slab* const s = slab_of(memory);
  if (s->owner == mine.pool) {
    s->owner->release(memory, s);
  } else {
    s->owner->release_remote(memory);
  }
}

}  // namespace sluice::base
