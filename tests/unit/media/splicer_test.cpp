#include "media/splicer.hpp"

#include <gtest/gtest.h>

#include <random>

#include "support.hpp"

namespace sluice::media::test {
namespace {

/// A viewer's private hub, fed by one origin after another.
class splicer_test : public ::testing::Test {
 protected:
  splicer_test() {
    limits.gop_cache = false;
    hub_.begin_source(now);
  }
  void feed(const all& packets, int32_t shift = 0) {
    for (auto p : packets) {
      p.timestamp += static_cast<uint32_t>(shift);
      splice.take(hub_, message_of(p), now);
      hub_.flush();
    }
  }
  /// `count` frames 40 ms apart from frame `first` on, with sound, a keyframe each second.
  static all frames(uint32_t first, uint32_t count) {
    all out;
    for (uint32_t i = first; i < first + count; ++i) {
      out.push_back(i % 25 == 0 ? key(40 * i, i) : inter(40 * i, i));
      out.push_back(sound(40 * i + 10, 0));  // silence: each like all the others
    }
    return out;
  }
  void lose(base::duration pause = milliseconds(500)) {
    now += pause;
    splice.begin(now);
  }

  hub_limits limits;
  manual_driver driver;
  base::time_point now = base::time_point(seconds(1000));
  hub hub_{limits, driver};
  player viewer{hub_, reader_start::oldest};
  splicer splice;
};

TEST_F(splicer_test, a_replay_is_dropped_up_to_what_was_delivered) {
  feed(headers + frames(0, 130));
  lose();
  feed(headers + frames(25, 120));
  EXPECT_EQ(viewer.got(), headers + frames(0, 145));
  EXPECT_EQ(splice.gaps(), 0u);
}

TEST_F(splicer_test, another_zero_of_time_is_taken_back) {
  feed(headers + frames(0, 100));
  lose();
  feed(restamped(headers, 0) + frames(75, 50), -3000);
  EXPECT_EQ(viewer.got(), headers + frames(0, 125));
}

TEST_F(splicer_test, a_replay_that_begins_within_what_is_remembered) {
  feed(headers + frames(0, 102));
  lose();
  feed(headers + frames(100, 10));
  EXPECT_EQ(viewer.got(), headers + frames(0, 110));
}

TEST_F(splicer_test, no_match_goes_on_at_the_newest_keyframe_after_a_while) {
  feed(headers + frames(0, 40));
  lose();
  feed(headers + frames(70, 20));  // a keyframe at 75
  EXPECT_EQ(viewer.got(), headers + frames(0, 40));
  EXPECT_TRUE(splice.joining());
  now = splice.deadline();
  splice.on_timeout(hub_, now);
  hub_.flush();
  auto got = viewer.got();
  EXPECT_EQ(splice.gaps(), 1u);
  EXPECT_FALSE(splice.joining());
  const all expected = frames(75, 15);
  ASSERT_EQ(got.size(), expected.size());
  uint32_t last = 39 * 40;
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_EQ(got[i].body, expected[i].body);
    EXPECT_GT(got[i].timestamp, last) << "monotonic";
    last = got[i].timestamp;
  }
  feed(frames(90, 5));
  got = viewer.got();
  ASSERT_EQ(got.size(), 10u);
  EXPECT_EQ(got[0].timestamp - last, 30u);
}

TEST_F(splicer_test, without_a_keyframe_in_time_the_next_one_is_taken) {
  feed(headers + frames(0, 40));
  lose();
  feed(frames(60, 5));
  now = splice.deadline();
  splice.on_timeout(hub_, now);
  viewer.got();
  feed(frames(65, 10));
  EXPECT_TRUE(viewer.got().empty());
  feed(frames(75, 1));
  ASSERT_FALSE(splice.joining());
  EXPECT_EQ(viewer.got()[0].body, frames(75, 1)[0].body);
}

TEST_F(splicer_test, new_headers_reach_the_viewer_and_known_ones_do_not) {
  feed(headers + frames(0, 40));
  lose();
  feed(all{metadata(), video_header(7), audio_header()} + frames(25, 20));
  const auto got = viewer.got();
  const all expected =
      headers + frames(0, 40) + all{at(video_header(7), got[headers.size() + 80].timestamp)} + frames(40, 5);
  EXPECT_EQ(got, expected);
}

TEST_F(splicer_test, silence_alone_is_no_match) {
  all silent;
  for (uint32_t i = 0; i < 200; ++i) silent.push_back(sound(20 * i, 0));
  feed(silent);
  lose();
  feed(all(silent.begin(), silent.begin() + 50));
  EXPECT_TRUE(splice.joining());
  EXPECT_EQ(viewer.got(), silent);
}

TEST_F(splicer_test, any_overlap_of_any_loss) {
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::mt19937 random(seed);
    hub h{limits, driver};
    splicer join;
    h.begin_source(now);
    player sees(h, reader_start::oldest);
    const auto put = [&](const all& packets, uint32_t shift) {
      for (auto p : packets) {
        p.timestamp -= shift;
        join.take(h, message_of(p), now);
        h.flush();
      }
    };
    uint32_t done = 1 + random() % 100;
    put(headers + frames(0, done), 0);
    for (int loss = 0; loss < 4; ++loss) {
      now += milliseconds(random() % 3000);
      join.begin(now);
      const uint32_t gop = (done - 1) / 25 * 25;
      const uint32_t from = gop - std::min(gop, 25 * static_cast<uint32_t>(random() % 5));
      const uint32_t more = 1 + random() % 60;
      put(headers + frames(from, done - from + more), random() % 2 ? from * 40 : 0);
      done += more;
    }
    ASSERT_EQ(sees.got(), headers + frames(0, done)) << "seed " << seed;
  }
}

}  // namespace
}  // namespace sluice::media::test
