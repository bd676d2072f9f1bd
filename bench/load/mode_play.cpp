#include "load/modes.hpp"
#include "load/rtmp_member.hpp"
#include "load/stream_shape.hpp"
#include "load/viewing.hpp"

namespace sluice::bench {
namespace {

class player final : public rtmp_member {
 public:
  player(event_loop& loop, population& all, int index) : rtmp_member(loop, role::play, all, index) {}

 private:
  void on_started() override {
    if (!all_.options().await_frame) come_up();
  }

  void on_bytes(size_t count) override { all_.total_bytes += count; }

  void on_message(const scanned_message& m) override {
    if (viewing_.take(all_, m, opened_at(), up())) come_up();
  }
  void on_mark(int64_t now) override {
    if (up()) viewing_.report(all_, now);
  }
  void on_reset(int64_t now) override { viewing_.reset(now); }

  void come_up() {
    set_up();
    if (all_.options().stall) stall();
    if (all_.options().drain) drain();
  }

  viewing viewing_;
};

/// Opens, waits for the first coded picture, closes, and opens again from the loop.
class visitor final : public rtmp_client {
 public:
  struct tally {
    const load_options& options;
    int opened = 0, done = 0, failed = 0;
    samples first_frame;
  };
  visitor(event_loop& loop, tally& all) : rtmp_client(loop, role::play), all_(all) {}

  void on_timer(int64_t now) override {
    if (is_open()) return;  // a time-out that concerns an earlier visit is told apart by the clock below
    if (all_.opened >= all_.options.repeat) return;
    open(all_.options.url, all_.options.stream_of(all_.opened++), all_.options.receive_buffer);
  }

  bool overdue(int64_t now) const {
    return is_open() && static_cast<double>(now - opened_at()) > all_.options.start_timeout_s * 1e9;
  }
  void give_up() {
    shut();
    ++all_.failed;
    finish();
  }

 private:
  void on_started() override {}
  void on_message(const scanned_message& m) override {
    if (!is_coded_picture(m.type, m.head)) return;
    all_.first_frame.add(now_ns() - opened_at());
    shut();
    finish();
  }
  void on_lost(const char*) override {
    ++all_.failed;
    finish();
  }
  void finish() {
    ++all_.done;
    if (all_.done >= all_.options.repeat) return loop().stop();
    loop().at(0, this);
  }
  tally& all_;
};

/// Gives up on visits that take too long.
class watchdog final : public handler {
 public:
  watchdog(event_loop& loop, std::vector<std::unique_ptr<visitor>>& visitors) : loop_(loop), visitors_(visitors) {}
  void on_io(uint32_t) override {}
  void on_timer(int64_t now) override {
    for (auto& v : visitors_) {
      if (v->overdue(now)) v->give_up();
    }
    loop_.at(now + 500'000'000, this);
  }

 private:
  event_loop& loop_;
  std::vector<std::unique_ptr<visitor>>& visitors_;
};

}  // namespace

int run_play(const load_options& options) {
  event_loop loop;
  population all(loop, options);
  for (int i = 0; i < options.connections; ++i) all.add(std::make_unique<player>(loop, all, i));
  all.start();
  loop.run();
  return 0;
}

int run_setup(const load_options& options) {
  event_loop loop;
  visitor::tally tally{.options = options};
  std::vector<std::unique_ptr<visitor>> visitors;
  watchdog dog(loop, visitors);
  const int64_t start = now_ns();
  for (int i = 0; i < options.concurrency; ++i) {
    visitors.push_back(std::make_unique<visitor>(loop, tally));
    loop.at(0, visitors.back().get());
  }
  loop.at(start, &dog);
  loop.run();
  json_line line("final");
  const double seconds = static_cast<double>(now_ns() - start) / 1e9;
  line.field("t", seconds).field("visits", uint64_t(tally.done)).field("failed", uint64_t(tally.failed));
  line.field("per_second", static_cast<double>(tally.done - tally.failed) / seconds);
  tally.first_frame.write(line, "first_frame");
  line.print();
  return tally.failed == 0 ? 0 : 1;
}

}  // namespace sluice::bench
