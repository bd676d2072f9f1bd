#include "cluster/core/fence.hpp"

#include <algorithm>

namespace sluice::cluster {

fence::fence(bool proxies, base::time_point now, size_t streams_max, size_t forgotten_max)
    : proxies_(proxies), streams_max_(streams_max), forgotten_max_(forgotten_max), woke_at_(now) {}

base::result<epoch> fence::publish(const stream_key& key, const epoch& e) {
  const auto known = entries_.find(key);
  const epoch highest = known == entries_.end() ? epoch{} : known->second.highest;
  if (e != epoch{} && e < highest) return base::fail("stale_epoch", "the stream has been given a newer owner");
  const bool is_held = known != entries_.end() && known->second.held;
  if (!is_held && held_ >= streams_max_) return base::fail("too_many_streams", "the limit of streams is reached");
  const epoch under = e == epoch{} ? highest : e;
  if (under == epoch{}) return under;
  entry& seen = see(key, under);
  seen.copy = under;
  return under;
}

bool fence::told(const stream_key& key, const epoch& e) {
  if (e == epoch{}) return false;
  const entry& seen = see(key, e);
  return seen.held && seen.copy < e;
}

void fence::held(const stream_key& key, bool on) {
  const auto [at, is_new] = entries_.try_emplace(key);
  entry& known = at->second;
  if (is_new) known.forgotten_at = forgotten_.insert(forgotten_.end(), key);
  if (known.held == on) {
    trim();
    return;
  }
  known.held = on;
  if (on) {
    ++held_;
    forgotten_.erase(known.forgotten_at);
    return;
  }
  --held_;
  known.copy = {};
  known.forgotten_at = forgotten_.insert(forgotten_.end(), key);
  trim();
}

epoch fence::current(const stream_key& key) const {
  const auto known = entries_.find(key);
  return known == entries_.end() ? epoch{} : known->second.highest;
}

void fence::woke(base::time_point now) {
  if (proxies_ && now - woke_at_ > stop_max) {
    suspended_ = true;
    suspended_at_ = now;
  }
  woke_at_ = std::max(woke_at_, now);
}

void fence::confirmed(base::time_point sent_at) {
  if (sent_at >= suspended_at_) suspended_ = false;
}

/// The entry of the stream, with an epoch of at least `e`; the last to be forgotten now.
fence::entry& fence::see(const stream_key& key, const epoch& e) {
  const auto [at, is_new] = entries_.try_emplace(key);
  entry& known = at->second;
  known.highest = std::max(known.highest, e);
  if (known.held) return known;
  if (is_new) {
    known.forgotten_at = forgotten_.insert(forgotten_.end(), key);
  } else {
    forgotten_.splice(forgotten_.end(), forgotten_, known.forgotten_at);
  }
  trim();
  return known;
}

/// The newest entry is never cut off: callers hold on to it.
void fence::trim() {
  while (forgotten_.size() > std::max<size_t>(forgotten_max_, 1)) {
    entries_.erase(forgotten_.front());
    forgotten_.pop_front();
  }
}

}  // namespace sluice::cluster
