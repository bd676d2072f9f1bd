#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <unordered_map>

#include "base/metrics.hpp"
#include "base/time.hpp"
#include "cluster/core/stream_key.hpp"
#include "runtime/http_server.hpp"

namespace sluice::relay {

/// Who watches by HLS, of the streams of one home shard. Such a viewer has no connection; he is one while he asks for
/// playlists: until none of the stream has been given to him for three target durations, at least 15 s and at most a
/// minute. He is told from others by the session in his URLs (`hls_ctx`, as stock SRS makes them), else by his address
/// and User-Agent. Those beyond a limit are not counted, and a metric says so.
class hls_viewers {
 public:
  struct limits {
    size_t stream_max = 50'000;  ///< of one stream
    size_t all_max = 100'000;    ///< of all here: 10 MB by estimate
  };
  hls_viewers(const limits& lim, base::metrics& m);

  /// The request has been answered with a playlist of the stream.
  void given(const cluster::stream_key& stream, const runtime::http_request& request, const base::ip_address& client,
             const runtime::http_response& playlist, base::time_point now);
  /// Forgets those who have not asked for long enough.
  void expire(base::time_point now);

  size_t size() const { return all_; }
  void for_each_stream(const std::function<void(const std::string& stream, size_t viewers)>& visit) const;

 private:
  struct viewer {
    uint64_t name;  // a hash of what tells him from others
    base::time_point seen;
    uint32_t given = 1;     // playlists
    uint32_t sessions = 0;  // of those who may have been taken for him, as they had none yet
  };
  struct audience {
    std::list<viewer> by_time;  // who was seen last is the last
    std::unordered_map<uint64_t, std::list<viewer>::iterator> by_name;
    base::duration window;
  };
  void forget(audience& of, std::list<viewer>::iterator who);

  const limits lim_;
  std::unordered_map<cluster::stream_key, audience> streams_;
  size_t all_ = 0;
  base::metric_cell& viewers_cell_;
  base::metric_cell& uncounted_cell_;
};

}  // namespace sluice::relay
