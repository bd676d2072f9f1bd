#include "servers/live/directory.hpp"

#include <gtest/gtest.h>

#include "unit/servers/support.hpp"

namespace sluice::servers::test {
namespace {

cluster::stream_key key(const std::string& stream) { return {"__defaultVhost__", "live", stream}; }

struct fake_publisher final : live_publisher {
  void on_taken_over() override { ++taken_over; }
  void on_fenced() override { ++fenced; }
  base::time_point last_message() const override { return last; }
  std::string describe() const override { return "1.2.3.4:5 (session old)"; }
  base::time_point last{};
  int taken_over = 0, fenced = 0;
};

struct no_driver final : media::hub_driver {
  void on_frames_pending(media::hub&) override {}
};

class directory_test : public ::testing::Test {
 protected:
  struct fake_player final : live_player {
    explicit fake_player(directory_test& t) : test(t) {}
    void on_no_publisher() override {
      ++told;
      test.streams().stop(*stream, *this);
    }
    void on_fenced() override { ++fenced; }
    directory_test& test;
    live_stream* stream = nullptr;
    int told = 0, fenced = 0;
  };

  directory& streams() {
    if (!streams_)
      streams_ = std::make_unique<directory>(
          loop, limits, fence, driver, [this](media::hub& h) { forgotten.push_back(&h); }, metrics);
    return *streams_;
  }
  live_stream* play(const std::string& name, fake_player& p) {
    const auto s = streams().play(key(name), {}, p);
    EXPECT_TRUE(s);
    return p.stream = s ? *s : nullptr;
  }
  live_stream* publish(const std::string& name, fake_publisher& p) {
    p.last = loop.refresh();
    const auto s = streams().publish(key(name), {{}, name + std::to_string(++publications), false}, p);
    EXPECT_TRUE(s);
    return s ? *s : nullptr;
  }
  std::string refusal(const std::string& name, fake_publisher& p) {
    const auto s = streams().publish(key(name), {{}, name + std::to_string(++publications), false}, p);
    return s ? "" : std::string(s.error().reason);
  }
  size_t known() {
    size_t count = 0;
    streams().for_each([&](const live_stream&) { ++count; });
    return count;
  }

  runtime::loop loop;
  no_driver driver;
  base::metrics metrics;
  directory_limits limits;
  std::vector<media::hub*> forgotten;
  cluster::fence fence{false, loop.now()};
  int publications = 0;
  fake_publisher first, second;

