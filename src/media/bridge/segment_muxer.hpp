#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "media/frame.hpp"
#include "media/hub.hpp"
#include "media/segment_clock.hpp"

namespace sluice::media {

enum class container : uint8_t { mpegts, fmp4 };

/// What a master playlist says of a stream.
struct stream_description {
  std::vector<std::string> codecs;  ///< RFC 6381, of those tracks that the container carries
  uint32_t width = 0, height = 0;   ///< 0: not known
};

/// Makes one segment after the other, of frames in the order in which they came. A segment's bytes depend on nothing
/// but what is given between begin() and end(): every server makes the same of the same frames.
class segment_muxer {
 public:
  virtual ~segment_muxer() = default;

  /// `headers`: those in force for the whole segment.
  virtual void begin(const header_set& headers, const segment_state& at) = 0;
  /// A frame that is no header. `dts_ms` is its place on the segment's timeline; it goes up within a track, but for
  /// what publishers get wrong. Frames that the container cannot carry are left out.
  virtual void add(const frame& f, uint64_t dts_ms) = 0;
  /// The segment, which ends at `end_ms`; empty if there is nothing in it that the container carries.
  virtual std::vector<uint8_t> end(uint64_t end_ms) = 0;

  /// The initialisation segment for the segment that end() gave last; empty if the container has none.
  virtual std::vector<uint8_t> init() const = 0;
  virtual stream_description describe() const = 0;
  /// Of the same segment: what the container cannot carry, for people: "video VP9", "audio track 2".
  virtual std::vector<std::string> left_out() const { return {}; }
};

std::unique_ptr<segment_muxer> make_segment_muxer(container c);

}  // namespace sluice::media
