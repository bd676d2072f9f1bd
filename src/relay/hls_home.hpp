#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "relay/hls_viewers.hpp"
#include "relay/shard.hpp"
#include "runtime/http_server.hpp"

namespace sluice::relay {

struct hls_relay_config {
  std::vector<base::network> trusted;                             ///< whose X-Forwarded-For is believed, and goes on
  base::duration owner_kept = std::chrono::seconds(1);            ///< before it is asked again who owns a stream
  base::duration playlist_kept = std::chrono::milliseconds(300);  ///< before it is asked for again
  base::duration window = std::chrono::seconds(60);               ///< segments are kept so long when listed no more
  base::duration wait = std::chrono::seconds(12);                 ///< for one answer of an origin, and for a new owner
  base::duration patience = std::chrono::milliseconds(500);       ///< the same where there is an older playlist
  base::duration stale = std::chrono::seconds(30);  ///< how long a playlist is given that no origin confirms
  size_t bytes_max = 256u << 20;                    ///< of all that one shard keeps
  size_t response_bytes_max = 64u << 20;            ///< of one answer of an origin
  size_t asks_max = 20'000;                         ///< requests of one shard under way
  size_t streams_max = 10'000;                      ///< of one shard
  size_t files_max = 1000;                          ///< of one stream
  hls_viewers::limits viewers;
};

/// What all streams of one home shard share.
struct hls_home {
  hls_home(shard_context& s, const hls_relay_config& c);

  shard_context& shard;
  const hls_relay_config& config;
  runtime::http_pool pool;
  std::function<void()> on_full;  ///< more is kept than may be: room is made soon
  size_t bytes = 0;               ///< kept
  size_t asks = 0;                ///< under way
  hls_viewers viewers;
  base::metric_cell& from_cache;
  base::metric_cell& from_origin;
  base::metric_cell& cached_bytes;

  void note_bytes(size_t before, size_t after);
};

/// A viewer's request on its way through its stream's home shard. Answered once; what comes later is dropped.
struct hls_ask {
  explicit hls_ask(hls_home& h) : home(&h) {}

  std::shared_ptr<const runtime::http_request> request;
  cluster::stream_key key;
  bool playlist = false;
  hls_home* home;                         ///< of the stream
  runtime::http_server::respond respond;  ///< to be called on that shard's thread; empty when it was
  base::time_point since{};
  bool has_waited = false;          ///< for an owner: it came before its stream
  std::function<void()> otherwise;  ///< answers for something else that may be meant, instead of a 404
  std::function<void()> on_leave;   ///< ends what is done for this request alone

  void enter();  ///< the home counts it until it is answered
  void answer(runtime::http_response response);
  void refuse(int status, std::string_view reason, std::string_view text);
  void leave();  ///< the client is gone

 private:
  bool counted_ = false;
};

}  // namespace sluice::relay
