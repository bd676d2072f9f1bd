#pragma once

#include <memory>
#include <string>

#include "relay/client_request.hpp"
#include "relay/feed_set.hpp"

namespace sluice::relay {

/// What a client who wants to watch a stream hears of it. What he does about it may end the stream_viewer.
class viewer_events {
 public:
  virtual void on_feed(feed& f) = 0;  ///< attach a reader to its hub
  /// Nobody has the stream, or it cannot be asked for. Reasons: those of director::find().
  virtual void on_not_found(const base::error& e) = 0;
  /// The feed ended: detach. `code`: the status for an RTMP client.
  virtual void on_feed_end(std::string_view code, std::string_view text) = 0;
  /// An origin that is to see each viewer has the stream: make a feed of your own, or serve the client otherwise.
  virtual void on_own_origin(const cluster::assignment& to) = 0;

 protected:
  ~viewer_events() = default;
};

/// One viewer of any protocol: finds the stream's owner (or waits for one), and where viewers share a pull, joins the
/// shard's feed.
class stream_viewer final : public feed_viewer {
 public:
  stream_viewer(shard_context& shard, feed_set& feeds, std::shared_ptr<const client_ask> ask, viewer_events& events);
  /// Leaves the feed; detach readers from it first.
  ~stream_viewer();

  /// Begins; events may come from within.
  void start();
  /// Watches a feed of the viewer's own.
  void join(feed& f);

 private:
  void find();
  void watch(const cluster::assignment& to);
  // feed_viewer
  void on_feed_started(feed& f) override { events_.on_feed(f); }
  void on_feed_ended(std::string_view code, std::string_view text) override;

  shard_context& shard_;
  feed_set& feeds_;
  std::shared_ptr<const client_ask> ask_;  // a shared feed holds the one that it uses
  viewer_events& events_;
  feed* feed_ = nullptr;
  uint64_t finding_ = 0;  // the question under way, or 0
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
