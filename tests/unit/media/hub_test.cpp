#include "media/hub.hpp"

#include <gtest/gtest.h>

#include "unit/media/support.hpp"

namespace sluice::media::test {
namespace {

TEST_F(hub_test, numbers_frames_from_zero) {
  append(headers + all{key(0), sound(10)});
  EXPECT_EQ(stream().begin(), 0u);
  EXPECT_EQ(stream().end(), 5u);
  EXPECT_TRUE(stream().at(3).keyframe);
  EXPECT_EQ(stream().at(4).timestamp, 10u);
  stream().flush();
  EXPECT_EQ(stream().begin(), 3u) << "headers are kept apart from the log";
  EXPECT_EQ(stream().end(), 5u);
  EXPECT_EQ(stream().at(4).timestamp, 10u) << "a number names a frame for ever";
}

TEST_F(hub_test, asks_once_for_a_flush) {
  append({key(0), inter(1)});
  EXPECT_EQ(driver.asked, 1);
  EXPECT_TRUE(stream().flush());
  append({inter(2)});
  EXPECT_EQ(driver.asked, 2);
}

TEST_F(hub_test, a_reader_that_is_there_gets_everything) {
  player p(stream());
  const all sent = headers + gop(1000, 30) + gop(2200, 30);
  send(sent);
  EXPECT_EQ(p.got(), restamped(headers, 1000) + gop(1000, 30) + gop(2200, 30))
      << "one flush: from the first keyframe after it came";
  send(gop(3400, 30) + all{sound(4600)});
  EXPECT_EQ(p.got(), gop(3400, 30) + all{sound(4600)});
}

TEST_F(hub_test, a_late_joiner_starts_at_the_newest_keyframe_with_headers_of_its_time) {
  send({audio_header(), video_header(), set_data_frame(1)});
  send(gop(0, 30));
  send(gop(1200, 30) + all{sound(2390)});
  player late(stream());
  late.on_frames();
  EXPECT_EQ(late.got(),
            (restamped({metadata(1), audio_header(), video_header()}, 1200) + gop(1200, 30) + all{sound(2390)}));
  send({inter(2400)});
  EXPECT_EQ(late.got(), all{inter(2400)});
}

TEST_F(hub_test, a_joiner_before_the_first_keyframe_waits_for_it) {
  send(headers + all{inter(0), inter(40)});
  player p(stream());
  p.on_frames();
  EXPECT_EQ(p.got(), all{});
  send({inter(80), key(120, 5), inter(160)});
  EXPECT_EQ(p.got(), (restamped(headers, 120) + all{key(120, 5), inter(160)}));
}

TEST_F(hub_test, headers_are_those_in_force_at_the_join) {
  send(headers + gop(0, 3));
  send({at(video_header(2), 120), inter(120)});
  EXPECT_EQ(stream().headers()->size(), 3u) << "a header replaces the one of its slot";
  player p(stream());
  p.on_frames();
  EXPECT_EQ(p.got(), (headers + gop(0, 3) + all{at(video_header(2), 120), inter(120)}));
  send({key(160)});
  player later(stream());
  later.on_frames();
  EXPECT_EQ(later.got(), (restamped({metadata(), video_header(2), audio_header()}, 160) + all{key(160)}));
}

TEST_F(hub_test, keeps_a_bounded_number_of_headers) {
  for (uint8_t track = 0; track < 40; ++track) {
    send({packet{rtmp::video, 0, {0x96, 0x00, 'a', 'v', '0', '1', track, 1}}});
  }
  EXPECT_EQ(stream().headers()->size(), 16u);
}

TEST_F(hub_test, without_gop_cache_a_joiner_waits_for_the_next_keyframe) {
  limits.gop_cache = false;
  send(headers + gop(0, 10));
  EXPECT_EQ(stream().begin(), stream().end()) << "nobody reads, nothing is kept";
  player p(stream());
  p.on_frames();
  send({inter(400)});
  EXPECT_EQ(p.got(), all{});
  append({inter(440), key(480)});
  player q(stream());
  stream().flush();
  const all expected = restamped(headers, 480) + all{key(480)};
  EXPECT_EQ(p.got(), expected);
  EXPECT_EQ(q.got(), expected) << "a keyframe that nobody has been shown yet is not old";
}

TEST_F(hub_test, an_audio_stream_is_joined_at_marks_a_second_apart) {
  send({metadata(), audio_header()});
  all sent;
  for (uint32_t t = 0; t < 5000; t += 20) {
    send({sound(t, t)}, milliseconds(20));
    sent.push_back(sound(t, t));
    ASSERT_LE(stream().end() - stream().begin(), 51u) << "no more than a second is kept";
  }
  player p(stream());
  p.on_frames();
  const auto got = p.got();
  ASSERT_GE(got.size(), 3u);
  const uint32_t start = got[2].timestamp;
  EXPECT_GE(start, 3900u);
  EXPECT_EQ(got, restamped({metadata(), audio_header()}, start) + all(sent.begin() + start / 20, sent.end()));
}

TEST_F(hub_test, video_that_never_sends_a_keyframe_can_be_joined_after_a_while) {
  send(headers + all{inter(0)});
  player p(stream());
  for (uint32_t t = 40; t < 9000; t += 40) send({inter(t), sound(t)}, milliseconds(20));
  EXPECT_EQ(p.got(), all{}) << "a keyframe may still come";
  for (uint32_t t = 9000; t < 12'000; t += 40) send({inter(t), sound(t)}, milliseconds(20));
  const auto got = p.got();
  ASSERT_GT(got.size(), 4u);
  EXPECT_EQ(got[3].type, rtmp::audio) << "headers, then from a mark on";
  EXPECT_EQ(got.back(), sound(11'960));
}

TEST_F(hub_test, bytes_max_holds_at_every_moment) {
  limits.bytes_max = 10'000;
  send(headers + all{key(0)});
  uint32_t t = 40;
  for (; t < 40 * 100; t += 40) {
    append({inter(t, t, 500)});
    ASSERT_LE(stream().bytes(), limits.bytes_max) << "not only after a flush";
  }
  EXPECT_GT(stream().evicted(), 70u);
  stream().flush();
  player p(stream());
  p.on_frames();
  EXPECT_EQ(p.got(), all{}) << "a group that has lost its keyframe is no start";
  send({key(t)});
  EXPECT_EQ(p.got(), restamped(headers, t) + all{key(t)});
}

TEST_F(hub_test, a_message_larger_than_bytes_max_still_passes) {
  limits.bytes_max = 1000;
  player p(stream());
  send({key(0, 1, 5000)});
  EXPECT_EQ(p.got(), (all{key(0, 1, 5000)}));
}

TEST_F(hub_test, age_max_ends_the_cache_of_a_long_group) {
  limits.age_max = seconds(2);
  send(headers + all{key(0)});
  for (uint32_t t = 40; t <= 2000; t += 40) send({inter(t)}, milliseconds(40));
  player early(stream());
  early.on_frames();
  EXPECT_EQ(early.got().size(), 3u + 51u);
  for (uint32_t t = 2040; t <= 2200; t += 40) send({inter(t)}, milliseconds(40));
  EXPECT_EQ(stream().newest_join(), nullptr);
  EXPECT_EQ(stream().begin(), stream().end());
  EXPECT_GT(stream().evicted(), 0u);
  EXPECT_EQ(early.source().dropped(), 0u) << "who keeps up is not concerned";
}

TEST_F(hub_test, retain_keeps_whole_groups_before_the_newest) {
  limits.retain = seconds(4);
  send(headers);
  for (uint32_t g = 0; g < 20; ++g) {
    for (const auto& p : gop(g * 1000, 25, g * 25)) send({p}, milliseconds(40));
    const auto* newest = stream().newest_join();
    ASSERT_NE(newest, nullptr);
    if (g < 4) {
      EXPECT_EQ(stream().begin(), 3u) << "all of it, group " << g;
      continue;
    }
    EXPECT_TRUE(stream().at(stream().begin()).keyframe) << "a whole group first";
    EXPECT_EQ(stream().at(stream().begin()).timestamp, (g - 4) * 1000) << "four seconds, and no group more";
  }
  player replay(stream(), reader_start::oldest);
  replay.on_frames();
  const auto got = replay.got();
  ASSERT_EQ(got.size(), 3 + 5 * 25u);
  EXPECT_EQ(all(got.begin(), got.begin() + 3), restamped(headers, 15'000));
  EXPECT_EQ(all(got.begin() + 3, got.begin() + 28), gop(15'000, 25, 15 * 25));
}

TEST_F(hub_test, retain_gives_way_to_bytes_max) {
  limits.retain = seconds(10);
  limits.bytes_max = 10'000;
  for (uint32_t g = 0; g < 20; ++g) {
    for (const auto& p : gop(g * 1000, 25)) send({p}, milliseconds(40));
    ASSERT_LE(stream().bytes(), limits.bytes_max);
  }
  EXPECT_GT(stream().evicted(), 0u);
}

TEST_F(hub_test, the_oldest_start_takes_all_that_is_there) {
  append(headers + gop(0, 3));
  player p(stream(), reader_start::oldest);
  stream().flush();
  EXPECT_EQ(p.got(), headers + gop(0, 3)) << "the headers stand in the log, once";
}

TEST_F(hub_test, the_oldest_start_behind_a_cut_gets_the_headers_too) {
  limits.bytes_max = 3000;
  append({audio_header()});
  for (uint32_t t = 0; t < 100'000; t += 20) append({sound(t, t, 200)});
  player audio(stream(), reader_start::oldest);
  stream().flush();
  const auto got = audio.got();
  ASSERT_GT(got.size(), 2u);
  EXPECT_EQ(got[0], at(audio_header(), got[1].timestamp));
  EXPECT_EQ(got.back(), sound(99'980, 99'980, 200));
}

// ---- nobody reads

TEST_F(hub_test, the_log_holds_the_newest_group_only_when_nobody_reads) {
  send(headers);
  for (uint32_t g = 0; g < 10; ++g) {
    for (const auto& p : gop(g * 1000, 25)) send({p}, milliseconds(40));
    EXPECT_EQ(stream().end() - stream().begin(), 25u);
    EXPECT_TRUE(stream().at(stream().begin()).keyframe);
  }
  EXPECT_EQ(stream().evicted(), 0u);
}

TEST_F(hub_test, the_log_is_let_go_when_a_slow_reader_leaves) {
  {
    player slow(stream());
    slow.takes_all = false;
    send(headers + gop(0, 25), milliseconds(1));
    slow.take();
    for (uint32_t g = 1; g < 5; ++g) send(gop(g * 1000, 25), milliseconds(1));
    EXPECT_GE(stream().end() - stream().begin(), 4 * 25u);
  }
  send({inter(5000)});
  EXPECT_EQ(stream().end() - stream().begin(), 26u);
}

TEST_F(hub_test, a_waiting_reader_holds_nothing) {
  player p(stream());
  for (uint32_t t = 0; t < 4000; t += 40) send({inter(t)}, milliseconds(40));
  EXPECT_EQ(stream().begin(), stream().end());
}

}  // namespace
}  // namespace sluice::media::test
