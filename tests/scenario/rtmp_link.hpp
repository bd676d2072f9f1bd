#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "base/buffer.hpp"
#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "proto/rtmp/client_session.hpp"
#include "proto/rtmp/server_session.hpp"

namespace sluice::scenario {

/// One direction of a link in memory: bytes arrive after a random delay, in order, cut at random places.
class pipe {
 public:
  explicit pipe(uint64_t seed) : random_(seed) {}

  void send(base::send_buffer& from, base::time_point now) {
    while (!from.empty()) {
      const auto bytes = from.pending().first(std::min<size_t>(from.size(), piece_size()));
      const auto arrival = std::max(last_arrival_, now + std::chrono::microseconds(random_() % 40'000));
      last_arrival_ = arrival;
      pieces_.push_back({arrival, {bytes.begin(), bytes.end()}});
      from.consume(bytes.size());
    }
  }
  base::time_point next_arrival() const { return pieces_.empty() ? base::never : pieces_.front().arrival; }
  std::vector<uint8_t> take() {
    auto bytes = std::move(pieces_.front().bytes);
    pieces_.pop_front();
    return bytes;
  }

 private:
  struct piece {
    base::time_point arrival;
    std::vector<uint8_t> bytes;
  };
  size_t piece_size() {
    switch (random_() % 4) {
      case 0:
        return 1 + random_() % 3;
      case 1:
        return 1 + random_() % 200;
      default:
        return 1 + random_() % 70'000;
    }
  }
  std::mt19937_64 random_;
  std::deque<piece> pieces_;
  base::time_point last_arrival_{};
};

/// A client and a server session joined by two pipes under a fake clock.
class session_pair {
 public:
  session_pair(const rtmp::session_config& config, rtmp::client_request request, uint64_t seed)
      : client(config, std::move(request), base::time_point{}, seed),
        server(config, base::time_point{}, seed + 1),
        up_(seed + 2),
        down_(seed + 3) {}

  rtmp::client_session client;
  rtmp::server_session server;

  base::time_point now() const { return now_; }
  /// Carries everything that is to be sent, and lets the next piece arrive. False when nothing is under way.
  base::result<bool> step() {
    up_.send(client.output(), now_);
    down_.send(server.output(), now_);
    const auto at = std::min(up_.next_arrival(), down_.next_arrival());
    if (at == base::never) return false;
    now_ = std::max(now_, at);
    base::result<void> ok;
    if (up_.next_arrival() <= now_) {
      ok = server.receive(up_.take(), now_);
    } else {
      ok = client.receive(down_.take(), now_);
    }
    if (!ok) return tl::unexpected(ok.error());
    return true;
  }
  void pass(base::duration time) { now_ += time; }

 private:
  pipe up_, down_;
  base::time_point now_{};
};

}  // namespace sluice::scenario
