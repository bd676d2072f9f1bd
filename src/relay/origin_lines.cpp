#include "relay/origin_lines.hpp"

#include <utility>
#include <vector>

namespace sluice::relay {

std::shared_ptr<origin_line> origin_lines::of(const std::string& origin_id) {
  const std::lock_guard lock(mutex_);
  return entries_[origin_id].line;
}

void origin_lines::for_each_new(const std::function<void(const std::string&, base::time_point)>& heard) {
  std::vector<std::pair<std::string, base::time_point>> moved;  // told without the lock
  {
    const std::lock_guard lock(mutex_);
    for (auto& [id, e] : entries_) {
      const int64_t now = e.line->load(std::memory_order_relaxed);
      if (now != std::exchange(e.told, now)) moved.emplace_back(id, base::time_point(base::duration(now)));
    }
  }
  for (const auto& [id, when] : moved) heard(id, when);
}

void origin_lines::forget(const std::function<bool(const std::string&)>& known) {
  const std::lock_guard lock(mutex_);
  // With the lock held nobody can get hold of a line of which this is the only pointer.
  std::erase_if(entries_, [&](const auto& e) { return e.second.line.use_count() == 1 && !known(e.first); });
}

size_t origin_lines::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace sluice::relay
