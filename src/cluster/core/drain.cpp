#include "cluster/core/drain.hpp"

namespace sluice::cluster {

void drains::add(const std::string& server_id, const stream_key& key) {
  const auto at = plans_.find(server_id);
  if (at != plans_.end() && at->second.all.insert(key).second) at->second.turns.insert(key);
}

void drains::remove(const std::string& server_id, const stream_key& key) {
  const auto at = plans_.find(server_id);
  if (at == plans_.end()) return;
  at->second.all.erase(key);
  at->second.turns.erase(key);
  at->second.blocked.erase(key);
}

std::optional<drains::turn> drains::next() {
  for (auto& [server_id, of] : plans_) {
    if (!of.turns.empty()) return turn{server_id, std::move(of.turns.extract(of.turns.begin()).value())};
  }
  return std::nullopt;
}

void drains::retry(const std::string& server_id, const stream_key& key) {
  const auto at = plans_.find(server_id);
  if (at != plans_.end() && at->second.all.contains(key)) at->second.turns.insert(key);
}

void drains::block(const std::string& server_id, const stream_key& key) {
  const auto at = plans_.find(server_id);
  if (at != plans_.end() && at->second.all.contains(key)) at->second.blocked.insert(key);
}

void drains::unblock() {
  for (auto& [server_id, of] : plans_) {
    of.turns.insert(of.blocked.begin(), of.blocked.end());
    of.blocked.clear();
  }
}

void drains::refuse(const std::string& server_id, const stream_key& key, const std::string& reason) {
  const auto at = plans_.find(server_id);
  if (at == plans_.end()) return;
  at->second.refused.push_back(key.str() + ": " + reason);
  if (at->second.refused.size() > reasons_max) at->second.refused.pop_front();
}

size_t drains::to_move(const std::string& server_id) const {
  const auto at = plans_.find(server_id);
  return at == plans_.end() ? 0 : at->second.all.size();
}

std::vector<std::string> drains::reasons(const std::string& server_id) const {
  const auto at = plans_.find(server_id);
  if (at == plans_.end()) return {};
  std::vector<std::string> out(at->second.refused.begin(), at->second.refused.end());
  for (const stream_key& key : at->second.blocked) {
    if (out.size() >= reasons_max) break;
    out.push_back(key.str() + ": no_origin");
  }
  return out;
}

}  // namespace sluice::cluster
