#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "relay/hls_channel.hpp"

namespace sluice::relay {

/// HLS through a proxy, of one shard's viewers and of the streams whose home this shard is (by a hash of the key). All
/// requests of a stream go to its home, which asks the stream's owner once for many equal ones; answers come back by
/// posting, and bodies are shared. See hls_channel for what happens there.
class hls_relay {
 public:
  /// `all`: of every shard, by index; entries are read when all are there. Relays of a proxy are destroyed when no
  /// loop runs any more.
  hls_relay(shard_context& shard, const hls_relay_config& config, const std::vector<hls_relay*>& all);
  ~hls_relay();

  void playlist(const runtime::http_request& request, const servers::media_target& target,
                runtime::http_server::respond respond);
  void segment(const runtime::http_request& request, const servers::media_target& target,
               runtime::http_server::respond respond);

  /// Of this shard as a home.
  size_t streams() const { return channels_.size(); }
  size_t bytes() const { return home_.bytes; }

 private:
  void route(const runtime::http_request& request, std::optional<cluster::stream_key> key, bool playlist,
             runtime::http_server::respond respond);
  void serve(std::shared_ptr<hls_ask> a);
  void prune();

  hls_home home_;
  const std::vector<hls_relay*>& all_;
  std::unordered_map<cluster::stream_key, std::unique_ptr<hls_channel>> channels_;
  runtime::timer prune_;
};

}  // namespace sluice::relay
