#include <gtest/gtest.h>

#include "media/hub.hpp"
#include "unit/media/support.hpp"

namespace sluice::media::test {
namespace {

// ---- a publisher returns

TEST_F(hub_test, the_timeline_goes_on_when_a_publisher_returns) {
  player p(stream());
  send(headers + all{key(50'000), sound(50'030), inter(50'020)});
  p.got();
  stream().end_source();
  EXPECT_FALSE(stream().live());
  now += milliseconds(700);
  stream().begin_source(now);
  EXPECT_TRUE(stream().live());
  send({metadata(2), video_header(2), key(9000), sound(9010), inter(9040)});
  EXPECT_EQ(p.got(),
            (all{at(metadata(2), 50'030), at(video_header(2), 50'030), key(50'730), sound(50'740), inter(50'770)}));
  player late(stream());
  late.on_frames();
  EXPECT_EQ(late.got(),
            (all{at(metadata(2), 50'730), at(video_header(2), 50'730), key(50'730), sound(50'740), inter(50'770)}))
      << "nothing of the old source, not its audio header either";
}

TEST_F(hub_test, headers_repeated_at_time_zero_do_not_turn_the_timeline_back) {
  player p(stream());
  send(headers + all{key(50'000), audio_header()});
  p.got();
  now += milliseconds(100);
  stream().begin_source(now);
  send({key(0)});
  EXPECT_EQ(p.got(), all{key(50'100)});
}

TEST_F(hub_test, timelines_join_across_the_wrap) {
  player p(stream());
  send({key(0xFFFFFF00u), inter(0xFFFFFFF0u)});
  p.got();
  now += milliseconds(100);
  stream().begin_source(now);
  send({key(3000), inter(3040)});
  EXPECT_EQ(p.got(), (all{key(0x54), inter(0x54 + 40)}));
}

TEST_F(hub_test, a_source_that_starts_over_is_followed) {
  player p(stream());
  send({key(900'000)});
  send({key(0), inter(40)});
  EXPECT_EQ(p.got(), (all{key(900'000), key(0), inter(40)})) << "its own timestamps are its own affair";
  stream().begin_source(now += milliseconds(10));
  send({key(7)});
  EXPECT_EQ(p.got(), all{key(50)});
}

TEST_F(hub_test, a_timeline_that_nobody_saw_is_forgotten) {
  send(headers + gop(50'000, 5));
  stream().end_source();
  stream().begin_source(now += seconds(1));
  EXPECT_EQ(stream().begin(), stream().end());
  player p(stream());
  send({key(0), inter(40)});
  EXPECT_EQ(p.got(), (all{key(0), inter(40)}));
  stream().begin_source(now += milliseconds(10));
  send({key(7)});
  EXPECT_EQ(p.got(), all{key(50)});
}

TEST_F(hub_test, many_returns_never_go_back) {
  player p(stream());
  uint32_t last = 0;
  for (uint32_t source = 0; source < 20; ++source) {
    if (source > 0) stream().begin_source(now += milliseconds(source * 37 % 50));
    const uint32_t first = (source * 2654435761u) % 1'000'000;
    for (const auto& m : all{video_header(source)} + gop(first, 8)) send({m}, milliseconds(40));
    for (const auto& m : p.got()) {
      EXPECT_GE(m.timestamp, last);
      EXPECT_LE(m.timestamp - last, source == 0 ? 1'000'000u : 400u);
      last = m.timestamp;
    }
  }
}

TEST_F(hub_test, a_slow_reader_goes_over_from_one_source_to_the_next_in_order) {
  player slow(stream());
  slow.takes_all = false;
  send(headers + all{key(1000), inter(1040, 1, 3000)});
  slow.take(500);
  stream().end_source();
  stream().begin_source(now += milliseconds(60));
  send({video_header(2), key(0), inter(40)});
  slow.take();
  EXPECT_EQ(slow.got(), (restamped(headers, 1000) +
                         all{key(1000), inter(1040, 1, 3000), at(video_header(2), 1040), key(1100), inter(1140)}));
}

// ---- replicas

class replica_test : public hub_test {
 protected:
  replica_test() : copy(limits, driver) { copy.begin_source(now); }
  /// Copies what the first hub holds from `from` on.
  void replicate(uint64_t from, uint64_t to) {
    for (uint64_t n = from; n < to; ++n) copy.append_replica(stream().at(n), n);
    copy.flush();
  }
  hub copy;
};

TEST_F(replica_test, numbers_and_bytes_are_those_of_the_home_hub) {
  append(headers + gop(500, 5));
  replicate(0, stream().end());
  EXPECT_EQ(copy.end(), stream().end());
  EXPECT_EQ(&copy.at(7).body().view()[0], &stream().at(7).body().view()[0]) << "shared, not copied";
  player p(copy);
  p.on_frames();
  EXPECT_EQ(p.got(), restamped(headers, 500) + gop(500, 5));
}

TEST_F(replica_test, frames_seen_already_are_left_out) {
  player p(copy);
  append(gop(0, 5));
  replicate(0, 4);
  replicate(2, 5);
  EXPECT_EQ(p.got(), gop(0, 5));
  EXPECT_EQ(copy.end(), 5u);
}

TEST_F(replica_test, a_replica_that_starts_late_adopts_the_headers) {
  send(headers + gop(0, 5));
  send(gop(200, 5));
  copy.adopt_headers(stream().headers());
  replicate(stream().begin(), stream().end());
  EXPECT_EQ(copy.begin(), 8u);
  player p(copy);
  p.on_frames();
  EXPECT_EQ(p.got(), restamped(headers, 200) + gop(200, 5));
}

TEST_F(replica_test, a_hole_sends_readers_on_to_a_keyframe) {
  append(headers + gop(0, 5) + gop(200, 5) + gop(400, 5));
  player p(copy), half(copy);
  half.takes_all = false;
  replicate(0, 8);
  p.got();
  half.take(restamped(headers, 0).size() + 180);
  ASSERT_TRUE(half.half_sent());
  replicate(10, 12);
  EXPECT_EQ(copy.begin(), 10u) << "what was before the hole is of no use";
  EXPECT_EQ(p.got(), all{});
  replicate(12, 18);
  EXPECT_EQ(p.got(), gop(400, 5));
  EXPECT_EQ(p.source().dropped(), 5u);
  half.take();
  const auto got = half.got();
  ASSERT_GE(got.size(), 5u);
  EXPECT_EQ(all(got.end() - 5, got.end()), gop(400, 5));
}

}  // namespace
}  // namespace sluice::media::test
