#pragma once

#include "media/bridge/mp4_track.hpp"
#include "media/bridge/segment_muxer.hpp"

namespace sluice::media {

/// Segments as fragmented MP4: one video and one audio track at most, the first of each (track 0).
///
/// Video is timed to the publisher's milliseconds, in 1/90000 s. Audio runs at its own sample rate: within a segment a
/// frame begins where the one before ended, as long as that is within 5 ms of what the publisher's (rounded) timestamps
/// say, so that a decoder sees neither gaps nor overlaps; with each segment it starts from the timestamp again.
class fmp4_muxer final : public segment_muxer {
 public:
  void begin(const header_set& headers, const segment_state& at) override;
  void add(const frame& f, uint64_t dts_ms) override;
  std::vector<uint8_t> end(uint64_t end_ms) override;
  std::vector<uint8_t> init() const override;
  stream_description describe() const override;
  std::vector<std::string> left_out() const override { return left_out_; }

 private:
  struct pending {
    uint64_t dts_ms;
    int32_t composition_ms;
    bool keyframe;
    base::slice body;  // keeps `data` alive
    base::bytes_view data;
  };
  void add_video(const frame& f, uint64_t dts_ms);
  void add_audio(const frame& f, uint64_t dts_ms);
  void leave_out(std::string_view kind, flv::codec codec, uint8_t track_id);
  mp4::track_run video_run(uint64_t end_ms) const;
  mp4::track_run audio_run(uint64_t end_ms) const;

  uint32_t sequence_ = 0;
  std::optional<mp4_track> video_, audio_;
  std::vector<pending> video_frames_, audio_frames_;
  std::vector<std::string> left_out_;
};

}  // namespace sluice::media
