#include "sim/clients.hpp"

#include "sim/proxy.hpp"
#include "sim/session.hpp"
#include "sim/world.hpp"

namespace sluice::sim {
namespace {

constexpr duration back_min = 200ms, back_max = 1s;
/// A proxy ends a client's connection that brings nothing.
constexpr duration idle_max = 15s;

}  // namespace

encoder::encoder(world& w, int stream)
    : w_(w), stream_(stream), interval_(w.random.between(duration(180ms), duration(350ms))) {}

void encoder::connect() {
  if (!active_ || at_ != nullptr) return;
  proxy* const to = w_.some_proxy();
  if (to == nullptr) return connect_later(back_max);
  at_ = to;
  connected_at_ = w_.queue.now();
  session_ = static_cast<uint32_t>(w_.next_id());
  w_.trace("encoder of s{} connects to {} as session {}", stream_, w_.name_of(to->self()), session_);
  to->open_publish(*this, session_, stream_);
  const uint64_t turn = ++turn_;
  w_.queue.at(w_.queue.now() + interval_, [this, turn] { tick(turn); });
}

void encoder::connect_later(duration d) {
  const uint64_t turn = ++turn_;
  w_.queue.at(w_.queue.now() + d, [this, turn] {
    if (turn_ == turn) connect();
  });
}

void encoder::tick(uint64_t turn) {
  if (turn_ != turn || at_ == nullptr) return;
  at_->input([to = at_, id = session_] {
    if (publish_session* s = to->publisher(id)) s->on_media();
  });
  w_.queue.at(w_.queue.now() + interval_, [this, turn] { tick(turn); });
}

void encoder::vanish() {
  if (at_ == nullptr) return;
  w_.trace("encoder of s{} vanishes, session {} stays", stream_, session_);
  w_.queue.at(w_.queue.now() + idle_max, [old = at_, id = session_] { old->leave(id); });
  at_ = nullptr;
  session_ = 0;
  connect_later(w_.random.between(back_min, 3 * back_max));
}

void encoder::leave(duration away) {
  if (at_ != nullptr) {
    w_.trace("encoder of s{} leaves", stream_);
    at_->leave(session_);
  }
  at_ = nullptr;
  session_ = 0;
  ++turn_;
  active_ = away != duration{};
  if (active_) connect_later(away);
}

void encoder::on_proxy_gone(const proxy* gone) {
  if (at_ != gone) return;
  at_ = nullptr;
  session_ = 0;
  connect_later(w_.random.between(back_min, back_max));
}

void encoder::on_session_closed(uint32_t session) {
  if (session_ != session) return;
  w_.trace("encoder of s{} is closed", stream_);
  on_proxy_gone(at_);
}

viewer::viewer(world& w, int stream) : w_(w), stream_(stream) {}

void viewer::connect() {
  if (at_ != nullptr) return;
  proxy* const to = w_.some_proxy();
  if (to == nullptr) return connect_later(back_max);
  at_ = to;
  connected_at_ = w_.queue.now();
  next_.clear();
  ++turn_;
  session_ = static_cast<uint32_t>(w_.next_id());
  to->open_view(*this, session_, stream_);
}

void viewer::connect_later(duration d) {
  const uint64_t turn = ++turn_;
  w_.queue.at(w_.queue.now() + d, [this, turn] {
    if (turn_ == turn) connect();
  });
}

void viewer::on_proxy_gone(const proxy* gone) {
  if (at_ != gone) return;
  at_ = nullptr;
  session_ = 0;
  connect_later(w_.random.between(back_min, back_max));
}

void viewer::on_session_closed(uint32_t session) {
  if (session_ == session) on_proxy_gone(at_);
}

void viewer::on_message(uint64_t source, int64_t number) {
  w_.note(source ^ static_cast<uint64_t>(number) << 32);
  int64_t& next = next_[source];
  if (number < next)
    w_.fail(fmt::format("f: view {} of s{} gets message {} of session {} after {}", session_, stream_, number, source,
                        next - 1));
  next = number + 1;
}

}  // namespace sluice::sim
