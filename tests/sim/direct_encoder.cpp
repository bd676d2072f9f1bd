#include "sim/direct_encoder.hpp"

#include "sim/world.hpp"

namespace sluice::sim {
namespace {
constexpr duration back_min = 200ms, back_max = 1s;
}

direct_encoder::direct_encoder(world& w, int stream, int origin)
    : process(w.queue),
      w_(w),
      stream_(stream),
      origin_(origin),
      interval_(w.random.between(duration(180ms), duration(350ms))) {}

void direct_encoder::start() {
  begin_life();
  connect();
  tick();
}

void direct_encoder::connect() {
  agreed_ = false;
  source_ = w_.next_id();
  next_ = 0;
  conn_ = w_.net.dial(w_.outside_node(), w_.origin_node(origin_));
  packet p;
  p.what = packet::kind::publish;
  p.stream = stream_;
  p.session = static_cast<uint32_t>(source_);
  p.source = source_;
  w_.net.send(conn_, side::proxy, p);
}

void direct_encoder::tick() {
  after(interval_, [this] { tick(); });
  if (!agreed_) return;
  packet p;
  p.what = packet::kind::media;
  p.number = next_++;
  w_.net.send(conn_, side::proxy, p);
}

void direct_encoder::on_packet(int conn, const packet& p) {
  if (conn == conn_ && p.what == packet::kind::published) agreed_ = true;
}

void direct_encoder::on_closed(int conn, bool) {
  if (conn != conn_) return;
  agreed_ = false;
  after(w_.random.between(back_min, back_max), [this] { connect(); });
}

}  // namespace sluice::sim
