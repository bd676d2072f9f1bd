#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/metrics.hpp"
#include "base/result.hpp"
#include "proto/stun/message.hpp"
#include "relay/rtc/gate.hpp"
#include "relay/rtc/paths.hpp"
#include "relay/rtc/session.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/loop.hpp"
#include "runtime/udp_socket.hpp"

namespace sluice::relay {

class rtc_relay;

/// A check (STUN binding request) whose name no session of the shard has.
struct rtc_lookup {
  std::string username;
  runtime::udp_path from;
  unsigned shard = 0;
  std::string bytes;  ///< the whole of it: a message that stun::parse() takes, so at most stun::message_bytes_max
};

/// Counts datagrams of WebRTC clients that went nowhere.
base::metric_cell& rtc_dropped(base::metrics& metrics, std::string_view reason);

/// What a shard has to say to the control thread. Called on the shard; carried over by posting.
class rtc_reports {
 public:
  /// A check came with a name that no session here has. What may follow is add() and retry() with the check, or miss()
  /// with its name.
  virtual void look_up(rtc_lookup check) = 0;
  /// Its media cannot be carried (any more). `reason` is a literal.
  virtual void failed(const std::shared_ptr<rtc_session>& s, std::string_view reason) = 0;

 protected:
  ~rtc_reports() = default;
};

/// Datagrams of WebRTC sessions on one shard. A client's check (STUN binding request) whose name is a session's opens
/// the way for the address that it came from; whatever comes from there then goes to the session's origin over a
/// connected socket of its own, and back. Everything else is dropped and counted: this class never answers anybody. No
/// lock and no allocation on the way of media.
///
/// All shards know all sessions by name. A session is at home where its upstream socket is: first where its first check
/// came in, then on the shard where its client's selected address comes in (paths.hpp). What comes in elsewhere is
/// handed to its home.
class rtc_relay final : runtime::udp_handler {
 public:
  /// `all`: the relays of every shard by index, complete before any runs; `loops` likewise. Everything outlives it.
  struct surroundings {
    unsigned index;
    runtime::loop& loop;
    runtime::udp_io& io;
    base::metrics& metrics;
    const rtc_config& config;
    runtime::descriptor_budget* descriptors;
    rtc_reports& reports;
    const std::vector<rtc_relay*>& all;
    uint64_t seed;
  };
  explicit rtc_relay(const surroundings& around);
  ~rtc_relay();

  /// The port is shared with the other shards: runtime::reserve_udp_port().
  base::result<void> listen(const base::endpoint& at);

  /// Serves nobody any more, and posts nothing to other shards: call it on each before any is destroyed.
  void stop();

  // By the control thread, posted.
  void add(std::shared_ptr<rtc_session> s, rtc_credentials with);
  /// The session's client does not ask by that name any more.
  void forget(const std::shared_ptr<rtc_session>& s, const std::string& username);
  /// The session is over. `usernames`: all that add() told and forget() has not taken back.
  void remove(const std::shared_ptr<rtc_session>& s, const std::vector<std::string>& usernames);
  /// A check that was looked up counts as if it came in now, but is not looked up again.
  void retry(rtc_lookup check);
  /// Nobody has that name: `checks` with it came in vain, and for a while no more of them are looked up.
  void miss(const std::string& username, size_t checks);

  runtime::loop& loop() { return here_.loop; }
  size_t sessions() const { return sessions_.size(); }  ///< that have come to this shard
  size_t peers() const { return peers_.size(); }
  size_t names() const { return names_.size(); }

 private:
  struct upstream;
  struct local_session;
  struct known_name {
    std::shared_ptr<rtc_session> session;
    std::string password;
    token_bucket newcomers;  // its client's checks from addresses that it had not before
  };
  struct peer {
    local_session* of = nullptr;
    token_bucket checks;
    base::time_point checked_at{};
  };
  struct name_hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  struct endpoint_hash {
    size_t operator()(const base::endpoint& e) const;
  };
  /// A check or other datagram that came in on a shard where its session is not at home.
  struct foreign {
    std::shared_ptr<rtc_session> session;
    rtc_paths::path from;
    std::string bytes;
    bool is_check = false, nominates = false;
    unsigned hops = 0;
  };
  struct moving;

  void on_datagrams(runtime::udp_socket& socket, std::span<const runtime::datagram> batch) override;
  void on_stun(const runtime::datagram& d);
  void on_check(known_name& name, const stun::message& m, const runtime::datagram& d);
  void on_unknown_name(std::string_view username, const runtime::datagram& d);
  bool is_genuine(const known_name& name, const stun::message& m, base::bytes_view bytes);
  void checked(local_session& s, const rtc_paths::path& from, base::bytes_view transaction, bool nominates);
  bool to_origin(local_session& s, const runtime::udp_path& from, base::bytes_view bytes);
  void to_client(local_session& s, std::span<const runtime::datagram> batch);
  void forward(local_session& s, base::bytes_view bytes);

  local_session& local(const std::shared_ptr<rtc_session>& s);
  peer& enter(local_session& s, const base::endpoint& from);
  void erase_peer(const base::endpoint& at);
  bool settle(local_session& s);
  int own() const { return static_cast<int>(here_.index); }
  void hand_over(foreign what);
  void take(foreign what);
  void follow_client(local_session& s);
  void adopt(moving what);
  void drop(std::string_view reason);

  const surroundings here_;
  std::unique_ptr<runtime::udp_socket> socket_;
  bool stopped_ = false;
  std::unordered_map<std::string, known_name, name_hash, std::equal_to<>> names_;
  std::unordered_map<const rtc_session*, std::unique_ptr<local_session>> sessions_;
  std::unordered_map<base::endpoint, peer, endpoint_hash> peers_;
  std::shared_ptr<std::atomic<size_t>> foreign_under_way_ = std::make_shared<std::atomic<size_t>>(0);
  source_rate sources_;
  recent_misses misses_;
  token_bucket lookups_, verifications_;
  base::metric_cell &bytes_in_, &bytes_out_;
  std::unordered_map<std::string_view, base::metric_cell*> dropped_;
};

}  // namespace sluice::relay
