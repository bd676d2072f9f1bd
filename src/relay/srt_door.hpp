#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "proto/srt/cookie.hpp"
#include "proto/srt/relay_session.hpp"
#include "relay/shard.hpp"
#include "relay/source_rates.hpp"
#include "runtime/session_budget.hpp"
#include "runtime/udp_socket.hpp"

namespace sluice::relay {

class srt_session;

struct srt_limits {
  /// Shared by the process, outlives all doors; null: no limit. Those that run, or want to, have a place in it. Of each
  /// door there may be as many that have ended and linger, so that all may come back at once.
  runtime::session_budget* sessions = nullptr;
  size_t handshakes_max = 1000;  ///< of one shard, such as do not run yet
  /// Of one address and shard, a second. A caller repeats what is not answered four times a second.
  unsigned inductions_per_second = 200, conclusions_per_second = 100;
  /// An origin that has said nothing for so long is passed over by a publisher, within the time of his handshake; an
  /// endpoint, with others after it, in half of that time, also by a viewer.
  base::duration origin_answer = std::chrono::milliseconds(1200);
  uint16_t key_bytes = 0;  ///< 16, 24 or 32: told to callers in answer to their inductions; 0: none is told
  srt::session_limits session;
};

/// What the shards of a proxy share of SRT. Immutable, but for the counts.
struct srt_common {
  srt_common(const std::array<uint8_t, 16>& key, const srt_limits& of_shards, size_t sessions_per_address)
      : cookies(key), limits(of_shards), addresses(sessions_per_address) {}
  const srt::cookie_jar cookies;
  const srt_limits limits;
  source_counts addresses;
};

/// SRT callers of one shard: answers their inductions without keeping anything of them, checks their conclusions, and
/// hands datagrams to their sessions. A caller is known by his address and his socket id while he agrees with the
/// origin, and then by his address and the origin's id, the destination of all that he sends: two origins may have
/// given out the same.
class srt_door final : public runtime::udp_handler {
 public:
  srt_door(shard_context& shard, srt_common& common, runtime::udp_io& io);
  ~srt_door();

  base::result<base::endpoint> listen(const base::endpoint& at, runtime::udp_options options);
  /// Callers are told that the server is going down; sessions go on.
  void stop_accepting() { accepting_ = false; }
  void close_all(std::string_view reason);
  /// All sessions end, and the port is no longer this door's.
  void shut(std::string_view reason);
  /// Those that run, or want to.
  size_t sessions() const { return live_; }
  void for_each_session(const std::function<void(std::string_view kind, const std::string& stream)>& visit) const;

 private:
  friend class srt_session;
  struct name {
    base::endpoint peer;
    uint32_t id;
    bool operator==(const name&) const = default;
  };
  struct name_hash {
    uint64_t seed;
    size_t operator()(const name& n) const noexcept;
  };

  void on_datagrams(runtime::udp_socket& socket, std::span<const runtime::datagram> batch) override;
  void on_handshake(const runtime::datagram& d);
  void on_conclusion(const runtime::datagram& d, const srt::handshake& h);
  void open(const runtime::datagram& d, const srt::handshake& h, const std::string& stream_id);
  std::string_view lack(const base::ip_address& from, runtime::session_place& place);
  void refuse(const runtime::datagram& d, const srt::handshake& h, srt::reject why, const base::error& e,
              const std::string& session);
  void drop(std::string_view fault);  ///< a literal

  // For sessions.
  bool route(srt_session& s);     ///< it runs; false: another session of that address has the same destination
  void on_ended(srt_session& s);  ///< it has ended, and may linger
  void retire(srt_session& s);    ///< it is done with
  void count_refusal(std::string_view reason);

  shard_context& shard_;
  srt_common& common_;
  runtime::udp_io& io_;
  const std::string id_prefix_;
  uint64_t ids_ = 0;
  source_rates inductions_, conclusions_;
  std::unique_ptr<runtime::udp_socket> socket_;
  std::unordered_map<name, std::unique_ptr<srt_session>, name_hash> sessions_;  // by the client's socket id
  std::unordered_map<name, srt_session*, name_hash> routes_;                    // by the origin's
  size_t handshakes_ = 0, live_ = 0;  // of sessions_: those that do not run yet; those that have not ended
  bool accepting_ = true;
  std::optional<base::time_point> refusal_logged_;
  size_t refusals_unlogged_ = 0;
  base::metric_cell &sessions_cell_, &bytes_in_, &bytes_out_;
  upstream_metrics upstream_cells_;
  std::unordered_map<std::string_view, base::metric_cell*> dropped_;  // by fault
};

}  // namespace sluice::relay
