// The part of owner_table that follows what is published through this proxy, and renews it in the store.

#include <utility>

#include "cluster/core/owner_table.hpp"

namespace sluice::cluster {

void owner_table::publish_started(const stream_key& key, const epoch& e, moment at) {
  const auto found = streams_.find(key);
  const bool is_known = found != streams_.end() && found->second.owner && found->second.owner->epoch == e;
  stream* const restored = is_known ? nullptr : restore_undone(key, e);
  if (!is_known && restored == nullptr) return;  // overtaken by another claim
  stream& s = is_known ? found->second : *restored;
  s.unstarted.reset();
  if (!s.pending.empty()) remove_pending(s, 0);
  if (restored != nullptr || s.owner->proxy_id != config_.proxy_id) {
    s.owner->proxy_id = config_.proxy_id;  // the proxy that claimed it may not undo it any more
    submit_renewal(s);
  }
  if (s.publishers++ == 0) {
    ++publishing_;
    // Spread, so that the publishes of a storm do not come back to the store together for ever.
    s.renew_at = at.now + config_.stream_ttl / 6 + config_.stream_ttl / 6 * (random() % 1024) / 1024;
  }
  if (s.counted_on != s.owner->origin_id) count_on(s, s.owner->origin_id);
  settle(s, at);
}

void owner_table::publish_ended(const stream_key& key, const epoch& e, moment at) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || !found->second.owner || found->second.owner->epoch != e) return;
  stream& s = found->second;
  if (s.publishers == 0 || --s.publishers > 0) return;
  s.publishers = 1;
  stop_publishing(s);
  submit_renewal(s);  // from now on it lives one TTL, for a publisher who comes back
  s.owner_until = ask_again_at(at);
  settle(s, at);
}

void owner_table::stop_publishing(stream& s) {
  if (s.publishers == 0) return;
  s.publishers = 0;
  s.renew_at = base::never;
  --publishing_;
}

void owner_table::submit_renewal(stream& s) {
  store_request ask;
  ask.what = store_request::kind::renew;
  ask.key = *s.key;
  ask.record = s.owner;
  ask.ttl = config_.stream_ttl;
  submit(std::move(ask), op_kind::renew);
}

void owner_table::renewed(const stream_key& key, const epoch& of, store_reply& reply, moment at) {
  const auto found = streams_.find(key);
  if (found == streams_.end() || !found->second.owner || found->second.owner->epoch != of) return;
  stream& s = found->second;
  if (!reply.owner || !*reply.owner || (*reply.owner)->epoch <= of)
    return;  // kept, or to be tried again at the next renewal
  const std::string& by = (*reply.owner)->origin_id;
  out_.push_back(action::log{
      base::log_level::warn, "stream_lost", {{"stream", s.name}, {"origin", s.owner->origin_id}, {"by", by}}});
  learn(s, *reply.owner, at);
  advance(s, at);
}

std::vector<stream_status> owner_table::statuses() const {
  std::vector<stream_status> all;
  for (const auto& [key, s] : streams_) {
    if (!s.owner && s.publishers == 0) continue;
    stream_status& shown = all.emplace_back();
    shown.key = key;
    if (s.owner) {
      shown.origin_id = s.owner->origin_id;
      shown.epoch = s.owner->epoch;
    }
    if (s.publishers > 0) shown.session = s.session;
    shown.degraded = s.publishers > 0 && !(s.owner && origins_.find_living(s.owner->origin_id));
  }
  return all;
}

}  // namespace sluice::cluster
