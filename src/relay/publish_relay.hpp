#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "media/hub.hpp"
#include "relay/client_request.hpp"
#include "relay/publish_move.hpp"
#include "relay/retained_media.hpp"
#include "relay/shard.hpp"
#include "relay/upstream.hpp"
#include "servers/rtmp/connection.hpp"

namespace sluice::relay {

/// One publisher on its way to the stream's owner: claims, dials, publishes there, then answers the client. Its media
/// goes through a hub that keeps what a next owner would need (retention) and that the upstream reads; message numbers
/// are that hub's. When the owner is lost, another one is claimed and gets what is retained, while the client is read
/// all the time and hears nothing of it (publish_failover.cpp).
class publish_relay final : public upstream_events, public origin_watcher, public move_events {
 public:
  publish_relay(shard_context& shard, servers::connection& client, client_ask ask, uint32_t stream_id);
  ~publish_relay();

  /// The client is gone or publishes no more: nothing more is heard from this relay. The shard keeps it
  /// (shard_context::keep) until it says that the origin has what the client sent, after a few seconds at most.
  void stop();

  void start() { claim(); }
  void on_client_media(rtmp::message msg);
  /// The upstream is behind: stop reading the client, so that nothing is lost.
  void on_client_batch_end();
  /// A drain asks that the publish goes elsewhere.
  void move(const cluster::action::move& what);
  /// The stream has another owner, or the same under a higher epoch, and it was not this publisher who claimed him.
  void on_owner_changed(const cluster::assignment& to);

  const media::hub& hub() const { return hub_; }
  const std::string& session() const { return ask_.session; }
  const cluster::epoch& epoch() const { return to_.epoch; }  ///< under which it publishes, or wants to

  // upstream_events
  void on_started() override;
  void on_media(rtmp::message) override {}
  void on_refused(const rtmp::client_status& status) override;
  void on_lost(bool started, std::string_view reason) override;
  void on_undialled(const base::error& e) override;
  void on_drained() override;
  // origin_watcher
  void on_origin_lost(cluster::loss_reason reason) override;
  // move_events
  void on_move_accepted() override;
  void on_move_refused(std::string_view reason) override;

 private:
  void claim();
  void claim_later();
  void dial();
  void dial_in_turn();
  void try_next();
  void claim_anew();
  void drop_claim(std::string_view reason = {});
  void finished();
  void refuse(std::string_view code, std::string_view reason, std::string_view text);
  void on_retry_timer();
  void note(std::string_view what, std::string_view reason);
  // Of a running publish whose owner is lost (publish_failover.cpp).
  void begin_outage(std::string_view reason);
  void on_verdict(cluster::origin_verdict verdict, bool closed);
  void fail_over();
  void on_shutdown();
  void on_fenced();
  bool is_refusal() const;
  void recovered();
  void replay();
  void refused_in_outage(const rtmp::client_status& status);
  void end_client(std::string_view code, std::string_view reason, std::string_view text);
  void show_retained(bool viewers_come);
  void on_commit_answer(const base::result<cluster::assignment>& outcome);
  void drop_move();
  void switch_over();
  void leave_for(const cluster::assignment& to);
  void publish_again(const cluster::assignment& to);
  void hear_news();

  struct outage {
    base::time_point since;
    std::string reason;  // a metric label
    std::string origin;  // that was lost
    unsigned attempts = 0;
    bool claimed = false;               // the lost owner was given up
    std::optional<uint64_t> pushed_to;  // the first frame that a lost owner without numbers was not sent
  };

  shard_context& shard_;
  servers::connection& client_;
  const client_ask ask_;
  const uint32_t stream_id_;
  const std::string publication_;
  // Shared with a connection that parts from an old owner, which may outlive this.
  const std::shared_ptr<retained_media> retained_;
  media::hub& hub_;
  cluster::assignment to_;
  cluster::epoch stale_;             // that its origin refused as too old
  std::vector<std::string> failed_;  // origins that could not be reached for this publish
  std::unique_ptr<upstream> upstream_;
  std::unique_ptr<publish_move> move_;
  std::optional<cluster::action::move> committing_;  // is being written; move_ may be gone by then
  origin_watch watch_;
  std::optional<outage> outage_;
  base::time_point closed_alive_at_ = base::time_point::min();  // when an origin that lives closed the publish
  base::time_point accepted_at_ = base::time_point::min();      // when this owner said yes to the client's ask
  std::optional<cluster::assignment> news_;                     // of the owner, that came while it was unsettled
  uint64_t claim_ = 0;     // the last claim, answered or not, whose publish has not started; or 0
  uint64_t claiming_ = 0;  // the question under way, or 0
  uint64_t steps_ = 0;     // counts dials and losses: an answer to an earlier question is of no use
  unsigned stale_claims_ = 0;
  bool running_ = false;    // the client was told that it publishes
  bool has_media_ = false;  // he has sent audio or video
  bool stopping_ = false;
  runtime::timer finish_timer_, retry_timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sluice::relay
