#pragma once

#include "sim/network.hpp"

namespace sluice::sim {

class world;

/// An encoder that publishes straight to one origin, without a proxy or an epoch: nobody has claimed its stream,
/// players find it by what the origin says that it holds.
class direct_encoder final : public process, public network::endpoint {
 public:
  direct_encoder(world& w, int stream, int origin);

  void start();
  void on_packet(int conn, const packet& p) override;
  void on_closed(int conn, bool by_reset) override;

 private:
  void connect();
  void tick();

  world& w_;
  const int stream_, origin_;
  const duration interval_;
  int conn_ = -1;
  bool agreed_ = false;
  uint64_t source_ = 0;
  int64_t next_ = 0;
};

}  // namespace sluice::sim
