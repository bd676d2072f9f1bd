#include "load/modes.hpp"
#include "load/rtmp_member.hpp"
#include "load/stream_shape.hpp"

namespace sluice::bench {
namespace {

constexpr int64_t gop_ns = 2'000'000'000;
constexpr int64_t sleepy_period_ns = 1'000'000'000;

class publisher final : public rtmp_member {
 public:
  publisher(event_loop& loop, population& all, stream_shape& shape, int index)
      : rtmp_member(loop, role::publish, all, index), shape_(shape) {}

 private:
  void on_started() override {
    write(shape_.preamble(stream_id()));
    set_up();
    // Publisher i starts i/N of a GOP later than the first.
    const int64_t now = now_ns();
    start_ = now + gop_ns * index_ / all_.options().connections;
    loop().at(start_, this);
  }

  void on_timer(int64_t now) override {
    if (!running()) return;
    // Everything that is due; normally one message, several after a late wake-up.
    while (running() && next_due() <= now) {
      const int64_t stamp = now_ns();
      if (asleep()) {
        write(shape_.audio_only(at_, static_cast<uint32_t>((sleepy_due_ - start_) / 1'000'000), stamp));
        sleepy_due_ += sleepy_period_ns;
      } else {
        write(shape_.next(at_, stamp));
        if (asleep()) sleepy_due_ = start_ + sleepy_period_ns;
      }
    }
    if (running()) loop().at(next_due(), this);
  }

  /// A sleepy publisher sends one second of the stream, then one audio frame a second.
  bool asleep() const { return all_.options().sleepy && at_.video >= 25; }
  int64_t next_due() const { return asleep() ? sleepy_due_ : start_ + shape_.due_ns(at_); }

  void write(bytes data) {
    all_.total_bytes += data.size();
    ++all_.total_messages;
    if (!send(data)) {
      shut();
      on_lost("the server does not read");
    }
  }

  stream_shape& shape_;
  stream_position at_;
  int64_t start_ = 0, sleepy_due_ = 0;
};

}  // namespace

int run_publish(const load_options& options) {
  event_loop loop;
  stream_shape shape(options.stream);
  population all(loop, options);
  for (int i = 0; i < options.connections; ++i) all.add(std::make_unique<publisher>(loop, all, shape, i));
  all.start();
  loop.run();
  return 0;
}

}  // namespace sluice::bench
