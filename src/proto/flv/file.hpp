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
  base::slice body;        ///< in a block of its own, with the reader's headroom
};

/// Takes FLV bytes in pieces of any size and gives whole tags. Not thread-safe.
///
/// Each body byte is copied once, to where it stays. Of what came it holds no more than the body of one tag.
class reader {
 public:
  /// `headroom`: writable bytes in front of each body.
  explicit reader(uint32_t body_bytes_max = 8u << 20, size_t headroom = 0)
      : body_bytes_max_(body_bytes_max), headroom_(headroom) {}

  /// Takes bytes off the front of `from` up to the end of a body, and gives that tag; or takes all, and gives nothing.
  /// Previous tag sizes are not checked: writers get them wrong.
  /// Errors (final): flv_bad_signature, flv_bad_header, flv_tag_too_large, flv_encrypted.
  base::result<std::optional<tag>> next(base::bytes_view& from);

 private:
  enum class part : uint8_t { file_header, tag_header, body };
  bool gather(base::bytes_view& from, size_t count);
  void enter(part p, size_t skip);
  base::result<void> read_file_header();
  base::result<void> read_tag_header();

  const uint32_t body_bytes_max_;
  const size_t headroom_;
  part part_ = part::file_header;
  size_t skip_ = 0;                              // bytes to leave out in front of it
  size_t have_ = 0;                              // bytes of it that came
  std::array<uint8_t, tag_header_size> head_{};  // of a header that is not whole yet
  uint8_t type_ = 0;                             // of the tag whose body comes
  uint32_t timestamp_ = 0, body_size_ = 0;
  base::block_ref body_;
};

}  // namespace sluice::flv
