#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/hub.hpp"
#include "media/splicer.hpp"
#include "relay/client_request.hpp"
#include "relay/shard.hpp"

namespace sluice::relay {

class feed;

/// Somebody who watches a feed: a player's connection, or the link to another shard.
class feed_viewer {
 public:
  /// The hub is fed now: attach a reader to it. Called at once by add() if the feed runs already.
  virtual void on_feed_started(feed& f) = 0;
  /// The stream is not to be had (any more); the viewer has been removed. `code`: the status for its client.
  virtual void on_feed_ended(std::string_view code, std::string_view text) = 0;

 protected:
  ~feed_viewer() = default;
};

/// One stream as one shard's viewers see it.
class feed {
 public:
  feed(shard_context& shard, cluster::stream_key key, const media::hub_limits& limits, servers::hub_flusher& flusher,
       std::function<void()> on_unused);
  virtual ~feed();
  feed(const feed&) = delete;
  feed& operator=(const feed&) = delete;

  media::hub& hub() { return hub_; }
  const media::hub& hub() const { return hub_; }
  const cluster::stream_key& key() const { return key_; }
  bool started() const { return started_; }
  /// It gave up: its viewers are gone, and it takes no new ones.
  bool ended() const { return ended_; }
  virtual const std::string& origin() const = 0;  ///< id of the origin it comes from, for logs
  void add(feed_viewer& v);
  /// Destroy the viewer's reader first. The last one starts the linger time.
  void remove(feed_viewer& v);
  bool unused() const { return viewers_.empty(); }
  /// Back pressure by the only viewer of a private feed.
  virtual void pause_source(bool) {}

 protected:
  void start_viewers();
  void end_viewers(std::string_view code, std::string_view text);

  shard_context& shard_;
  const cluster::stream_key key_;

 private:
  servers::hub_flusher& flusher_;
  media::hub hub_;
  std::vector<feed_viewer*> viewers_;
  bool started_ = false, ended_ = false;
  runtime::timer linger_;
};

/// A feed for one viewer keeps nothing that he has had, and is not read while he does not read.
enum class audience : uint8_t { many, one };

/// Makes the request for an origin; the terms say where a numbered link is to go on.
using request_maker = std::function<rtmp::client_request(const cluster::assignment&, const link_terms&)>;

/// Connects to an origin, on the shard's thread.
using source_maker =
    std::function<std::unique_ptr<pull_source>(const cluster::assignment&, const link_terms&, upstream_events&)>;
/// By RTMP.
source_maker rtmp_source(shard_context& shard, audience viewers, request_maker make_request);

/// A feed that plays the stream from its origin, and from the next one when that is gone: from one of ours it goes on
/// at the very message where the last one stopped, from others by what the messages look like (media::splicer).
class pull_feed final : public feed, public upstream_events, public origin_watcher {
 public:
  /// `to`: where to start. `session`: its id, for logs.
  pull_feed(shard_context& shard, cluster::stream_key key, audience viewers, cluster::assignment to,
            source_maker connect, std::string session, std::function<void()> on_unused);
  ~pull_feed() override;
  const std::string& origin() const override { return to_.origin_id; }
  void pause_source(bool on) override;
  /// The stream has another owner: the pull goes there.
  void on_owner_changed(const cluster::assignment& to);

 private:
  void dial();
  void dial_in_turn();
  void resolve();
  void drop_upstream();
  void retry(std::string_view reason, base::duration at_least = base::duration::zero());
  void give_up(std::string_view code, std::string_view text);
  void on_verdict(cluster::origin_verdict verdict, bool was_started, std::string_view reason);
  bool is_fed() const;
  void on_news_timer();
  void forget_news();
  void follow(const cluster::assignment& to);
  void note_gap(uint64_t messages);
  void note_end(std::string_view reason, std::string_view text);
  void arm_splicer();
  // upstream_events
  void on_started() override;
  void on_media(rtmp::message msg) override;
  void on_mark(const media::mark& m) override;
  void on_refused(const rtmp::client_status& status) override;
  void on_lost(bool started, std::string_view reason) override;
  void on_undialled(const base::error& e) override;
  // origin_watcher
  void on_origin_lost(cluster::loss_reason reason) override;

  cluster::assignment to_;
  const source_maker connect_;
  const std::string session_;
  std::unique_ptr<pull_source> upstream_;
  std::unique_ptr<media::splicer> splicer_;  // while the origin's links are not numbered
  origin_watch watch_;
  runtime::timer retry_;                     // of resolve(), or the splicer's deadline
  std::optional<cluster::assignment> news_;  // a lower owner, while the present one has media
  runtime::timer news_timer_;
  base::time_point media_at_ = base::time_point::min();  // when the last message of audio or video came
  base::time_point give_up_at_;
  base::time_point lost_alive_at_ = base::time_point::min();  // when an origin that lives ended a running pull
  std::string lost_alive_origin_;                             // which that was
  uint64_t finding_ = 0;                                      // the question under way, or 0
  uint64_t steps_ = 0;                        // counts dials and losses: an answer to an earlier question is of no use
  base::time_point linked_at_ = base::never;  // when the present link, or the one just lost, started; never: it did not
  unsigned tries_ = 0;                        // since a link held
  bool numbered_ = false;                     // the last link was
  bool marked_ = false;                       // the present link has brought a mark
  bool played_ = false;                       // an origin agreed once
  bool fed_ = false;                          // and sent something
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
