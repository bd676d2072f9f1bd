#pragma once

#include "sim/proxy.hpp"
#include "sim/session.hpp"

namespace sluice::sim {

template <typename F>
void session::later(duration d, F f) {
  px_.after(d, [&px = px_, id = id_, step = step_, this, f = std::move(f)]() mutable {
    if (px.has_session(id, *this) && step_ == step) f();
  });
}

}  // namespace sluice::sim
