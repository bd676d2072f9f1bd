#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "cluster/core/stream_key.hpp"

namespace sluice::cluster {

/// Names in Redis. Those that begin with `srs-proxy-` are SRS's and are read and written by its Go proxies too; ours
/// stand beside them. All take the configured prefix: `p` gives `p:srs-proxy-…`. docs/redis.md lists them.
class redis_keys {
 public:
  explicit redis_keys(std::string_view prefix) : prefix_(prefix.empty() ? std::string() : std::string(prefix) + ":") {}

  /// Value: JSON of one origin, as SRS's proxies write it.
  std::string server(std::string_view origin_id) const { return server_prefix() + std::string(origin_id); }
  std::string server_prefix() const { return prefix_ + "srs-proxy-server:"; }
  /// The id of an origin in a key that server() could have made.
  std::optional<std::string> id_of_server(std::string_view key) const;
  /// Value: a JSON array of server keys.
  std::string all_servers() const { return prefix_ + "srs-proxy-all-servers"; }
  /// Value: the server key of the stream's origin, for SRS's proxies.
  std::string url(const stream_key& key) const { return prefix_ + "srs-proxy-url:" + key.str(); }
  /// Value: the owner record. In the Cluster slot of url().
  std::string owner(const stream_key& key) const { return prefix_ + "sluice-own:{" + url(key) + "}"; }
  /// Value: a random text, which a store that lost everything has lost too.
  std::string generation() const { return prefix_ + "sluice-generation"; }
  /// A hash: id of a proxy → JSON.
  std::string proxies() const { return prefix_ + "sluice-proxies"; }
  /// A hash: server id of an origin that is drained → since when, wall clock ms.
  std::string drains() const { return prefix_ + "sluice-drains"; }
  /// A hash: server id of an origin whose drain was undone → when. In the Cluster slot of drains(): a name with braces
  /// goes by what stands in them.
  std::string undone() const { return prefix_ + "sluice-undone:{" + drains() + "}"; }
  /// Any other name, with the prefix.
  std::string named(std::string_view name) const { return prefix_ + std::string(name); }
  /// The channel of publish/subscribe.
  std::string channel() const { return prefix_ + "sluice-messages"; }

 private:
  std::string prefix_;
};

}  // namespace sluice::cluster
