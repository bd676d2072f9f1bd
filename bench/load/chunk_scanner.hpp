#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "load/wire.hpp"

namespace sluice::bench {

/// A message as a reader that wants to stay cheap sees it: its header and the first bytes.
struct scanned_message {
  uint8_t type;
  uint32_t timestamp;  ///< ms
  uint32_t length;
  bytes head;  ///< the first 40 bytes of audio and video, up to 4 KB of everything else
};

/// Walks a chunk stream (RTMP 1.0 §5.3) without reassembling it: payload is stepped over, not copied.
class chunk_scanner {
 public:
  using sink = std::function<void(const scanned_message&)>;

  /// False if the bytes are no chunk stream; the connection is to be given up.
  bool scan(bytes in, const sink& on_message);

 private:
  struct chunk_stream {
    uint32_t id = 0, timestamp = 0, delta = 0, length = 0, received = 0;
    uint8_t type = 0;
    bool extended = false;
    std::vector<uint8_t> head;
  };
  static constexpr size_t header_bytes_max = 18;

  /// Bytes of the header at `p`, or 0 if `size` does not hold it; sets current_.
  size_t read_header(const uint8_t* p, size_t size);
  chunk_stream* find(uint32_t id);
  void take(bytes part, const sink& on_message);

  uint32_t chunk_size_ = 128;
  size_t left_ = 0;  ///< payload bytes still to come of the chunk being read
  size_t current_ = 0;
  size_t carry_size_ = 0;
  std::array<uint8_t, header_bytes_max> carry_;
  std::vector<chunk_stream> streams_;
};

}  // namespace sluice::bench
