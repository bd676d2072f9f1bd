#pragma once

#include <functional>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cluster/core/ownership.hpp"

namespace sluice::cluster {

/// The owner store of a single proxy: lives and dies with the process. Answers from within submit(). Records expire by
/// their TTL; their number is bounded (reason store_full). One thread.
class memory_store final : public owner_store {
 public:
  using clock = std::function<base::time_point()>;
  explicit memory_store(clock now, size_t records_max = 200'000) : now_(std::move(now)), records_max_(records_max) {}

  void submit(store_request request, on_reply done) override;
  /// Records held, expired ones included until the next request.
  size_t size() const { return records_.size(); }
  /// All that it holds.
  std::vector<std::pair<stream_key, owner_record>> records();

 private:
  using expiry_map = std::multimap<base::time_point, const stream_key*>;
  struct entry {
    owner_record record;
    expiry_map::iterator expiry;
  };
  base::result<std::optional<owner_record>> apply(const store_request& request, base::time_point now);
  base::result<std::optional<owner_record>> write(const store_request& request, const owner_record& record,
                                                  base::time_point now);
  void remove_expired(base::time_point now);

  clock now_;
  size_t records_max_;
  std::unordered_map<stream_key, entry> records_;
  expiry_map expiries_;
};

}  // namespace sluice::cluster
