#include "servers/rtmp/hub_flusher.hpp"

#include <gtest/gtest.h>

#include "unit/servers/support.hpp"

namespace sluice::servers::test {
namespace {

using media::test::inter;
using media::test::message_of;

struct watcher final : media::reader_owner {
  explicit watcher(media::hub& h) : place(h, *this, media::reader_start::oldest) {}
  void on_frames() override {
    if (shown++ == 0 && on_first) on_first();
    while (place.peek()) {
      place.pop();
      ++frames;
    }
  }
  media::reader place;
  std::function<void()> on_first;
  int shown = 0, frames = 0;
};

class hub_flusher_test : public ::testing::Test {
 protected:
  void append(media::hub& h, uint32_t count = 1) {
    for (uint32_t i = 0; i < count; ++i) h.append(message_of(inter(i)), loop.now());
  }
  runtime::loop loop;
  media::hub_limits limits;
};

TEST_F(hub_flusher_test, without_merging_a_batch_is_one_flush) {
  hub_flusher flusher(loop, base::duration::zero());
  media::hub h(limits, flusher), other(limits, flusher);
  watcher w(h), v(other);
  loop.post([&] {
    append(h, 5);
    append(other, 2);
    EXPECT_EQ(w.shown, 0) << "after the batch, not within it";
  });
  run_until(loop, [&] { return w.shown > 0 && v.shown > 0; });
  EXPECT_EQ(w.shown, 1);
  EXPECT_EQ(w.frames, 5);
  EXPECT_EQ(v.frames, 2);
  loop.post([&] { append(h); });
  run_until(loop, [&] { return w.shown == 2; });
  EXPECT_EQ(v.shown, 1);
}

TEST_F(hub_flusher_test, merging_waits_from_the_first_frame_on) {
  hub_flusher flusher(loop, milliseconds(50));
  media::hub h(limits, flusher);
  watcher w(h);
  const auto begin = loop.refresh();
  base::time_point shown_at{};
  int appended = 0;
  run_until(loop, [&] {
    if (w.shown == 0) {
      append(h);
      ++appended;
      return false;
    }
    shown_at = loop.now();
    return true;
  });
  EXPECT_EQ(w.shown, 1);
  EXPECT_GT(appended, 3);
  EXPECT_EQ(w.frames, appended);
  EXPECT_GE(shown_at - begin, milliseconds(50));
  EXPECT_LT(shown_at - begin, seconds(10));
}

TEST_F(hub_flusher_test, each_hub_is_merged_by_itself) {
  hub_flusher flusher(loop, milliseconds(30));
  media::hub h(limits, flusher), other(limits, flusher);
  watcher w(h), v(other);
  loop.refresh();
  append(h);
  run_until(loop, [&] { return w.shown == 1; });
  append(other, 3);
  append(h);
  run_until(loop, [&] { return w.shown == 2 && v.shown == 1; });
  EXPECT_EQ(v.frames, 3);
}

TEST_F(hub_flusher_test, suspended_it_shows_nothing_until_it_goes_on) {
  for (const auto merge : {base::duration::zero(), base::duration(milliseconds(1))}) {
    hub_flusher flusher(loop, merge);
    media::hub h(limits, flusher);
    watcher w(h);
    append(h, 2);
    run_until(loop, [&] { return w.frames == 2; });
    append(h, 3);  // waits for its flush, and is suspended first
    flusher.suspend(true);
    append(h, 4);
    const auto until = loop.refresh() + milliseconds(10);
    run_until(loop, [&] { return runtime::loop::monotonic_now() >= until; });
    EXPECT_EQ(w.frames, 2);
    flusher.suspend(false);
    run_until(loop, [&] { return w.frames == 9; });
    append(h);
    run_until(loop, [&] { return w.frames == 10; });
    flusher.forget(h);
  }
}

TEST_F(hub_flusher_test, a_forgotten_hub_is_not_touched) {
  for (const auto merge : {milliseconds(0), milliseconds(5)}) {
    hub_flusher flusher(loop, merge);
    auto gone = std::make_unique<media::hub>(limits, flusher);
    media::hub stays(limits, flusher);
    watcher w(stays);
    loop.refresh();
    append(*gone);
    append(stays);
    flusher.forget(*gone);
    gone.reset();
    run_until(loop, [&] { return w.shown == 1; });
    append(stays);
    run_until(loop, [&] { return w.shown == 2; });
  }
}

TEST_F(hub_flusher_test, a_large_audience_is_served_in_slices_and_each_once) {
  hub_flusher flusher(loop, base::duration::zero());
  media::hub h(limits, flusher);
  std::vector<std::unique_ptr<watcher>> all;
  for (int i = 0; i < 1000; ++i) all.push_back(std::make_unique<watcher>(h));
  const auto shown = [&] { return std::count_if(all.begin(), all.end(), [](const auto& w) { return w->shown > 0; }); };
  ptrdiff_t shown_at_next_turn = 0;
  all[0]->on_first = [&] { loop.post([&] { shown_at_next_turn = shown(); }); };
  loop.post([&] { append(h, 2); });
  run_until(loop, [&] { return shown() == 1000; });
  run_turns(loop);
  EXPECT_GT(shown_at_next_turn, 0);
  EXPECT_LT(shown_at_next_turn, 1000) << "others have a turn in between";
  for (const auto& w : all) {
    EXPECT_EQ(w->shown, 1);
    EXPECT_EQ(w->frames, 2);
  }
}

}  // namespace
}  // namespace sluice::servers::test
