#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "media/hub.hpp"

namespace sluice::media {

/// Turns the frames of a stream into the bytes of a format without an end (FLV, MPEG-TS). Pure; one thread.
class stream_muxer {
 public:
  virtual ~stream_muxer() = default;
  /// What every receiver gets first, once; of the headers told last.
  virtual void file_header(std::vector<uint8_t>& out) = 0;
  /// The headers that hold from here on, perhaps the same again. What a receiver needs who starts at the next frame, at
  /// `timestamp`, is appended to `out`.
  virtual void headers(const header_set& set, uint32_t timestamp, std::vector<uint8_t>& out) = 0;
  /// Headers among the frames too, as they come.
  virtual void write(const frame& f, std::vector<uint8_t>& out) = 0;
  /// The same without the body, where that goes out as it is: the place in `out` where it belongs. Nothing: it does
  /// not, and `out` is as it was.
  virtual std::optional<size_t> write_around_body(const frame&, std::vector<uint8_t>&) { return std::nullopt; }
  /// False if the headers so far name no track that the format can carry.
  virtual bool carries_something() const = 0;
  /// Codecs that the format cannot carry, for the log.
  virtual std::vector<std::string> left_out() const = 0;
};

}  // namespace sluice::media
