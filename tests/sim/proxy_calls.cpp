// The part of the proxy that its clients and sessions call.

#include "sim/clients.hpp"
#include "sim/monitor.hpp"
#include "sim/origin.hpp"
#include "sim/prober.hpp"
#include "sim/proxy.hpp"
#include "sim/session.hpp"
#include "sim/store.hpp"
#include "sim/world.hpp"

namespace sluice::sim {

// -- clients

void proxy::open_publish(encoder& client, uint32_t id, int stream) {
  input([this, id, &client, stream] {
    if (client.session() != id) return;  // left while this proxy was stopped
    auto s = std::make_unique<publish_session>(*this, id, stream, client);
    auto& opened = *s;
    sessions_.emplace(id, std::move(s));
    opened.start();
  });
}

void proxy::open_view(viewer& client, uint32_t id, int stream) {
  input([this, id, &client, stream] {
    if (client.session() != id) return;
    auto s = std::make_unique<view_session>(*this, id, stream, client);
    auto& opened = *s;
    sessions_.emplace(id, std::move(s));
    opened.start();
  });
}

void proxy::leave(uint32_t id) {
  input([this, id] {
    if (session* s = find_session(id)) s->leave();
  });
}

session* proxy::find_session(uint32_t id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() || found->second->ended() ? nullptr : found->second.get();
}

publish_session* proxy::publisher(uint32_t id) { return dynamic_cast<publish_session*>(find_session(id)); }
view_session* proxy::view(uint32_t id) { return dynamic_cast<view_session*>(find_session(id)); }

void proxy::done(session& s) {
  const auto found = sessions_.find(s.id());
  if (found == sessions_.end()) return;
  ended_.push_back(std::move(found->second));
  sessions_.erase(found);
}

// -- connections of sessions

int proxy::dial_to(const std::string& origin_id) {
  const int index = std::atoi(origin_id.c_str() + 1);  // `o2-s1-1`: the address outlives the incarnation
  return w_.net.dial(self_, w_.origin_node(index));
}

int proxy::dial(session& by, const std::string& origin_id) {
  const int conn = dial_to(origin_id);
  by_conn_[conn] = by.id();
  return conn;
}

void proxy::hang_up(int conn) {
  by_conn_.erase(conn);
  w_.net.close(conn, side::proxy);
}

void proxy::on_packet(int conn, const packet& p) {
  if (prober_->on_packet(conn, p)) return;
  const auto found = by_conn_.find(conn);
  if (found == by_conn_.end()) return;
  session* const s = find_session(found->second);
  if (s == nullptr) return;
  heard(s->origin_of(conn));
  s->on_packet(conn, p);
}

void proxy::on_closed(int conn, bool) {
  if (prober_->on_closed(conn)) return;
  const auto found = by_conn_.find(conn);
  if (found == by_conn_.end()) return;
  const uint32_t id = found->second;
  by_conn_.erase(found);
  if (session* s = find_session(id)) s->on_closed(conn);
}

// -- the core, as sessions reach it

uint64_t proxy::claim(const session& asker, cluster::claim_request request) {
  const uint64_t id = ++last_id_;
  waiting_[id] = asker.id();
  open_request open{asker.id(), asker.stream(), true, request.deadline == base::never ? now() + 3s : request.deadline};
  if (!store_ok_ && !request.fail_over && request.exclude.empty()) open.without_store = now();
  to_core([this, id, open, shared = std::make_shared<cluster::claim_request>(std::move(request))] {
    requests_[id] = open;
    core_->claim(id, w_.key(open.stream), std::move(*shared), at());
  });
  return id;
}

uint64_t proxy::find(const session& asker, time_point deadline) {
  const uint64_t id = ++last_id_;
  waiting_[id] = asker.id();
  to_core([this, id, open = open_request{asker.id(), asker.stream(), false, deadline}] {
    requests_[id] = open;
    core_->find(id, w_.key(open.stream), open.deadline, at());
  });
  return id;
}

void proxy::cancel(uint64_t request) {
  waiting_.erase(request);
  to_core([this, request] {
    if (requests_.erase(request) > 0 && draining_) cancelled_.insert(request);
    core_->cancel(request, at());
  });
}

void proxy::claim_refused(uint64_t request) {
  to_core([this, request] { core_->claim_refused(request, at()); });
}

void proxy::watched(int stream) {
  to_core([this, stream] { core_->watched(w_.key(stream), at()); });
}

void proxy::publish_started(int stream, const cluster::epoch& e) {
  to_core([this, stream, e] { core_->publish_started(w_.key(stream), e, at()); });
}

void proxy::publish_ended(int stream, const cluster::epoch& e) {
  to_core([this, stream, e] { core_->publish_ended(w_.key(stream), e, at()); });
}

uint64_t proxy::commit_move(const session& asker, const cluster::epoch& from, const cluster::assignment& to) {
  const uint64_t id = ++last_id_;
  waiting_[id] = asker.id();
  struct arguments {
    cluster::epoch from;
    cluster::assignment to;
  };
  // A store that fails is asked until it answers.
  const open_request open{asker.id(), asker.stream(), true, base::never, base::never, true};
  to_core([this, id, open, shared = std::make_shared<const arguments>(from, to)] {
    requests_[id] = open;
    core_->commit_move(id, w_.key(open.stream), shared->from, shared->to, at());
  });
  return id;
}

void proxy::move_refused(int stream, const cluster::epoch& from, const std::string& to_origin, std::string reason) {
  struct arguments {
    cluster::epoch from;
    std::string to, reason;
  };
  to_core([this, stream, shared = std::make_shared<arguments>(from, to_origin, std::move(reason))] {
    core_->move_refused(w_.key(stream), shared->from, shared->to, std::move(shared->reason), at());
  });
}

void proxy::dial_failed(const std::string& origin_id) {
  to_core([this, origin_id = std::string(origin_id)] { core_->dial_failed(origin_id, at()); });
}

void proxy::dial_ok(const std::string& origin_id) {
  to_core([this, origin_id = std::string(origin_id)] { core_->dial_ok(origin_id, at()); });
}

uint64_t proxy::ask_verdict(const session& asker, const std::string& origin_id, bool agreed) {
  const uint64_t id = ++last_id_;
  asks_[id] = asker.id();
  to_core(
      [this, id, agreed, origin_id = std::string(origin_id)] { core_->origin_closed(id, origin_id, at(), agreed); });
  return id;
}

}  // namespace sluice::sim
