#include "media/segment_clock.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace sluice::media::test {
namespace {

using enum segment_step::outcome;

struct cut {
  uint32_t timestamp;
  uint64_t length_ms;  // of the segment before
  segment_state state;
};

/// A clock and what it cut.
struct cutter {
  segment_clock clock;
  std::vector<cut> cuts;
  uint64_t begin = 0;

  explicit cutter(uint32_t target_ms = 2000, uint32_t advertised_s = 0) {
    clock.start({100, 50, 1'000'000, target_ms, advertised_s});
  }
  segment_step feed(const segment_frame& f) {
    const auto step = clock.on_frame(f);
    if (step.what == begins) cuts.push_back({f.timestamp, step.ended_ms - begin, clock.state()});
    if (step.what == begins || step.what == restarts) begin = clock.state().begin_ms;
    return step;
  }
  /// Video at 25 frames/s with a keyframe every `gop_ms`.
  void video(uint32_t from, uint32_t ms, uint32_t gop_ms, uint32_t origin = 0) {
    for (uint32_t t = 0; t < ms; t += 40) feed({from + t, true, (from + t - origin) % gop_ms == 0, true});
  }
  std::vector<uint32_t> lengths() const {
    std::vector<uint32_t> all;
    for (size_t i = 1; i < cuts.size(); ++i) all.push_back(static_cast<uint32_t>(cuts[i].length_ms));
    return all;
  }
};

TEST(segment_clock, cuts_at_the_first_keyframe_from_the_target_on) {
  cutter c;
  EXPECT_EQ(c.feed({0, false, false, true}).what, dropped) << "sound before the first keyframe";
  EXPECT_EQ(c.feed({0, true, false, true}).what, dropped);
  c.video(0, 9000, 1200);
  EXPECT_EQ(c.lengths(), (std::vector<uint32_t>{2400, 2400, 2400}));
  EXPECT_EQ(c.cuts[0].state, (segment_state{100, 0, 1'000'000, 50, 2000, 0, true}));
  EXPECT_EQ(c.cuts[1].state, (segment_state{101, 2400, 1'000'000, 50, 2000, 3, false}));
  EXPECT_EQ(c.cuts[3].state.number, 103u);
}

TEST(segment_clock, sound_alone_is_cut_anywhere) {
  cutter c;
  for (uint32_t t = 7; t < 9000; t += 23) c.feed({t, false, false, false});
  EXPECT_EQ(c.lengths(), (std::vector<uint32_t>{2001, 2001, 2001, 2001}));
  EXPECT_EQ(c.cuts[0].state.zero_wall_ms, 1'000'000 - 7);
}

// RFC 8216 §4.3.3.1: rounded, no segment is longer than the target duration, which never changes.
TEST(segment_clock, never_exceeds_what_it_advertised) {
  for (const uint32_t later_gop : {1000u, 2400u, 2520u, 3000u, 12000u, 60000u}) {
    for (const uint32_t target : {1000u, 2000u, 3500u}) {
      cutter c(target);
      c.video(0, 4000, 2000);
      c.video(4000, 40000, later_gop, 4000);
      const uint32_t advertised = c.cuts[1].state.advertised_s;
      for (size_t i = 1; i < c.cuts.size(); ++i) {
        EXPECT_EQ(c.cuts[i].state.advertised_s, advertised);
        EXPECT_LE((c.cuts[i].length_ms + 500) / 1000, advertised) << later_gop << ' ' << target;
        EXPECT_GE(c.cuts[i].length_ms, 1000u);
      }
    }
  }
}

TEST(segment_clock, long_gops_are_cut_without_a_keyframe) {
  cutter c;
  c.video(0, 40000, 12000);
  EXPECT_EQ(c.cuts[1].state.advertised_s, 10u);
  for (const auto length : c.lengths()) EXPECT_LE(length, 10499u);
  EXPECT_EQ(c.cuts[1].timestamp, 10000u);
  EXPECT_EQ(c.cuts[2].timestamp, 12000u) << "and at the keyframe again";
}

TEST(segment_clock, what_was_advertised_before_holds) {
  cutter c(2000, 4);
  c.video(0, 20000, 12000);
  EXPECT_EQ(c.cuts[1].state.advertised_s, 4u);
  for (const auto length : c.lengths()) EXPECT_LE(length, 4499u);
}

TEST(segment_clock, a_video_that_stops_does_not_stop_the_segments) {
  cutter c;
  c.video(0, 4000, 2000);
  for (uint32_t t = 4000; t < 20000; t += 20) c.feed({t, false, false, true});
  ASSERT_GE(c.cuts.size(), 6u);
  for (const auto length : c.lengths()) EXPECT_LE((length + 500) / 1000, 2u);
}

TEST(segment_clock, timestamps_wrap) {
  cutter c;
  const uint32_t from = 0u - 5000;
  for (uint32_t t = 0; t < 12000; t += 40) c.feed({from + t, true, t % 2000 == 0, true});
  EXPECT_EQ(c.lengths(), (std::vector<uint32_t>{2000, 2000, 2000, 2000, 2000}));
  EXPECT_EQ(c.cuts[4].state.begin_ms, uint64_t{from} + 8000) << "and the timeline goes on";
  EXPECT_EQ(c.cuts[4].state.zero_wall_ms + static_cast<int64_t>(c.cuts[4].state.begin_ms), 1'000'000 + 8000);
}

TEST(segment_clock, a_jump_is_a_discontinuity_and_the_date_goes_on) {
  for (const uint32_t to : {100'000u, 0u - 900'000u}) {
    cutter c;
    c.video(0, 3000, 2000);
    c.video(to, 3000, 2000, to);
    ASSERT_EQ(c.cuts.size(), 4u);
    const auto& s = c.cuts[2].state;
    EXPECT_EQ(c.cuts[2].length_ms, 1000u);
    EXPECT_EQ(s.number, 102u);
    EXPECT_TRUE(s.discontinuity);
    EXPECT_EQ(s.discontinuities, 51u);
    EXPECT_EQ(s.begin_ms, to);
    EXPECT_EQ(s.zero_wall_ms + static_cast<int64_t>(s.begin_ms), 1'003'000);
    EXPECT_FALSE(c.cuts[3].state.discontinuity);
    EXPECT_EQ(c.cuts[3].state.discontinuities, 51u);
  }
}

TEST(segment_clock, timestamps_that_creep_back_are_a_jump_in_the_end) {
  cutter c;
  c.video(20000, 1200, 40);
  for (uint32_t i = 0; i < 3; ++i) c.feed({21000 - 5000 * i, true, false, true});
  EXPECT_EQ(c.cuts.size(), 1u);
  c.feed({6000, true, false, true});
  ASSERT_EQ(c.cuts.size(), 2u);
  EXPECT_TRUE(c.cuts[1].state.discontinuity);
}

TEST(segment_clock, a_new_configuration_begins_a_segment_at_once) {
  cutter c;
  c.video(0, 1400, 2000);
  EXPECT_EQ(c.feed({1400, true, true, true, true}).what, begins);
  EXPECT_EQ(c.cuts[1].length_ms, 1400u);
  EXPECT_EQ(c.cuts[1].state, (segment_state{101, 1400, 1'000'000, 51, 2000, 2, true}));
}

// A segment is a second long at least, so that numbers cannot overtake the wall clock.
TEST(segment_clock, too_short_a_segment_begins_anew) {
  cutter c;
  c.video(0, 2040, 2000);
  EXPECT_EQ(c.feed({2400, true, true, true, true}).what, restarts);
  EXPECT_EQ(c.clock.state(), (segment_state{101, 2400, 1'000'000, 51, 2000, 2, true}));
  EXPECT_EQ(c.feed({2440, true, true, true, true}).what, restarts);
  EXPECT_EQ(c.clock.state().discontinuities, 51u) << "one number, one discontinuity";
}

TEST(segment_clock, whoever_resumes_cuts_alike) {
  for (const uint32_t gop : {1000u, 2000u, 2400u, 12000u}) {
    std::vector<segment_frame> frames;
    for (uint32_t t = 0; t < 60000; t += 20) {
      const uint32_t at = t < 30000 ? t : t + 500'000;
      const bool video = t % 40 == 0;
      frames.push_back({at, video, video && t % gop == 0, true, t == 44000});
    }
    cutter first;
    std::vector<size_t> begun;
    for (size_t i = 0; i < frames.size(); ++i) {
      if (first.feed(frames[i]).what == begins) begun.push_back(i);
    }
    for (size_t k = 0; k < begun.size(); ++k) {
      segment_clock second;
      second.resume(first.cuts[k].state);
      size_t at = k;
      for (size_t i = begun[k]; i < frames.size(); ++i) {
        auto f = frames[i];
        if (i == begun[k]) f.changed = false;  // the state says so already
        if (second.on_frame(f).what == begins) EXPECT_EQ(second.state(), first.cuts[++at].state);
      }
      EXPECT_EQ(at + 1, begun.size()) << "gop " << gop << " from " << k;
    }
  }
}

TEST(segment_clock, the_next_publication_goes_on_with_the_numbers) {
  cutter none;
  EXPECT_EQ(none.clock.next_publication(), (publication_start{100, 50, 0, 2000, 0})) << "nothing came";
  for (const uint32_t last_ms : {500u, 1500u}) {
    cutter c;
    c.video(0, 4000 + last_ms, 2000);
    ASSERT_EQ(c.clock.state().number, 102u);
    // What is shorter than a second is not published: its number is the next one's.
    const bool complete = last_ms > 1000;
    EXPECT_EQ(c.clock.next_publication(), (publication_start{complete ? 103u : 102u, 51, 0, 2000, 2})) << last_ms;
  }
  cutter first;
  first.video(0, 1500, 2000);
  EXPECT_EQ(first.clock.next_publication(), (publication_start{101, 51, 0, 2000, 2}));
  cutter shorter;
  shorter.video(0, 500, 2000);
  EXPECT_EQ(shorter.clock.next_publication(), (publication_start{100, 50, 0, 2000, 0}));
}

TEST(segment_clock, hostile_states_do_no_harm) {
  for (const uint64_t big : {UINT64_MAX, uint64_t{1} << 63, uint64_t{0}}) {
    segment_clock c;
    c.resume({big, big, static_cast<int64_t>(big), big, static_cast<uint32_t>(big), static_cast<uint32_t>(big), true});
    for (uint32_t t = 0; t < 100; ++t) c.on_frame({t * 40'000'000u, true, t % 2 == 0, true, t % 3 == 0});
    c.end_ms();
  }
}

TEST(segment_clock, end) {
  cutter c;
  c.video(0, 2400, 2000);
  EXPECT_EQ(c.clock.end_ms(), 2400u) << "the last frame lasts as long as the one before";
  EXPECT_EQ(c.clock.advertised_at(2400), 2u);
}

}  // namespace
}  // namespace sluice::media::test
