#include "load/population.hpp"

#include <unistd.h>

#include <algorithm>

namespace sluice::bench {

void member::set_up() {
  if (up_) return;
  up_ = true;
  all_.member_up();
}

void member::count_loss(const char* why) { all_.member_lost(up_, why); }

population::population(event_loop& loop, const load_options& options) : loop_(loop), options_(options) {}

void population::start() {
  started_at_ = now_ns();
  loop_.watch(STDIN_FILENO, EPOLLIN, this);
  if (options_.duration_s > 0) loop_.at(started_at_ + static_cast<int64_t>(options_.duration_s * 1e9), this);
  loop_.at(started_at_ + static_cast<int64_t>(options_.start_timeout_s * 1e9), this);
  open_more();
}

void population::open_more() {
  while (opened_ < members_.size() && opened_ - up_ - failed_ < static_cast<size_t>(options_.concurrency)) {
    members_[opened_++]->begin();
  }
}

void population::member_up() {
  ++up_;
  check_ready();
  loop_.at(0, this);  // open the next one, but not from within another's callback
}

void population::member_lost(bool was_up, const char* why) {
  ++losses_[why];
  ++(was_up ? lost_ : failed_);
  check_ready();
  loop_.at(0, this);
}

void population::check_ready() {
  if (ready_printed_ || up_ + failed_ < members_.size()) return;
  ready_printed_ = true;
  print("ready");
}

void population::on_timer(int64_t now) {
  open_more();
  if (options_.duration_s > 0 && static_cast<double>(now - started_at_) >= options_.duration_s * 1e9) {
    print("final");
    loop_.stop();
  } else if (!ready_printed_ && static_cast<double>(now - started_at_) >= options_.start_timeout_s * 1e9) {
    ready_printed_ = true;
    print("ready");
  }
}

void population::on_io(uint32_t) {
  char buffer[256];
  const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
  if (n <= 0) {
    loop_.unwatch(STDIN_FILENO);
    if (options_.duration_s > 0) return;
    print("final");
    return loop_.stop();
  }
  input_.append(buffer, static_cast<size_t>(n));
  for (size_t end = input_.find('\n'); end != std::string::npos; end = input_.find('\n')) {
    const std::string line = input_.substr(0, end);
    input_.erase(0, end + 1);
    if (line == "mark") print("mark");
    if (line == "reset") reset();
    if (line == "stop") {
      print("final");
      return loop_.stop();
    }
  }
}

void population::reset() {
  latency.clear();
  for (auto& m : members_) m->on_reset(now_ns());
}

void population::print(const char* event) {
  pauses.clear();
  quiet = 0;
  for (auto& m : members_) m->on_mark(now_ns());
  json_line line(event);
  line.field("t", static_cast<double>(now_ns() - started_at_) / 1e9).field("connections", uint64_t{members_.size()});
  line.field("up", uint64_t{up_}).field("failed", uint64_t{failed_}).field("lost", uint64_t{lost_});
  line.field("bytes", total_bytes).field("messages", total_messages);
  for (const auto& [why, count] : losses_) line.field("loss: " + why, count);
  first_frame.write(line, "first_frame");
  latency.write(line, "latency");
  line.field("messages_lost", messages_lost).field("messages_again", messages_again);
  line.field("quiet_max_ms", static_cast<double>(quiet) / 1e6);
  pauses.write(line, "pause");
  line.print();
}

}  // namespace sluice::bench
