#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "proto/hls/reader.hpp"

namespace sluice::relay {

/// What a proxy's viewers have been shown of one media playlist, and how it goes on. What was shown is not taken back
/// (RFC 8216 §6.2.1): numbers do not step back, whichever origin the next playlist is from, and after a change of the
/// origin the window is filled up with what it had before.
class hls_shown {
 public:
  /// Whether the segment of that URI can be given without its origin.
  using is_kept = std::function<bool(std::string_view uri)>;

  /// The playlist to show now that an origin gave `text`. `other_origin`: not the one that gave the last. Segments of
  /// that one which this origin does not list, and are not kept, become gaps (EXT-X-GAP). Errors: of
  /// hls::parse_media(); hls_steps_back.
  base::result<std::string> take(const std::string& text, bool other_origin, const is_kept& kept);
  /// The same as shown last, with gaps for what is not kept: when there is no origin.
  std::string alone(const is_kept& kept);

  const std::string& text() const { return text_; }
  bool ended() const { return ended_; }  ///< EXT-X-ENDLIST
  /// All that was shown is forgotten.
  void forget() { *this = {}; }

 private:
  std::string text_;
  size_t fill_up_to_ = 0;  // segments; 0: the origin's window is shown as it is
  bool ended_ = false;
  bool gaps_shown_ = false;  // what needs a version is not taken back either
};

}  // namespace sluice::relay
