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
  /// `as_stream`: serves what may be a segment, and is none, but a stream that the cluster knows.
  void segment(const runtime::http_request& request, const servers::media_target& target,
               runtime::http_server::respond respond, const servers::media_answer& as_stream = {});

  /// Of this shard as a home.
  size_t streams() const { return channels_.size(); }
  size_t bytes() const { return home_.bytes; }
  /// Viewers of the streams of this home, wherever their connections are.
  void for_each_audience(const std::function<void(const std::string& stream, size_t viewers)>& visit);

 private:
  struct maybe_stream;
  /// On the shard that has the client. `maybe`: what the request is if it is no segment, or nullptr.
  void route(const runtime::http_request& request, std::optional<cluster::stream_key> key, bool playlist,
             runtime::http_server::respond respond, std::shared_ptr<maybe_stream> maybe = nullptr);
  void look_for_stream(const std::shared_ptr<maybe_stream>& maybe);
  void serve(std::shared_ptr<hls_ask> a);
  void prune();

  hls_home home_;
  const std::vector<hls_relay*>& all_;
  std::unordered_map<cluster::stream_key, std::unique_ptr<hls_channel>> channels_;
  runtime::timer prune_;
};

}  // namespace sluice::relay
