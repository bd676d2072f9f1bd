#pragma once

#include "media/bridge/segment_muxer.hpp"
#include "media/bridge/ts.hpp"
#include "media/stream_muxer.hpp"

namespace sluice::media {

/// MPEG-TS without an end (HTTP-TS): tables come with every keyframe, so a receiver needs nothing in front.
class ts_stream_muxer final : public stream_muxer {
 public:
  void file_header(std::vector<uint8_t>&) override {}
  void headers(const header_set& set, uint32_t, std::vector<uint8_t>&) override { ts_.headers(set); }
  void write(const frame& f, std::vector<uint8_t>& out) override { ts_.write(f, out); }
  bool carries_something() const override { return ts_.can_carry_anything() || ts_.left_out().empty(); }
  std::vector<std::string> left_out() const override { return ts_.left_out(); }

 private:
  ts_bridge ts_;
};

/// HLS segments as MPEG-TS.
class ts_segment_muxer final : public segment_muxer {
 public:
  void begin(const header_set& headers, const segment_state& at) override;
  void add(const frame& f, uint64_t dts_ms) override;
  std::vector<uint8_t> end(uint64_t end_ms) override;
  std::vector<uint8_t> init() const override { return {}; }
  stream_description describe() const override { return description_; }
  std::vector<std::string> left_out() const override { return ts_ ? ts_->left_out() : std::vector<std::string>{}; }

 private:
  std::optional<ts_bridge> ts_;  // one a segment: nothing of an earlier one can show in its bytes
  std::vector<uint8_t> bytes_;
  stream_description description_;
};

}  // namespace sluice::media
