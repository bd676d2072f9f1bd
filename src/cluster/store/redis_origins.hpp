#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/time.hpp"
#include "cluster/store/redis_keys.hpp"
#include "cluster/store/server_text.hpp"
#include "runtime/redis_client.hpp"

namespace sluice::cluster {

/// The origins in Redis, as SRS's proxies keep them there: a key each, which expires, and a list of these keys, which
/// is pruned. Control thread.
class redis_origins {
 public:
  struct config {
    std::string host;           ///< names the network that this process is in
    base::duration ttl{};       ///< PROXY_ORIGIN_SERVER_TTL
    address_policy policy;      ///< for what others have written
    size_t origins_max = 1000;  ///< written or read; what is beyond is left out
  };
  redis_origins(runtime::redis_client& client, redis_keys keys, config c)
      : client_(client), keys_(std::move(keys)), config_(std::move(c)) {}

  /// An origin has registered with this proxy. Writes if it is new or has changed, or a third of its life (30 s at
  /// most) is over.
  void note(const origin_registration& registration, base::time_point now, uint64_t wall_ms);
  /// What this proxy has noted is written again at its next registration: the store may have lost it.
  void forget_written() { written_.clear(); }
  /// An origin that is there, and how long ago that was written: by two clocks, and zero if it does not tell.
  using on_stored = std::function<void(origin_registration, base::duration ago)>;
  /// Reads what is there, and takes keys that have expired off the list. `each` is called for every origin that is
  /// meant for this host, later. Nothing while a load is under way.
  void load(uint64_t wall_ms, on_stored each);

  /// Whether addresses of `registration`, told in the network `host`, mean something here.
  bool is_for_us(const origin_registration& registration, const std::string& host) const;

 private:
  struct entry {
    std::string text;  // without the time
    base::time_point at;
  };
  /// One load().
  struct reading {
    std::vector<std::string> keys;
    uint64_t wall_ms;
    on_stored each;
    size_t next, done;
    std::vector<std::string> expired;
  };
  void read_all(std::vector<std::string> listed, uint64_t wall_ms, on_stored each);
  void read_next(const std::shared_ptr<reading>& all);
  void drop_from_list(const std::vector<std::string>& expired);

  runtime::redis_client& client_;
  bool loading_ = false;
  const redis_keys keys_;
  const config config_;
  std::map<std::string, entry> written_;  // by id
};

}  // namespace sluice::cluster
