#pragma once

#include <cstdint>
#include <map>

#include "sim/event_queue.hpp"

namespace sluice::sim {

class proxy;
class world;

/// An encoder: publishes one stream through a proxy, a message every so often, and comes back when it was closed.
class encoder {
 public:
  encoder(world& w, int stream);

  void start() { connect(); }
  /// Its network is gone: the proxy learns nothing; it comes back through another.
  void vanish();
  /// It ends in an orderly way, and comes back after `away`; zero: never.
  void leave(duration away);
  void on_proxy_gone(const proxy* gone);
  void on_session_closed(uint32_t session);

  int stream() const { return stream_; }
  /// It wants to publish.
  bool active() const { return active_; }
  const proxy* at() const { return at_; }
  uint32_t session() const { return session_; }
  time_point connected_at() const { return connected_at_; }

 private:
  void connect();
  void connect_later(duration d);
  void tick(uint64_t turn);

  world& w_;
  const int stream_;
  bool active_ = true;
  proxy* at_ = nullptr;
  uint32_t session_ = 0;
  uint64_t turn_ = 0;  // counts its connections
  duration interval_;
  time_point connected_at_{};
};

/// A viewer of one stream. Checks that he gets each message once and in order.
class viewer {
 public:
  viewer(world& w, int stream);

  void start() { connect(); }
  void on_proxy_gone(const proxy* gone);
  void on_session_closed(uint32_t session);
  void on_message(uint64_t source, int64_t number);

  int stream() const { return stream_; }
  const proxy* at() const { return at_; }
  uint32_t session() const { return session_; }
  time_point connected_at() const { return connected_at_; }

 private:
  void connect();
  void connect_later(duration d);

  world& w_;
  const int stream_;
  proxy* at_ = nullptr;
  uint32_t session_ = 0;
  uint64_t turn_ = 0;
  time_point connected_at_{};
  std::map<uint64_t, int64_t> next_;  // by source, of this session
};

}  // namespace sluice::sim
