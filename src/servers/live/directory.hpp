#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/log.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "cluster/core/fence.hpp"
#include "cluster/core/registration.hpp"
#include "cluster/core/stream_key.hpp"
#include "media/hub.hpp"
#include "runtime/loop.hpp"

namespace sluice::servers {

/// What a stream knows of its publisher.
class live_publisher {
 public:
  /// Another publisher takes the stream: close yourself; unpublish() is not to be called any more.
  virtual void on_taken_over() = 0;
  /// The stream has another owner by now, by a higher epoch: close yourself; unpublish() is not to be called any more.
  virtual void on_fenced() = 0;
  /// When the last message came.
  virtual base::time_point last_message() const = 0;
  virtual std::string describe() const = 0;  ///< peer and session, for logs

 protected:
  ~live_publisher() = default;
};

/// What a stream knows of a player.
class live_player {
 public:
  /// Nobody has published for `publisher_wait`: tell the client and close.
  virtual void on_no_publisher() = 0;
  /// The stream has another owner by now: close yourself; stop() is not to be called any more.
  virtual void on_fenced() = 0;

 protected:
  ~live_player() = default;
};

/// What a publisher says of his publication.
struct publication {
  cluster::epoch epoch;  ///< under which the proxy publishes here; zero: none, straight from an encoder
  std::string id;        ///< names it; never empty
  /// He comes by a numbered link: its first mark begins the source, or goes on with it.
  bool numbered = false;
  /// He published elsewhere before: what he sends first is a replay, and viewers will come from there for it.
  bool replays = false;
};

enum class second_publisher : uint8_t { refuse, takeover, takeover_if_idle };

struct directory_limits {
  media::hub_limits hub;
  base::duration hls_segment = std::chrono::seconds(2);  ///< the least length of a segment, where nobody else has said
  size_t streams_max = 100'000;
  size_t publishers_max = SIZE_MAX;  ///< the origin's capacity
  second_publisher policy = second_publisher::takeover_if_idle;
  base::duration publisher_idle = std::chrono::seconds(3);   ///< after which takeover_if_idle takes over
  base::duration publisher_wait = std::chrono::seconds(30);  ///< of players whose stream has no publisher
  /// A replay is kept so long, as far as there is room: for viewers who come later than the next keyframe.
  base::duration replay_kept = std::chrono::seconds(10);
  /// What streams whose replay is kept may hold together. Over it the oldest of them is kept no longer.
  size_t replays_bytes_max = 256u << 20;
};

class live_stream {
 public:
  live_stream(cluster::stream_key key, const directory_limits& limits, media::hub_driver& driver, runtime::loop& l,
              std::function<void()> on_wait_over)
      : name(key.str()), hub(limits.hub, driver), key_(std::move(key)), wait_(l, std::move(on_wait_over)) {}
  const std::string name;
  media::hub hub;
  bool published() const { return publisher_ != nullptr; }
  size_t players() const { return players_.size(); }
  const cluster::stream_key& key() const { return key_; }

 private:
  friend class directory;
  cluster::stream_key key_;
  live_publisher* publisher_ = nullptr;
  std::string publication_;  // of publisher_
  struct waiting_player {
    live_player* player;
    base::time_point until;  ///< when it is told, if nobody publishes by then
  };
  std::vector<waiting_player> players_;
  runtime::timer wait_;
  std::unique_ptr<runtime::timer> replay_over_;
  size_t replay_bytes_ = 0;  // of the hub, as the directory knows it; 0: no replay is kept
};

/// All streams of one origin. Pointers to streams are valid while their publisher or player is registered.
class directory {
 public:
  /// `forget` is called before a hub is destroyed (hub_flusher::forget). `limits` and `epochs` outlive the directory.
  directory(runtime::loop& l, const directory_limits& limits, cluster::fence& epochs, media::hub_driver& driver,
            std::function<void(media::hub&)> forget, base::metrics& metrics);
  ~directory();

  /// A publication that is here already, by another connection, takes that one's place. Error reasons:
  /// second_publisher, stale_epoch, at_capacity, too_many_streams.
  base::result<live_stream*> publish(const cluster::stream_key& key, const publication& what, live_publisher& p);
  /// The publication has no numbers, or came without word of where its segments begin: they are counted from here.
  /// `before`: what the publication before has left (hub::next_segments_start).
  void begin_segments(live_stream& s, const std::optional<media::publication_start>& before = {});
  void unpublish(live_stream& s, live_publisher& p);
  /// `e`: the epoch under which the player's proxy was told that this origin owns the stream, zero: none.
  /// Error reason: too_many_streams.
  base::result<live_stream*> play(const cluster::stream_key& key, const cluster::epoch& e, live_player& p);
  void stop(live_stream& s, live_player& p);
  /// The publisher has sent something.
  void on_growth(live_stream& s) {
    if (s.replay_bytes_ > 0) bound_replays(s);
  }

  /// A proxy says that the stream has an owner of that epoch. True: the copy here was below it, and is dropped.
  bool told(const cluster::stream_key& key, const cluster::epoch& e);
  /// What heartbeats tell of.
  std::vector<cluster::held_stream> held() const;

  size_t published() const { return published_; }
  bool publishes(const cluster::stream_key& key) const;
  void for_each(const std::function<void(const live_stream&)>& visit) const;

 private:
  base::result<live_stream*> open(const cluster::stream_key& key);
  void settle(live_stream& s);
  void on_wait_over(const cluster::stream_key& key);
  void set_published(size_t count);
  void drop(const cluster::stream_key& key);
  void keep_replay(live_stream& s);
  void end_replay(live_stream& s);
  void bound_replays(live_stream& s);

  runtime::loop& loop_;
  const directory_limits& limits_;
  cluster::fence& epochs_;
  media::hub_driver& driver_;
  std::function<void(media::hub&)> forget_;
  std::unordered_map<cluster::stream_key, std::unique_ptr<live_stream>> streams_;
  std::deque<live_stream*> replays_;  // that are kept, oldest first
  size_t replay_bytes_ = 0;           // of them all
  size_t published_ = 0;
  base::metric_cell& published_cell_;
  base::metric_cell& cut_cell_;
};

}  // namespace sluice::servers
