#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "media/reader.hpp"
#include "servers/http/hls_server.hpp"

namespace sluice::servers {

/// One stream in one HLS form: reads the stream's hub, keeps its window, and answers those who wait for a first
/// segment.
class hls_channel final : public media::reader_owner, public stream_watcher {
 public:
  hls_channel(hls_server& server, const cluster::stream_address& address, std::optional<media::container> wish);
  ~hls_channel();

  /// Watches the stream, if it does not yet.
  void watch(const runtime::http_request& request);
  /// Answers now, or when there is a first segment; 404 if there is no such stream, or none comes in time.
  void answer(const runtime::http_request& request, runtime::http_server::respond respond);
  std::optional<media::hls_file> find(std::string_view file) const { return window_.find(file); }

  size_t bytes() const { return window_.bytes() + window_.pending_bytes(); }
  base::time_point last_used() const { return last_used_; }
  bool awaited() const { return !waiting_.empty(); }

 private:
  struct waiter {
    runtime::http_request request;
    runtime::http_server::respond respond;
    base::time_point until;
  };
  // reader_owner
  void on_frames() override;
  // stream_watcher
  void on_stream(media::hub& h, const std::string& origin) override;
  void on_no_stream(int status, std::string_view reason, std::string_view text) override;
  void on_passed(passed answer) override;

  void take(const media::frame& f, uint64_t number);
  void note_left_out();
  runtime::http_response response(const runtime::http_request& request) const;
  void serve_waiting();
  void refuse_waiting(int status, std::string_view text);
  void on_wait_over();

  hls_server& server_;
  const cluster::stream_address address_;
  const std::string wish_;  // auto, ts or fmp4
  const std::string session_;
  media::segment_muxer* muxer_ = nullptr;  // the window's
  media::container format_ = media::container::mpegts;
  media::hls_window window_;
  uint64_t revision_ = 0;  // of the window, when note_left_out() was called last
  std::string left_out_;   // tracks that the newest segment does not carry, as they were logged last
  bool carries_something_ = true;
  std::unique_ptr<stream_lease> lease_;
  media::hub* hub_ = nullptr;
  std::unique_ptr<media::reader> reader_;
  std::string source_;   // publication that the window takes
  bool synced_ = false;  // the window goes on with the next frame
  uint32_t drops_ = 0;   // of the reader, as far as they have been seen
  std::deque<waiter> waiting_;
  runtime::timer wait_;
  base::time_point last_used_{};
  int no_stream_ = 0;  // why there is no lease: a status, or 0
  std::string no_stream_text_;
};

}  // namespace sluice::servers
