#include "cluster/store/redis_keys.hpp"

namespace sluice::cluster {

std::optional<std::string> redis_keys::id_of_server(std::string_view key) const {
  const std::string before = server_prefix();
  if (!key.starts_with(before) || key.size() == before.size()) return std::nullopt;
  return std::string(key.substr(before.size()));
}

}  // namespace sluice::cluster
