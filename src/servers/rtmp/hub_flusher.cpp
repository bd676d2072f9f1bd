#include "servers/rtmp/hub_flusher.hpp"

#include <algorithm>

namespace sluice::servers {
namespace {
// About 2 ms of writes: the longest time that one stream's audience may hold the loop.
constexpr size_t readers_per_slice = 256;
}  // namespace

hub_flusher::hub_flusher(runtime::loop& l, base::duration merge)
    : loop_(l), merge_(merge), merge_timer_(l, [this] { on_merge_over(); }) {}

void hub_flusher::on_frames_pending(media::hub& h) {
  if (merge_ == base::duration::zero()) {
    due_.push_back(&h);
    schedule();
    return;
  }
  merging_.emplace_back(loop_.now() + merge_, &h);
  if (!merge_timer_.armed()) merge_timer_.arm_at(merging_.front().first);
}

void hub_flusher::on_merge_over() {
  while (!merging_.empty() && merging_.front().first <= loop_.now()) {
    due_.push_back(merging_.front().second);
    merging_.pop_front();
  }
  if (!merging_.empty()) merge_timer_.arm_at(merging_.front().first);
  if (!due_.empty()) schedule();
}

void hub_flusher::schedule() {
  if (suspended_ || std::exchange(scheduled_, true)) return;
  loop_.defer([this] { flush_due(); });
}

void hub_flusher::flush_due() {
  scheduled_ = false;
  if (suspended_) return;
  // Hubs may be forgotten, and become due again, while one is flushed: only what is due now gets its turn, one slice
  // each.
  for (size_t turns = due_.size(); turns > 0 && !due_.empty(); --turns) {
    media::hub* h = due_.front();
    due_.pop_front();
    if (!h->flush(readers_per_slice)) due_.push_back(h);
  }
  if (!due_.empty()) schedule();
}

void hub_flusher::suspend(bool on) {
  suspended_ = on;
  if (!due_.empty()) schedule();
}

void hub_flusher::forget(media::hub& h) {
  std::erase(due_, &h);
  std::erase_if(merging_, [&](const auto& waiting) { return waiting.second == &h; });
}

}  // namespace sluice::servers
