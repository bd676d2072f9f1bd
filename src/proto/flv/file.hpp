#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

// FLV as a file or an HTTP stream (Adobe FLV file format 10.1, §E.2 - §E.4.1):
//   header (9 bytes) | previous tag size 0 (4) | { tag header (11) | body | previous tag size (4) } ...
namespace sluice::flv {

/// The same numbers as RTMP's message types 8, 9 and 18.
enum tag_type : uint8_t { audio_tag_type = 8, video_tag_type = 9, script_tag_type = 18 };

inline constexpr size_t file_header_size = 9 + 4;
inline constexpr size_t tag_header_size = 11;
inline constexpr size_t tag_trailer_size = 4;
inline constexpr uint32_t tag_body_max = 0xFFFFFF;  ///< what the 24-bit size field can say

/// File header and previous tag size 0. A viewer that starts before it is known what comes sets both flags.
std::array<uint8_t, file_header_size> file_header(bool has_audio, bool has_video);
/// `body_size` at most tag_body_max; `timestamp` in ms, all 32 bits.
std::array<uint8_t, tag_header_size> tag_header(uint8_t type, uint32_t body_size, uint32_t timestamp);
/// The previous tag size that follows a tag with a body of `body_size` bytes.
std::array<uint8_t, tag_trailer_size> tag_trailer(uint32_t body_size);
/// Header, body and trailer appended to `out`. The body must not exceed tag_body_max.
void write_tag(std::vector<uint8_t>& out, uint8_t type, uint32_t timestamp, base::bytes_view body);

struct tag {
  uint8_t type = 0;        ///< tag_type, or one we do not know
  uint32_t timestamp = 0;  ///< ms
  base::bytes_view body;   ///< valid until the next call of the reader
};

/// Takes FLV bytes in pieces of any size and gives whole tags. Not thread-safe.
///
/// feed(), then next() until it gives nothing, then feed() again: then it holds one tag at most besides what was fed.
class reader {
 public:
  explicit reader(uint32_t body_bytes_max = 8u << 20) : body_bytes_max_(body_bytes_max) {}

  void feed(base::bytes_view bytes) { buffer_.append(bytes); }
  /// The next whole tag, or nothing while it is incomplete. Previous tag sizes are not checked: writers get them wrong.
  /// Errors (final): flv_bad_signature, flv_bad_header, flv_tag_too_large, flv_encrypted.
  base::result<std::optional<tag>> next();
  /// Bytes held that no tag was made of yet.
  size_t buffered() const { return buffer_.size() - given_; }

 private:
  base::result<bool> read_file_header();

  uint32_t body_bytes_max_;
  base::send_buffer buffer_;
  size_t given_ = 0;  // bytes of the tag handed out last, still in buffer_ because `body` points there
  bool header_read_ = false;
};

}  // namespace sluice::flv
