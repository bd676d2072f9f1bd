#pragma once

#include "media/stream_muxer.hpp"

namespace sluice::media {

/// HTTP-FLV (Adobe FLV file format 10.1 annex E; Enhanced RTMP bodies as they are): a tag for each audio, video and
/// data message, at the timestamps of the stream.
class flv_muxer final : public stream_muxer {
 public:
  void file_header(std::vector<uint8_t>& out) override;
  void headers(const header_set& set, uint32_t timestamp, std::vector<uint8_t>& out) override;
  void write(const frame& f, std::vector<uint8_t>& out) override;
  std::optional<size_t> write_around_body(const frame& f, std::vector<uint8_t>& out) override;
  bool carries_something() const override { return true; }
  std::vector<std::string> left_out() const override { return {}; }

 private:
  void note(const frame& f);
  bool audio_ = false, video_ = false;  // the stream is known to have it
};

}  // namespace sluice::media
