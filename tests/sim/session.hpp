#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cluster/core/coordinator.hpp"
#include "sim/network.hpp"

namespace sluice::sim {

class encoder;
class proxy;
class viewer;

/// One client's session in a proxy, as the core's answers reach it.
class session {
 public:
  session(proxy& px, uint32_t id, int stream) : px_(px), id_(id), stream_(stream) {}
  virtual ~session() = default;
  uint32_t id() const { return id_; }
  int stream() const { return stream_; }
  /// Of the origin that it is connected to, or was last.
  const cluster::assignment& to() const { return to_; }
  bool ended() const { return ended_; }

  virtual void on_answer(uint64_t request, base::result<cluster::assignment> answer) = 0;
  virtual void on_verdict(cluster::origin_verdict v) = 0;
  virtual void on_origin_lost(const std::string& origin_id, cluster::loss_reason reason) = 0;
  virtual void on_owner_changed(const cluster::assignment& to) = 0;
  /// Whose bytes they are.
  virtual const std::string& origin_of(int) const { return to_.origin_id; }
  virtual void on_packet(int conn, const packet& p) = 0;
  virtual void on_closed(int conn) = 0;
  /// The client is gone.
  virtual void leave() = 0;

 protected:
  /// Later in this session's life, unless it has ended or `step_` has moved on.
  template <typename F>
  void later(duration d, F f);
  /// TCP must connect in one second, RTMP agree in five.
  void watch_dial();
  virtual void on_undialled() = 0;
  virtual void on_lost(int conn) = 0;

  proxy& px_;
  const uint32_t id_;
  const int stream_;
  cluster::assignment to_;
  int conn_ = -1;
  bool agreed_ = false;                    ///< the origin has, on this connection
  uint64_t request_ = 0;                   ///< claim or find without an answer
  uint64_t step_ = 0;                      ///< counts its states: old timers and answers are told by it
  uint64_t asked_at_step_ = ~uint64_t{0};  ///< a verdict is waited for
  bool ended_ = false;
};

/// A publisher's owner is lost, and the client does not know.
struct publish_outage {
  time_point since{};
  bool claimed = false;
  unsigned attempts = 0;
};

/// A publisher: claims, publishes at the owner, keeps the last messages, and goes on at the next owner when that one is
/// lost. The encoder is read all the time.
class publish_session final : public session {
 public:
  publish_session(proxy& px, uint32_t id, int stream, encoder& client);
  void start() { claim(); }

  /// The encoder's next message.
  void on_media();
  /// The drain's wish; make before break.
  void on_move(const cluster::epoch& from, const cluster::assignment& to);
  bool running() const { return agreed_ && conn_ >= 0; }
  int conn() const { return conn_; }
  uint64_t source() const { return source_; }
  int64_t next() const { return next_; }

  void on_answer(uint64_t request, base::result<cluster::assignment> answer) override;
  void on_verdict(cluster::origin_verdict v) override;
  void on_origin_lost(const std::string& origin_id, cluster::loss_reason reason) override;
  void on_owner_changed(const cluster::assignment& to) override;
  const std::string& origin_of(int conn) const override {
    return conn == move_conn_ ? move_to_.origin_id : to_.origin_id;
  }
  void on_packet(int conn, const packet& p) override;
  void on_closed(int conn) override;
  void leave() override;

 private:
  int64_t oldest() const;
  void claim();
  void claim_later();
  void dial();
  void send_publish(int conn, const cluster::assignment& to);
  void on_undialled() override;
  void try_next();
  void on_started(int64_t wanted);
  void on_refused(refusal why);
  void on_lost(int conn) override;
  void begin_outage();
  void fail_over();
  void hear_news();
  void hang_up();
  void say_goodbye();
  void on_committed(bool yes);
  void end_move(const char* why);
  void count_move();
  void close_client();

  encoder& client_;
  const uint64_t source_;
  int64_t next_ = 0;
  std::optional<publish_outage> outage_;
  std::optional<cluster::assignment> news_;  // of the owner, which came while nothing was settled
  std::vector<std::string> failed_;
  uint64_t granted_ = 0;    // the claim that was answered, until its publish has started
  cluster::epoch refused_;  // by the owner, who has seen this one
  unsigned stale_ = 0;
  bool ever_started_ = false;
  time_point closed_alive_at_{};
  // How the brake on moves is checked.
  enum class reason_left : uint8_t { gone, silent, other };
  reason_left left_ = reason_left::other;
  std::string published_at_;  // the last origin that agreed
  time_point answered_at_{}, moved_at_ = time_point::min();
  // A move under way.
  int move_conn_ = -1;
  uint64_t move_request_ = 0;
  int64_t move_wanted_ = 0;
  cluster::assignment move_to_;
};

/// A viewer: finds the owner, plays there from the message after the last, and goes where the owner goes.
class view_session final : public session {
 public:
  view_session(proxy& px, uint32_t id, int stream, viewer& client);
  void start();
  uint64_t source() const { return source_; }
  int64_t next() const { return next_; }

  void on_answer(uint64_t request, base::result<cluster::assignment> answer) override;
  void on_verdict(cluster::origin_verdict v) override;
  void on_origin_lost(const std::string& origin_id, cluster::loss_reason reason) override;
  void on_owner_changed(const cluster::assignment& to) override;
  void on_packet(int conn, const packet& p) override;
  void on_closed(int conn) override;
  void leave() override;

 private:
  void find();
  void retry();
  void drop_upstream();
  void dial();
  void on_undialled() override;
  void on_lost(int conn) override;
  bool is_fed() const;
  void watch_quiet();
  void hang_up();
  void close_client();

  viewer& client_;
  std::optional<cluster::assignment> news_;  // a lower owner, while the present one has media
  uint64_t source_ = 0;                      // of the last message
  int64_t next_ = 0;
  std::map<uint64_t, int64_t> seen_;     // by publication: the message after the last
  uint64_t followed_ = 0;                // the publication that this connection is at
  bool skipping_ = false;                // of which it sends again what is known
  time_point give_up_at_ = base::never;  // until which it waits for an owner
  time_point media_at_{}, heard_at_{};
  bool pinged_ = false;
  time_point lost_alive_at_{};
  std::string lost_alive_origin_;
};

}  // namespace sluice::sim
