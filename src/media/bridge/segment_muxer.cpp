#include "media/bridge/segment_muxer.hpp"

#include "media/bridge/fmp4.hpp"
#include "media/bridge/ts_muxers.hpp"

namespace sluice::media {

std::unique_ptr<segment_muxer> make_segment_muxer(container c) {
  if (c == container::fmp4) return std::make_unique<fmp4_muxer>();
  return std::make_unique<ts_segment_muxer>();
}

}  // namespace sluice::media
