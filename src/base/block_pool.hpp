#pragma once

#include <cstddef>

// Where the blocks of media live. Media blocks are large, many, and gone within seconds; session objects are small and
// stay. In one heap the small ones settle in the holes that the large ones leave, and every wave of viewers leaves tens
// of KB per viewer behind that no viewer uses. So blocks of 128 bytes (audio) to 64 KiB get address ranges of their
// own:
//
//   A slab is 128 KiB, aligned to its size, and holds blocks of one size class (four classes to each power of two: at
//   most a fifth is wasted). Each thread has its slabs and allocates without a lock; a block that another thread
//   releases goes onto an atomic list of its owner, who empties it at his next allocation. A slab without blocks goes
//   back to the kernel, except for a few.
//
// Other sizes, and all sizes under the sanitizers (reuse would hide what they look for), are malloc's.
namespace sluice::base {

/// At least `bytes` bytes, aligned for any type; nullptr if there is no memory.
void* allocate_block(size_t bytes) noexcept;
/// `bytes` as it was given to allocate_block(). Any thread.
void release_block(void* memory, size_t bytes) noexcept;

}  // namespace sluice::base
