#pragma once

#include <string>

#include "cluster/store/redis_keys.hpp"
#include "cluster/store/session_store.hpp"
#include "runtime/redis_client.hpp"

namespace sluice::cluster {

/// Sessions that any proxy on this Redis can go on with, under the names that SRS's Go proxies use. Control thread.
class redis_sessions final : public session_store {
 public:
  /// `client` outlives it. What is ended is told on keys.channel(), by `proxy_id`.
  redis_sessions(runtime::redis_client& client, redis_keys keys, std::string proxy_id)
      : client_(client), keys_(std::move(keys)), proxy_id_(std::move(proxy_id)) {}

  void put(const std::string& key, const std::string& value, base::duration ttl) override;
  void get(const std::string& key, on_value done) override;
  void drop(const std::string& key) override;
  void end(const std::string& key) override;

 private:
  runtime::redis_client& client_;
  const redis_keys keys_;
  const std::string proxy_id_;
};

}  // namespace sluice::cluster
