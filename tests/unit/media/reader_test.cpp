#include "media/reader.hpp"

#include <gtest/gtest.h>

#include "unit/media/support.hpp"

namespace sluice::media::test {
namespace {

// ---- slow readers

TEST_F(hub_test, a_reader_behind_lag_max_goes_on_from_the_newest_keyframe) {
  limits.lag_max = seconds(3);
  player slow(stream());
  player quick(stream());
  send(headers + gop(0, 25), milliseconds(40));
  EXPECT_EQ(slow.got().size(), 28u);
  quick.got();
  slow.takes_all = false;
  uint64_t missed = 0;
  for (uint32_t g = 1; g <= 6; ++g) {
    for (const auto& p : gop(g * 1000, 25, g)) send({p}, milliseconds(40));
    EXPECT_EQ(quick.got(), gop(g * 1000, 25, g));
    ASSERT_LE(stream().end() - stream().begin(), 3 * 25u + 25u) << "how far a slow one holds the log back";
    if (g < 6) missed += 25;
  }
  slow.take();
  EXPECT_EQ(slow.got(), gop(6000, 25, 6)) << "its headers have not changed";
  EXPECT_EQ(slow.source().drops(), 1u);
  EXPECT_EQ(slow.source().dropped(), missed);
  EXPECT_EQ(quick.source().dropped(), 0u);
}

TEST_F(hub_test, a_dropped_reader_gets_headers_that_changed_meanwhile) {
  limits.lag_max = milliseconds(500);
  player slow(stream());
  send(headers + gop(0, 5), milliseconds(40));
  slow.got();
  slow.takes_all = false;
  for (const auto& p : gop(1000, 25)) send({p}, milliseconds(40));
  send({at(video_header(9), 2000)});
  for (const auto& p : gop(2000, 25)) send({p}, milliseconds(40));
  slow.take();
  EXPECT_EQ(slow.got(), (restamped({metadata(), video_header(9), audio_header()}, 2000) + gop(2000, 25)));
}

TEST_F(hub_test, a_reader_dropped_between_keyframes_waits_for_the_next) {
  limits.gop_cache = false;
  limits.lag_max = milliseconds(200);
  player slow(stream());
  send(headers + all{key(0)});
  slow.got();
  slow.takes_all = false;
  for (uint32_t t = 40; t < 1000; t += 40) send({inter(t)}, milliseconds(40));
  slow.take();
  EXPECT_EQ(slow.got(), all{});
  slow.takes_all = true;
  send({inter(1000)});
  EXPECT_EQ(slow.got(), all{}) << "never a part of a group without its keyframe";
  send({key(1040), inter(1080)});
  EXPECT_EQ(slow.got(), (all{key(1040), inter(1080)}));
  EXPECT_EQ(slow.source().dropped(), 25u);
}

TEST_F(hub_test, a_half_sent_message_is_completed_though_the_log_has_moved_on) {
  limits.lag_max = milliseconds(200);
  player slow(stream());
  slow.takes_all = false;
  send({key(0, 7, 3000)}, milliseconds(40));
  EXPECT_EQ(slow.take(1000), 1000u);
  EXPECT_TRUE(slow.half_sent());
  EXPECT_LT(slow.source().backlog(), 3000u) << "what is sent is no backlog";
  EXPECT_GT(slow.source().backlog(), 1900u);
  for (uint32_t t = 40; t < 2000; t += 40) send({inter(t)}, milliseconds(40));
  send({key(2000)}, milliseconds(40));
  EXPECT_EQ(slow.got(), all{});
  slow.take();
  EXPECT_EQ(slow.got(), (all{key(0, 7, 3000), key(2000)}));
  EXPECT_EQ(slow.source().drops(), 1u);
}

TEST_F(hub_test, backlog_counts_wire_bytes_to_the_end_of_the_log) {
  player p(stream());
  p.takes_all = false;
  send({key(0)});
  p.take();
  EXPECT_EQ(p.source().backlog(), 0u);
  send({inter(40, 1, 1000), inter(80, 2, 1000)});
  const auto whole = p.source().backlog();
  EXPECT_GE(whole, 2000u);
  EXPECT_LT(whole, 2100u);
  p.take(300);
  EXPECT_EQ(p.source().backlog(), whole - 300);
}

// ---- pause, receiveAudio, receiveVideo

TEST_F(hub_test, a_paused_reader_skips_what_comes_meanwhile) {
  player p(stream());
  send(headers + gop(0, 5));
  p.got();
  p.source().pause(true);
  send({inter(200), sound(210)});
  send({key(240), sound(250)});
  EXPECT_EQ(p.got(), all{});
  EXPECT_FALSE(p.source().has_pending());
  p.source().pause(false);
  send({inter(280), sound(290), key(320), inter(360)});
  EXPECT_EQ(p.got(), (all{sound(290), key(320), inter(360)})) << "live, and video from a keyframe on";
  EXPECT_EQ(p.source().dropped(), 0u) << "what it did not want is no loss";
}

TEST_F(hub_test, a_long_pause_is_no_slowness) {
  limits.lag_max = seconds(1);
  player p(stream());
  send(headers + gop(0, 5));
  p.source().pause(true);
  for (uint32_t t = 200; t < 5000; t += 40) send({inter(t)}, milliseconds(40));
  EXPECT_LE(stream().end() - stream().begin(), 5 + 120u);
  EXPECT_EQ(p.source().drops(), 0u);
}

TEST_F(hub_test, audio_and_video_are_switched_by_themselves) {
  player p(stream());
  send(headers + gop(0, 3));
  p.got();
  p.source().want_video(false);
  send({inter(120), sound(121), key(160), sound(161)});
  EXPECT_EQ(p.got(), (all{sound(121), sound(161)}));
  p.source().want_video(true);
  send({inter(200), sound(201), at(video_header(4), 230), key(240), inter(280)});
  EXPECT_EQ(p.got(), (all{sound(201), at(video_header(4), 230), key(240), inter(280)}));
  p.source().want_audio(false);
  send({sound(290), inter(320), sound(330)});
  EXPECT_EQ(p.got(), all{inter(320)});
  p.source().want_audio(true);
  send({sound(340)});
  EXPECT_EQ(p.got(), all{sound(340)});
}

// ---- a player who joins

TEST_F(hub_test, metadata_that_a_joining_player_gets_stands_at_zero) {
  send(headers + gop(0, 25), milliseconds(40));
  send(gop(1000, 5), milliseconds(40));
  player p(stream());
  p.source().set_joining();
  p.take();
  EXPECT_EQ(p.got(), all{metadata()} + restamped({video_header(), audio_header()}, 1000) + gop(1000, 5));
  send({at(metadata(2), 1200), inter(1210)});
  EXPECT_EQ(p.got(), (all{at(metadata(2), 1200), inter(1210)})) << "later ones keep their time";
}

TEST_F(hub_test, so_does_metadata_that_begins_the_log_of_an_only_viewer) {
  player p(stream(), reader_start::oldest);
  p.source().set_joining();
  send({at(metadata(), 3840)});
  send(all{at(metadata(1), 3840)} + restamped({video_header(), audio_header()}, 3840) + gop(3840, 5));
  EXPECT_EQ(p.got(), (all{metadata(), metadata(1)} + restamped({video_header(), audio_header()}, 3840) + gop(3840, 5)));
  send({at(metadata(2), 4040), inter(4050)});
  EXPECT_EQ(p.got(), (all{at(metadata(2), 4040), inter(4050)}));
}

TEST_F(hub_test, a_player_moved_on_gets_changed_metadata_with_its_time) {
  limits.lag_max = milliseconds(500);
  player slow(stream());
  slow.source().set_joining();
  send(headers + gop(0, 5), milliseconds(40));
  slow.got();
  slow.takes_all = false;
  for (const auto& p : gop(1000, 25)) send({p}, milliseconds(40));
  send({at(metadata(3), 2000)});
  for (const auto& p : gop(2000, 25)) send({p}, milliseconds(40));
  slow.take();
  EXPECT_EQ(slow.got(), restamped({metadata(3), video_header(), audio_header()}, 2000) + gop(2000, 25));
}

// ---- readers that go on

TEST_F(hub_test, a_reader_goes_on_at_any_frame_with_the_headers_in_force_there) {
  limits.retain = seconds(100);
  limits.lag_max = std::chrono::hours(1);
  const auto sent = headers + gop(0, 5) + all{at(video_header(7), 200), inter(210, 50)} + gop(1000, 5) +
                    all{at(video_header(8), 1200), inter(1210, 60)};
  send(sent, milliseconds(40));
  const auto from = [&](uint64_t number) {
    player p(stream(), reader_start::oldest);
    p.source().go_on_at(number);
    p.take();
    EXPECT_EQ(p.source().next_number(), stream().end());
    return p.got();
  };
  const all old{metadata(), video_header(), audio_header()}, changed{metadata(), video_header(7), audio_header()};
  EXPECT_EQ(from(5), restamped(old, 80) + all(sent.begin() + 5, sent.end())) << "before they changed";
  EXPECT_EQ(from(9), restamped(changed, 210) + all(sent.begin() + 9, sent.end())) << "in the same group";
  EXPECT_EQ(from(12), restamped(changed, 1080) + all(sent.begin() + 12, sent.end())) << "and in the next";
  EXPECT_EQ(from(sent.size()), restamped({metadata(), video_header(8), audio_header()}, 1210)) << "at the end";
  EXPECT_EQ(from(sent.size() + 1), sent) << "where nothing is yet";
}

TEST_F(hub_test, a_reader_that_would_go_on_where_the_log_has_moved_on_starts_at_its_oldest) {
  send(headers + gop(0, 25), milliseconds(40));
  send(gop(1000, 25, 100), milliseconds(40));
  ASSERT_GT(stream().begin(), 5u);
  player p(stream(), reader_start::oldest);
  p.source().go_on_at(5);
  p.take();
  EXPECT_EQ(p.got(), restamped(headers, 1000) + gop(1000, 25, 100));
}

}  // namespace
}  // namespace sluice::media::test
