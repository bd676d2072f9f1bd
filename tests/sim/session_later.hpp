#pragma once

#include "sim/proxy.hpp"
#include "sim/session.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

template <typename F>
void session::later(duration d, F f) {
  px_.after(d, [&px = px_, id = id_, step = step_, this, f = std::move(f)]() mutable {
    if (px.has_session(id, *this) && step_ == step) f();
  });
}

inline void session::watch_dial() {
  later(1s, [this] {
    if (agreed_) return;
    const int conn = conn_;
    if (!px_.in().net.was_connected(conn)) {
      px_.hang_up(std::exchange(conn_, -1));
      return on_undialled();
    }
    later(4s, [this, conn] {
      if (agreed_ || conn_ != conn) return;
      on_lost(conn);
    });
  });
}

}  // namespace sluice::sim
