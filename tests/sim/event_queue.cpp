#include "sim/event_queue.hpp"

namespace sluice::sim {

void event_queue::at(time_point when, process& in, callback fn) { add(when, &in, in.life(), std::move(fn)); }

void event_queue::add(time_point when, process* target, uint32_t life, callback fn) {
  uint32_t index;
  if (free_.empty()) {
    index = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  slot& s = slots_[index];
  s.fn = std::move(fn);
  s.target = target;
  s.life = life;
  heap_.push_back({std::max(when, now_), ++sequence_, index});
  std::push_heap(heap_.begin(), heap_.end());
}

void event_queue::run(time_point until) {
  while (!heap_.empty() && heap_.front().at <= until) {
    const entry next = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end());
    heap_.pop_back();
    now_ = next.at;
    callback fn = std::move(slots_[next.slot].fn);
    process* const target = slots_[next.slot].target;
    const uint32_t life = slots_[next.slot].life;
    free_.push_back(next.slot);
    if (target == nullptr) {
      fn();
    } else if (target->up_ && target->life_ == life) {
      target->work(fn);
    }
  }
  now_ = until;
}

void process::input(callback fn) {
  if (up_) work(fn);
}

void process::work(callback& fn) {
  if (paused_) {
    put_off_.push_back(std::move(fn));
    return;
  }
  before_work();
  fn();
  after_work();
}

void process::pause() {
  if (up_) paused_ = true;
}

void process::resume() {
  if (!paused_) return;
  paused_ = false;
  resumed_at_ = now();
  // What waits is handled in the order in which it came: input in the kernel's buffers and overdue timers alike.
  const uint32_t life = life_;
  std::vector<callback> waiting = std::exchange(put_off_, {});
  for (callback& fn : waiting) {
    if (up_ && life_ == life) work(fn);
  }
}

void process::begin_life() {
  up_ = true;
  paused_ = false;
  ++life_;
}

void process::end_life() {
  up_ = false;
  paused_ = false;
  put_off_.clear();
}

}  // namespace sluice::sim
