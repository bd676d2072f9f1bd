#include "cluster/store/memory_store.hpp"

#include <utility>

namespace sluice::cluster {

void memory_store::submit(store_request request, on_reply done) {
  const base::time_point now = now_();
  remove_expired(now);
  done(store_reply{request.op, apply(request, now)});
}

base::result<std::optional<owner_record>> memory_store::apply(const store_request& request, base::time_point now) {
  using kind = store_request::kind;
  const auto at = records_.find(request.key);
  const owner_record* held = at == records_.end() ? nullptr : &at->second.record;
  switch (request.what) {
    case kind::find:
      break;
    case kind::claim:
      if (held == nullptr || held->epoch == request.replaces) return write(request, *request.record, now);
      break;
    case kind::renew:
      if (held == nullptr || held->epoch <= request.record->epoch) {
        return write(request, after_renewal(held, *request.record), now);
      }
      break;
    case kind::drop:
      if (held != nullptr && held->epoch == request.record->epoch && held->proxy_id == request.record->proxy_id) {
        expiries_.erase(at->second.expiry);
        records_.erase(at);
        held = nullptr;
      }
      break;
  }
  if (held == nullptr) return std::optional<owner_record>();
  return *held;
}

base::result<std::optional<owner_record>> memory_store::write(const store_request& request, const owner_record& record,
                                                              base::time_point now) {
  auto at = records_.find(request.key);
  if (at == records_.end()) {
    if (records_.size() >= records_max_)
      return base::fail("store_full", "the memory store holds as many streams as it may");
    at = records_.try_emplace(request.key).first;
  } else {
    expiries_.erase(at->second.expiry);
  }
  at->second.record = record;
  at->second.expiry = expiries_.emplace(now + request.ttl, &at->first);
  return at->second.record;
}

std::vector<std::pair<stream_key, owner_record>> memory_store::records() {
  remove_expired(now_());
  std::vector<std::pair<stream_key, owner_record>> out;
  out.reserve(records_.size());
  for (const auto& [key, held] : records_) out.emplace_back(key, held.record);
  return out;
}

void memory_store::remove_expired(base::time_point now) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    records_.erase(records_.find(*expiries_.begin()->second));
    expiries_.erase(expiries_.begin());
  }
}

}  // namespace sluice::cluster
