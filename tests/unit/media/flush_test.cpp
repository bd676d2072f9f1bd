#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

#include "unit/media/support.hpp"

// Who is shown what when: readers come and go while a flush is under way, in slices.
namespace sluice::media::test {
namespace {

struct watcher final : reader_owner {
  explicit watcher(hub& h) : place(std::make_unique<reader>(h, *this, reader_start::oldest)) {}
  void on_frames() override {
    ++shown;
    if (act) act();
  }
  std::unique_ptr<reader> place;
  std::function<void()> act;
  int shown = 0;
};

class flush_test : public hub_test {
 protected:
  watcher& add() { return *watchers.emplace_back(std::make_unique<watcher>(stream())); }
  void leave(watcher& w) { w.place.reset(); }
  std::vector<std::unique_ptr<watcher>> watchers;
};

TEST_F(flush_test, shows_every_reader_once) {
  for (int i = 0; i < 10; ++i) add();
  send({key(0)});
  for (const auto& w : watchers) EXPECT_EQ(w->shown, 1);
}

TEST_F(flush_test, slices_show_every_reader_once) {
  for (int i = 0; i < 10; ++i) add();
  append({key(0)});
  int calls = 1;
  while (!stream().flush(3)) ++calls;
  EXPECT_EQ(calls, 4);
  for (const auto& w : watchers) EXPECT_EQ(w->shown, 1);
}

TEST_F(flush_test, a_slice_of_exactly_all_readers_is_the_last) {
  for (int i = 0; i < 6; ++i) add();
  append({key(0)});
  EXPECT_FALSE(stream().flush(3));
  EXPECT_TRUE(stream().flush(3));
}

TEST_F(flush_test, frames_of_a_flush_under_way_come_with_the_next) {
  auto& first = add();
  auto& second = add();
  append({key(0)});
  EXPECT_FALSE(stream().flush(1));
  append({inter(40)});
  EXPECT_EQ(driver.asked, 2) << "it has to be asked for again";
  EXPECT_TRUE(stream().flush(1));
  for (auto* w : {&first, &second}) {
    ASSERT_NE(w->place->peek(), nullptr);
    w->place->pop();
    EXPECT_EQ(w->place->peek(), nullptr) << "both have been shown the same";
  }
  EXPECT_TRUE(stream().flush());
  EXPECT_EQ(first.shown, 2);
  EXPECT_EQ(second.shown, 2);
  ASSERT_NE(second.place->peek(), nullptr);
}

TEST_F(flush_test, the_cache_outlives_a_keyframe_that_comes_between_slices) {
  add();
  add();
  for (const auto& w : watchers)
    w->act = [&w] {
      while (w->place->peek()) w->place->pop();
    };
  send({key(0), inter(40)});
  append({inter(80)});
  EXPECT_FALSE(stream().flush(1));
  append({key(120)});
  EXPECT_TRUE(stream().flush(1));
  player late(stream());
  late.on_frames();
  EXPECT_EQ(late.got(), (std::vector<packet>{key(0), inter(40), inter(80)}))
      << "the new keyframe has not been shown yet";
}

TEST_F(flush_test, a_reader_that_comes_during_a_flush_is_shown_the_next_at_the_latest) {
  auto& first = add();
  watcher* late = nullptr;
  first.act = [&] {
    if (!late) late = &add();
  };
  send({key(0)});
  ASSERT_NE(late, nullptr);
  EXPECT_LE(late->shown, 1);
  const int before = late->shown;
  send({inter(40)});
  EXPECT_EQ(late->shown, before + 1);
  EXPECT_EQ(first.shown, 2);
}

// Every pair of (who is shown, who leaves then), also himself.
TEST_F(flush_test, readers_may_leave_while_others_are_shown) {
  constexpr size_t count = 5;
  for (size_t actor = 0; actor < count; ++actor) {
    for (size_t victim = 0; victim < count; ++victim) {
      watchers.clear();
      for (size_t i = 0; i < count; ++i) add();
      watchers[actor]->act = [&] { leave(*watchers[victim]); };
      send({key(0)});
      for (size_t i = 0; i < count; ++i) {
        const bool left_unshown = i == victim && victim > actor;
        EXPECT_EQ(watchers[i]->shown, left_unshown ? 0 : 1) << i << ": " << actor << " removes " << victim;
      }
      EXPECT_EQ(stream().readers(), count - 1);
    }
  }
}

TEST_F(flush_test, all_may_leave_at_once) {
  for (int i = 0; i < 5; ++i) add();
  watchers[2]->act = [&] {
    for (auto& w : watchers) w->place.reset();
  };
  send({key(0), inter(40)});
  EXPECT_EQ(stream().readers(), 0u);
  EXPECT_EQ(watchers[3]->shown + watchers[4]->shown, 0);
}

// Random slices, readers who come and go between and within them: nobody is shown a flush twice, nobody who stays is
// left out.
TEST_F(flush_test, random_comings_and_goings) {
  std::mt19937 random(4711);
  const auto chance = [&](unsigned percent) { return random() % 100 < percent; };
  std::map<watcher*, int> at_start;
  for (int i = 0; i < 20; ++i) add();
  for (uint32_t round = 0; round < 400; ++round) {
    std::erase_if(watchers, [](const auto& w) { return !w->place; });
    at_start.clear();
    for (const auto& w : watchers) {
      at_start[w.get()] = w->shown;
      w->act = [&] {
        if (chance(10) && watchers.size() < 60) add();
        if (chance(10)) leave(*watchers[random() % watchers.size()]);
      };
    }
    append({inter(round * 40)});
    while (!stream().flush(1 + random() % 7)) {
      if (chance(20)) leave(*watchers[random() % watchers.size()]);
      if (chance(20)) add();
    }
    append({inter(round * 40 + 20)});
    stream().flush();
    for (const auto& [w, before] : at_start) {
      if (w->place) EXPECT_EQ(w->shown - before, 2) << "round " << round;
    }
    for (const auto& w : watchers) {
      while (w->place && w->place->peek()) w->place->pop();
    }
  }
}

}  // namespace
}  // namespace sluice::media::test
