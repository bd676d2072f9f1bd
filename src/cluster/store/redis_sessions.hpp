#pragma once

#include <string>

#include "cluster/store/redis_keys.hpp"
#include "cluster/store/session_store.hpp"
#include "runtime/redis_client.hpp"

namespace sluice::cluster {

/// Sessions that any proxy on this Redis can go on with, under the names that SRS's Go proxies use. Control thread.
class redis_sessions final : public session_store {
 public:
  redis_sessions(runtime::redis_client& client, redis_keys keys) : client_(client), keys_(std::move(keys)) {}

  void put(const std::string& key, const std::string& value, base::duration ttl) override;
  void get(const std::string& key, on_value done) override;
  void drop(const std::string& key) override;

 private:
  runtime::redis_client& client_;
  const redis_keys keys_;
};

}  // namespace sluice::cluster
