#pragma once

#include <string>

#include "cluster/core/ownership.hpp"
#include "cluster/store/redis_keys.hpp"
#include "runtime/redis_client.hpp"

namespace sluice::cluster {

/// The owner store of several proxies: each step is one call of a script on the stream's two keys, atomic in Redis
/// (redis_scripts.hpp). Error reasons: store_unavailable (no answer in time, or nobody to ask: it may have been done),
/// store_error, bad_record. Requests for one key take effect in order unless a Cluster moves its slot meanwhile.
/// Control thread.
class redis_store final : public owner_store {
 public:
  /// `client` outlives it. Owners that are written are announced on keys.channel(), by `proxy_id`.
  redis_store(runtime::redis_client& client, redis_keys keys, std::string proxy_id)
      : client_(client), keys_(std::move(keys)), proxy_id_(std::move(proxy_id)) {}

  void submit(store_request request, on_reply done) override;

 private:
  base::result<std::optional<owner_record>> taken(const resp::value& answer) const;

  runtime::redis_client& client_;
  const redis_keys keys_;
  const std::string proxy_id_;
};

}  // namespace sluice::cluster
