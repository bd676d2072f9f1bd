#include "load/viewing.hpp"

#include <algorithm>

#include "load/stream_shape.hpp"

namespace sluice::bench {

void longest_pause::came(int64_t now) {
  if (last_ != 0) longest_ = std::max(longest_, now - last_);
  last_ = now;
}

int64_t longest_pause::longest(int64_t at) const { return std::max(longest_, now(at)); }

bool viewing::take(population& all, const scanned_message& m, int64_t opened_at, bool up) {
  ++all.total_messages;
  if (!up) {
    if (!is_coded_picture(m.type, m.head)) return false;
    all.first_frame.add(now_ns() - opened_at);
    return true;
  }
  const auto stamp = read_stamp(m.type, m.head);
  if (!stamp) return false;
  const int64_t now = now_ns();
  all.latency.add(now - stamp->sent_ns);
  audit(all, stamp->number);
  pause_.came(now);
  return false;
}

/// Numbers go up by one; a player begins anywhere.
void viewing::audit(population& all, uint32_t number) {
  if (next_ && number > *next_) all.messages_lost += number - *next_;
  if (next_ && number < *next_) {
    ++all.messages_again;
  } else {
    next_ = number + 1;
  }
}

void viewing::report(population& all, int64_t now) const {
  all.pauses.add(pause_.longest(now));
  all.quiet = std::max(all.quiet, pause_.now(now));
}

}  // namespace sluice::bench
