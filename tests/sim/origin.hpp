#pragma once

#include <optional>
#include <vector>

#include "cluster/core/coordinator.hpp"
#include "cluster/core/fence.hpp"
#include "sim/network.hpp"

namespace sluice::sim {

class world;

/// A Sluice origin: the real fence, and a model of the directory and the heartbeats around it.
class origin final : public process, public network::endpoint {
 public:
  origin(world& w, int index);

  void start();
  /// `silent`: the machine is gone.
  void crash(bool silent);
  /// Closes one connection of a publisher or player, as an operator does.
  void kick();

  node self() const { return self_; }
  std::string id() const { return id_of(life()); }
  std::string id_of(uint32_t life) const;
  /// Its registration, without the streams.
  cluster::origin_registration registration() const;
  int published() const;

  void on_packet(int conn, const packet& p) override;
  void on_closed(int conn, bool by_reset) override;

  /// A stream that it holds.
  struct player {
    int conn = -1;
    uint64_t source = 0;  ///< 0: sent nothing yet
    int64_t next = 0;
  };
  struct copy {
    bool held = false;
    cluster::epoch epoch;  ///< under which it was published
    int publisher = -1;    ///< connection, -1: none
    uint32_t session = 0;
    uint64_t source = 0;
    int64_t oldest = 0, next = 0;  ///< numbers that it has
    int64_t kept_by_proxy = 0;     ///< the oldest that the publisher's proxy had when it came
    time_point heard_at{};         ///< the last message
    time_point unpublished_at{};
    std::vector<player> players;
  };
  const copy& held(int stream) const { return copies_[static_cast<size_t>(stream)]; }

 protected:
  void before_work() override { fence_->woke(now()); }

 private:
  /// What it knows of a proxy, or of the load balancer before all: which changes it has not taken yet.
  struct peer {
    uint64_t beat = 0;   ///< the one that is out, or the last; counted over all peers
    uint64_t taken = 0;  ///< the last that was taken
    bool out = false;
    bool want_whole = true;
    time_point sent_at{}, whole_at{};
    std::vector<bool> changed, in_flight;
  };
  struct use {
    int conn = -1;
    int stream = -1;
    bool publishes = false;
  };
  copy& at_stream(int stream) { return copies_[static_cast<size_t>(stream)]; }
  void tick();
  void beat(int peer);
  void on_beat_reply(int peer, uint64_t beat, bool whole, const base::result<cluster::registration_reply>& reply);
  void publish(int conn, const packet& p);
  void play(int conn, const packet& p);
  void media(int conn, const packet& p);
  void told(int stream, const cluster::epoch& e);
  void unpublish(int stream);
  void drop(int stream);
  void close(int conn);
  void refuse(int conn, refusal why, const cluster::epoch& seen = {});
  void flush(int stream);
  void settle(int stream);
  void changed(int stream);

  world& w_;
  const int index_;
  const node self_;
  std::optional<cluster::fence> fence_;
  std::vector<copy> copies_;
  std::vector<use> uses_;
  std::vector<peer> peers_;
  uint64_t beats_ = 0;
};

}  // namespace sluice::sim
