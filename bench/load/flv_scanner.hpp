#pragma once

#include <functional>
#include <vector>

#include "load/chunk_scanner.hpp"

namespace sluice::bench {

/// Walks an FLV file (Adobe FLV 10.1, annex E) without putting its tags together: payload is stepped over, not copied.
/// A tag is told when its last byte is there.
class flv_scanner {
 public:
  using sink = std::function<void(const scanned_message&)>;

  /// False if the bytes are no FLV file.
  bool scan(bytes in, const sink& on_tag);

 private:
  bool take_part();
  void tell(const sink& on_tag);

  bool begun_ = false;         // the file's header is over
  std::vector<uint8_t> part_;  // of the tag: its header and the first bytes of its body
  size_t wanted_ = 13;         // bytes of part_
  size_t skip_ = 0;            // bytes to step over before the tag is complete
};

}  // namespace sluice::bench
