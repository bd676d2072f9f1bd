#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "media/bridge/hls_stream.hpp"
#include "runtime/http_server.hpp"
#include "runtime/loop.hpp"
#include "servers/http/stream_access.hpp"
#include "servers/http/target.hpp"

namespace sluice::servers {

class hls_channel;

struct hls_limits {
  media::hls_settings window;
  size_t channels_max = 20'000;
  size_t bytes_max = 1u << 30;  ///< of all channels: over it those that were not asked for longest go
  size_t waiting_max = 10'000;  ///< requests that wait for a first segment
  base::duration first_segment_wait = std::chrono::seconds(10);
  base::duration idle = std::chrono::seconds(60);  ///< a channel that nobody asks for goes
};

/// HLS of one loop's streams. A stream is cut into segments from the first request for its playlist on, until nobody
/// has asked for a while; where its segments begin and what they are called does not depend on that (hub::segment_at).
///
///   {stream}.m3u8[?hls=ts|fmp4]     master playlist
///   {stream}.m3u8?media=auto|ts|fmp4  media playlist
///   {stream}-{number}.ts|.m4s, {stream}-{hash}-init.mp4
class hls_server {
 public:
  /// All that is referred to outlives the server.
  hls_server(runtime::loop& l, const hls_limits& limits, stream_access& streams, const cluster::vhost_rules& vhosts,
             base::log_sink& log, base::metrics& metrics);
  ~hls_server();

  void playlist(const runtime::http_request& request, const media_target& target,
                runtime::http_server::respond respond);
  /// `as_stream`: serves what may be a segment, and is none, but a stream that is published.
  void segment(const runtime::http_request& request, const media_target& target, runtime::http_server::respond respond,
               const media_answer& as_stream = {});

  size_t channels() const { return channels_.size(); }
  void close_all();

 private:
  friend class hls_channel;
  using wish = std::optional<media::container>;
  using channel_key = std::pair<cluster::stream_key, wish>;

  /// nullptr: there are too many.
  hls_channel* open(const cluster::stream_address& address, wish w, const runtime::http_request& request);
  void prune();

  runtime::loop& loop_;
  const hls_limits& limits_;
  stream_access& streams_;
  const cluster::vhost_rules& vhosts_;
  base::log_sink& log_;
  std::map<channel_key, std::unique_ptr<hls_channel>> channels_;
  runtime::timer prune_;
  size_t waiting_ = 0;
  uint64_t ids_ = 0;
  const std::string id_prefix_;
  base::metric_cell& channels_cell_;
  base::metric_cell& bytes_cell_;
  base::metric_cell& bytes_out_cell_;
};

}  // namespace sluice::servers
