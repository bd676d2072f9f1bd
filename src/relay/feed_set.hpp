#pragma once

#include <map>
#include <memory>
#include <unordered_map>
#include <utility>

#include "relay/feed.hpp"

namespace sluice::relay {

class replica_feed;
class replica_link;

/// Frames on their way from a stream's home shard to another.
struct replica_batch {
  std::shared_ptr<const media::header_set> headers;  ///< in force before the first frame, if they changed
  std::vector<media::frame> frames;
  uint64_t first = 0;       ///< number of the first frame; the others follow
  bool new_source = false;  ///< they are another source's than those before
};

/// The shared feeds of one shard: one per stream. The pull runs on the stream's home shard (by a hash of its key); the
/// other shards with viewers get each frame once from there.
class feed_set {
 public:
  explicit feed_set(shard_context& shard);
  ~feed_set();

  /// The feed of that stream if it is there.
  feed* find(const cluster::stream_key& key);
  /// The feed of that stream; made if need be, starting at `to`.
  feed& open(const cluster::stream_key& key, const cluster::assignment& to, request_maker make_request,
             std::string session);
  size_t size() const { return feeds_.size(); }
  /// Ends all feeds: before the shards stop, so that feeds can still tell each other.
  void clear();
  void for_each(const std::function<void(const feed&)>& visit) const;

 private:
  friend class replica_feed;
  friend class replica_link;
  struct subscription {
    unsigned shard;
    uint64_t id;
    auto operator<=>(const subscription&) const = default;
  };
  // On the home shard, posted by the others.
  void subscribe(subscription s, const cluster::stream_key& key, cluster::assignment to, request_maker make_request,
                 std::string session);
  void unsubscribe(subscription s);
  // On a replica's shard, posted by the home shard.
  void on_replica_started(uint64_t id, const std::string& origin);
  void on_replica_frames(uint64_t id, const replica_batch& batch);
  void on_replica_ended(uint64_t id, const std::string& code, const std::string& text);
  void drop(const cluster::stream_key& key);
  unsigned home_of(const cluster::stream_key& key) const;

  shard_context& shard_;
  std::map<subscription, std::unique_ptr<replica_link>> links_;
  std::unordered_map<uint64_t, replica_feed*> replicas_;
  std::unordered_map<cluster::stream_key, std::unique_ptr<feed>> feeds_;
  uint64_t ids_ = 0;
};

}  // namespace sluice::relay
