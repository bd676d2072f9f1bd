#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/endpoint.hpp"
#include "base/time.hpp"
#include "cluster/core/stream_key.hpp"
#include "relay/origin_lines.hpp"
#include "runtime/session_budget.hpp"

namespace sluice::relay {

enum class rtc_kind : uint8_t { publish, play };
inline const char* name_of(rtc_kind k) { return k == rtc_kind::publish ? "publish" : "play"; }

/// What a proxy's WebRTC goes by. Immutable.
struct rtc_config {
  std::vector<base::network> trusted;           ///< whose X-Forwarded-For goes on
  std::vector<base::ip_address> advertise;      ///< that clients are told; empty: where they reached the API
  size_t sessions_max = 100'000;                ///< in all
  runtime::session_budget* sessions = nullptr;  ///< those of all protocols; outlives all; null: no limit
  size_t sessions_per_source_max = 1000;        ///< of one source (counted_source())
  base::duration play_wait = std::chrono::seconds(10);
  unsigned claim_attempts = 5;  ///< origins tried for one publish
  /// RFC 7675 §5.1: consent of the client is gone when it has not asked for so long; the origin's, likewise.
  base::duration consent = std::chrono::seconds(30);
  base::duration store_ttl = std::chrono::seconds(120);  ///< of what another proxy may go on with
  /// From one source, of what does not come from a client's address: behind a NAT there may be as many clients as a
  /// source may have, who all come at once when a proxy has taken another one's place. Per shard.
  double checks_per_second = 1000, checks_burst = 2000;
  /// Of checks with unknown names, per shard. When a proxy has taken another one's place, all its clients' checks are
  /// such for a moment. One costs a hop to the control thread and a pipelined GET: some
  /// 10 µs there, if there is no such name.
  double lookups_per_second = 5000, lookups_burst = 5000;
  /// Of checks' passwords, per shard. A client checks each 2.5 s or less often, so this is about what is forged. One
  /// takes some 2 µs, as long as to receive the datagram; all of them, a tenth of a processor.
  double verifications_per_second = 50'000, verifications_burst = 50'000;
};

/// A client's session as every thread of the proxy sees it. Made and ended by the control thread (rtc_sessions),
/// carried by one shard at a time (its home). What is not atomic does not change.
struct rtc_session {
  std::string id;  ///< in logs
  rtc_kind kind = rtc_kind::play;
  cluster::stream_key key;
  std::string origin_id;
  base::endpoint origin;  ///< where its media goes
  std::shared_ptr<origin_line> line;

  static constexpr int homeless = -1;
  std::atomic<bool> over{false};    ///< it has ended; set before the shards are told
  std::atomic<int> home{homeless};  ///< index of the shard that has its upstream socket
  /// Nanoseconds of the monotonic clock: the client's last check, the origin's last datagram.
  std::atomic<int64_t> client_at{0}, origin_at{0};
  std::atomic<uint64_t> bytes_in{0}, bytes_out{0};  ///< from and to the client
};

/// How a client's checks are recognised: USERNAME is `answer's ufrag:offer's ufrag`; the password is the answer's. An
/// ICE restart adds another one.
struct rtc_credentials {
  std::string username;
  std::string password;  ///< empty: not known, checks are taken on trust
};

}  // namespace sluice::relay
