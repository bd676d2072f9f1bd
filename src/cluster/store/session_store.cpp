#include "cluster/store/session_store.hpp"

namespace sluice::cluster {

void memory_session_store::put(const std::string& key, const std::string& value, base::duration ttl) {
  remove_expired();
  auto at = entries_.find(key);
  if (at == entries_.end()) {
    if (entries_.size() >= entries_max_) return;
    at = entries_.try_emplace(key).first;
  } else {
    expiries_.erase(at->second.expiry);
  }
  at->second.value = value;
  at->second.expiry = expiries_.emplace(now_() + ttl, key);
}

void memory_session_store::get(const std::string& key, on_value done) {
  remove_expired();
  const auto at = entries_.find(key);
  done(at == entries_.end() ? std::nullopt : std::optional(at->second.value));
}

void memory_session_store::drop(const std::string& key) {
  const auto at = entries_.find(key);
  if (at == entries_.end()) return;
  expiries_.erase(at->second.expiry);
  entries_.erase(at);
}

std::vector<std::pair<std::string, std::string>> memory_session_store::entries() {
  remove_expired();
  std::vector<std::pair<std::string, std::string>> all;
  all.reserve(entries_.size());
  for (const auto& [key, e] : entries_) all.emplace_back(key, e.value);
  return all;
}

void memory_session_store::remove_expired() {
  for (const auto now = now_(); !expiries_.empty() && expiries_.begin()->first <= now;) {
    entries_.erase(expiries_.begin()->second);
    expiries_.erase(expiries_.begin());
  }
}

}  // namespace sluice::cluster
