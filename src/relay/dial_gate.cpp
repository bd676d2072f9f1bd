#include "relay/dial_gate.hpp"

#include <algorithm>
#include <utility>

namespace sluice::relay {
namespace {

constexpr base::duration turn = std::chrono::milliseconds(5);
constexpr base::duration idle = std::chrono::seconds(1);

}  // namespace

dial_gate::dial_gate(runtime::loop& l, const dial_gate_limits& limits)
    : loop_(l), limits_(limits), timer_(l, [this] { on_timer(); }) {}

void dial_gate::fill(bucket& b) {
  const std::chrono::duration<double> passed = loop_.now() - std::exchange(b.filled_at, loop_.now());
  b.tokens = std::min<double>(limits_.burst, b.tokens + passed.count() * limits_.per_second);
}

void dial_gate::ask(const std::string& origin_id, dial_class who, std::weak_ptr<bool> alive,
                    std::function<void()> dial) {
  const auto [at, is_new] = buckets_.try_emplace(origin_id);
  bucket& b = at->second;
  if (is_new) {
    b.tokens = limits_.burst;
    b.filled_at = loop_.now();
  }
  fill(b);
  const bool first = b.publishers.empty() && (who == dial_class::publisher || b.viewers.empty());
  if (first && b.tokens >= 1) {
    b.tokens -= 1;
    if (!timer_.armed()) timer_.arm_after(idle);
    return dial();
  }
  (who == dial_class::publisher ? b.publishers : b.viewers).push_back({std::move(alive), std::move(dial)});
  // The timer may be set to the time at which idle buckets go.
  if (!std::exchange(serving_, true)) timer_.arm_after(turn);
}

void dial_gate::on_timer() {
  std::vector<waiter> due;
  for (auto at = buckets_.begin(); at != buckets_.end();) {
    bucket& b = at->second;
    const auto since = loop_.now() - b.filled_at;
    if (b.publishers.empty() && b.viewers.empty()) {
      at = since >= idle ? buckets_.erase(at) : std::next(at);
      continue;
    }
    fill(b);
    for (auto* queue : {&b.publishers, &b.viewers}) {
      while (!queue->empty() && b.tokens >= 1) {
        if (!queue->front().alive.expired()) {
          b.tokens -= 1;
          due.push_back(std::move(queue->front()));
        }
        queue->pop_front();
      }
    }
    ++at;
  }
  serving_ = waiting() > 0;
  if (!buckets_.empty()) timer_.arm_after(serving_ ? turn : idle);
  for (auto& w : due)
    if (!w.alive.expired()) w.dial();  // what one does may end others
}

size_t dial_gate::waiting() const {
  size_t all = 0;
  for (const auto& [id, b] : buckets_) all += b.publishers.size() + b.viewers.size();
  return all;
}

}  // namespace sluice::relay
