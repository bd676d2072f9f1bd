#pragma once

#include <memory>
#include <string_view>

#include "relay/retained_media.hpp"
#include "relay/shard.hpp"
#include "relay/upstream.hpp"

namespace sluice::relay {

class move_events {
 public:
  /// The new owner accepts the publish: nothing has been sent to it yet.
  virtual void on_move_accepted() = 0;
  /// It does not, or cannot be reached, or is lost before it took over.
  virtual void on_move_refused(std::string_view reason) = 0;

 protected:
  ~move_events() = default;
};

/// The first half of a move, make before break: a publish at the new owner beside the one that runs.
class publish_move final : public upstream_events, public origin_watcher {
 public:
  publish_move(shard_context& shard, const cluster::action::move& what, rtmp::client_request request, move_events& to);

  const cluster::action::move& what() const { return what_; }
  /// The new owner's links are numbered. From on_move_accepted() on.
  bool numbered() const { return upstream_->numbered(); }
  /// The ownership is written: what the publisher sends is the new owner's.
  void committed() { committed_ = true; }
  bool is_committed() const { return committed_; }
  /// The new owner's connection, from then on the taker's.
  std::unique_ptr<upstream> take(upstream_events& events) {
    upstream_->hand_over(events);
    return std::move(upstream_);
  }

 private:
  void on_started() override;
  void on_media(rtmp::message) override {}
  void on_refused(const rtmp::client_status& status) override;
  void on_lost(bool started, std::string_view reason) override { events_.on_move_refused(reason); }
  void on_undialled(const base::error& e) override;
  void on_origin_lost(cluster::loss_reason) override { events_.on_move_refused("the new owner was lost"); }

  shard_context& shard_;
  const cluster::action::move what_;
  move_events& events_;
  origin_watch watch_;  // its loss is told once
  std::unique_ptr<upstream> upstream_;
  runtime::timer settled_;
  bool committed_ = false;
};

/// Keeps the old owner's connection until it has taken what was meant for it, for a few seconds at most; then tells the
/// shard that it can go (shard_context::keep, release).
class parting_upstream final : public upstream_events {
 public:
  /// `pushed`: whose hub it pushes.
  parting_upstream(shard_context& shard, std::unique_ptr<upstream> u, std::shared_ptr<const retained_media> pushed);
  void start();

 private:
  void on_started() override {}
  void on_media(rtmp::message) override {}
  void on_refused(const rtmp::client_status&) override { over(); }
  void on_lost(bool, std::string_view) override { over(); }
  void on_undialled(const base::error&) override { over(); }
  void over();

  shard_context& shard_;
  const std::shared_ptr<const retained_media>
      pushed_;  // its hub must go later than the upstream, whoever else has gone
  std::unique_ptr<upstream> upstream_;
  runtime::timer timer_;
};

}  // namespace sluice::relay