 private:
  std::unique_ptr<directory> streams_;
};

TEST_F(directory_test, a_stream_is_one_for_all) {
  fake_player p(*this), q(*this);
  auto* s = play("a", p);
  EXPECT_EQ(play("a", q), s);
  EXPECT_EQ(publish("a", first), s);
  EXPECT_NE(publish("b", second), s);
  EXPECT_EQ(s->players(), 2u);
  EXPECT_TRUE(s->published());
  EXPECT_TRUE(s->hub.live());
  EXPECT_EQ(s->name, "__defaultVhost__/live/a");
  EXPECT_EQ(streams().published(), 2u);
  EXPECT_EQ(metrics.gauge("sluice_streams", "").value(), 2);
}

TEST_F(directory_test, a_stream_that_nobody_uses_is_forgotten) {
  fake_player p(*this);
  auto* s = publish("a", first);
  play("a", p);
  streams().unpublish(*s, first);
  EXPECT_EQ(known(), 1u) << "a player waits";
  EXPECT_FALSE(s->hub.live());
  streams().stop(*s, p);
  EXPECT_EQ(known(), 0u);
  EXPECT_EQ(forgotten, std::vector<media::hub*>{&s->hub}) << "still there: its last user is on the way out";
  EXPECT_EQ(streams().published(), 0u);
  run_turns(loop);
  EXPECT_NE(publish("a", first), nullptr);
}

TEST_F(directory_test, unpublish_of_another_is_nothing) {
  auto* s = publish("a", first);
  streams().unpublish(*s, second);
  EXPECT_TRUE(s->published());
}

TEST_F(directory_test, refuse_keeps_the_first_publisher) {
  limits.policy = second_publisher::refuse;
  publish("a", first);
  first.last = loop.now() - seconds(3600);
  EXPECT_EQ(refusal("a", second), "second_publisher");
  const auto again = streams().publish(key("a"), {{}, "again", false}, second);
  EXPECT_NE(again.error().text.find("1.2.3.4:5 (session old)"), std::string::npos) << again.error().text;
  EXPECT_EQ(first.taken_over, 0);
  EXPECT_EQ(streams().published(), 1u);
}

TEST_F(directory_test, takeover_gives_the_stream_to_the_second) {
  limits.policy = second_publisher::takeover;
  auto* s = publish("a", first);
  EXPECT_EQ(publish("a", second), s);
  EXPECT_EQ(first.taken_over, 1);
  EXPECT_EQ(streams().published(), 1u);
  streams().unpublish(*s, first);
  EXPECT_TRUE(s->published()) << "the first has no say any more";
}

TEST_F(directory_test, takeover_if_idle_asks_how_long_the_first_was_silent) {
  limits.publisher_idle = seconds(3);
  publish("a", first);
  first.last = loop.now() - milliseconds(2999);
  EXPECT_EQ(refusal("a", second), "second_publisher");
  first.last = loop.now() - milliseconds(3000);
  EXPECT_EQ(refusal("a", second), "");
  EXPECT_EQ(first.taken_over, 1);
}

TEST_F(directory_test, capacity_is_of_publishers) {
  limits.publishers_max = 1;
  limits.policy = second_publisher::takeover;
  fake_player p(*this);
  auto* s = publish("a", first);
  EXPECT_EQ(refusal("b", second), "at_capacity");
  EXPECT_EQ(known(), 1u) << "nothing is left of the refused one";
  play("c", p);
  EXPECT_EQ(refusal("c", second), "at_capacity");
  EXPECT_EQ(known(), 2u);
  EXPECT_EQ(refusal("a", second), "") << "a takeover needs no room";
  streams().unpublish(*s, second);
  EXPECT_EQ(refusal("b", first), "");
}

TEST_F(directory_test, streams_max_bounds_players_too) {
  limits.streams_max = 2;
  fake_player p(*this), q(*this), r(*this);
  play("a", p);
  play("b", q);
  EXPECT_EQ(refusal("c", first), "too_many_streams");
  const auto s = streams().play(key("c"), {}, r);
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().reason, "too_many_streams");
  EXPECT_NE(publish("a", first), nullptr);
}

TEST_F(directory_test, waiting_players_are_told_after_publisher_wait) {
  limits.publisher_wait = milliseconds(20);
  fake_player p(*this), q(*this), other(*this);
  publish("live", first);
  play("live", other);
  const auto begin = loop.refresh();
  play("a", p);
  play("a", q);
  run_until(loop, [&] { return p.told + q.told == 2; });
  EXPECT_GE(loop.now() - begin, milliseconds(20));
  run_turns(loop);
  EXPECT_EQ(p.told, 1);
  EXPECT_EQ(q.told, 1);
  EXPECT_EQ(other.told, 0);
  EXPECT_EQ(known(), 1u);
}

TEST_F(directory_test, a_publisher_in_time_ends_the_wait) {
  limits.publisher_wait = milliseconds(30);
  fake_player p(*this), later(*this);
  auto* s = play("a", p);
  publish("a", first);
  play("b", later);
  run_until(loop, [&] { return later.told == 1; });
  EXPECT_EQ(p.told, 0);
  const auto begin = loop.refresh();
  streams().unpublish(*s, first);
  run_until(loop, [&] { return p.told == 1; });
  EXPECT_GE(loop.now() - begin, milliseconds(30)) << "a publisher who leaves gives his players the whole time again";
}

// A replay is kept for viewers who come later; over all streams there is a limit, and the oldest goes first.
TEST_F(directory_test, replays_that_are_kept_have_a_limit_together) {
  using media::test::message_of;
  limits.replays_bytes_max = 21'000;
  limits.hub.age_max = base::duration::zero();
  const auto replay = [&](const std::string& name, fake_publisher& p) {
    const auto s = streams().publish(key(name), {{}, name, false, true}, p);
    EXPECT_TRUE(s);
    return *s;
  };
  uint32_t n = 0;
  const auto grow = [&](live_stream& s) {
    s.hub.append(message_of(media::test::key(40 * n, n, 3000)), loop.now() + milliseconds(n));
    ++n;
    streams().on_growth(s);
    s.hub.flush();
  };
  auto& cut = metrics.counter("sluice_replays_cut_total", "");
  fake_publisher third;
  live_stream* a = replay("a", first);
  live_stream* b = replay("b", second);
  for (int i = 0; i < 3; ++i) grow(*a);
  for (int i = 0; i < 3; ++i) grow(*b);
  EXPECT_EQ(cut.value(), 0);
  EXPECT_EQ(a->hub.begin(), 0u) << "kept";
  EXPECT_EQ(b->hub.begin(), 0u);
  grow(*b);
  EXPECT_EQ(cut.value(), 1);
  grow(*a);
  EXPECT_GT(a->hub.begin(), 0u) << "the oldest goes";
  EXPECT_EQ(b->hub.begin(), 0u);
  live_stream* c = replay("c", third);
  grow(*c);
  EXPECT_EQ(cut.value(), 1) << "what is not kept does not count";
  streams().unpublish(*b, second);
  for (int i = 0; i < 4; ++i) grow(*c);
  EXPECT_EQ(cut.value(), 1) << "nor does what is gone";
  EXPECT_EQ(c->hub.begin(), 0u);
}

}  // namespace
}  // namespace sluice::servers::test
