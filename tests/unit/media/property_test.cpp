#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "unit/media/support.hpp"

// What every player must see, whatever its socket takes and whatever the limits are: whole messages of the stream, in
// order, no gap inside a group of pictures, nothing missing but what is counted. Each run is a seed.
namespace sluice::media::test {
namespace {

uint32_t serial_of(const packet& p) {
  const size_t head = p.type == rtmp::video ? 5 : 2;
  base::byte_reader in(p.body);
  in.skip(head);
  return in.u32();
}

bool is_header(const packet& p) { return p.type == rtmp::data_amf0 || p.body[1] == 0; }
bool is_inter(const packet& p) { return p.type == rtmp::video && p.body[0] == 0x27; }

/// The stream as it went into the hub, by number.
struct history {
  std::vector<packet> frames;
  std::vector<int64_t> video_before;  // number of the video frame that an inter frame builds upon, or -1
  std::set<bytes> header_bodies;
  int64_t last_video = -1;

  void add(const packet& p) {
    const auto number = static_cast<int64_t>(frames.size());
    video_before.push_back(last_video);
    if (p.type == rtmp::video && !is_header(p)) last_video = number;
    if (is_header(p)) header_bodies.insert(p.body);
    frames.push_back(p);
  }
};

/// Checks one player's messages as they come.
struct judge {
  const history& sent;
  int64_t last = -1;  // number of the last frame that is no header
  std::set<int64_t> videos;
  uint64_t media_missed = 0, missed = 0;
  size_t headers_seen = 0;

  void look_at(const packet& p) {
    if (is_header(p)) {
      ASSERT_TRUE(sent.header_bodies.contains(p.body)) << "a header that nobody sent";
      ++headers_seen;
      return;
    }
    const int64_t number = serial_of(p);
    ASSERT_LT(number, static_cast<int64_t>(sent.frames.size()));
    ASSERT_EQ(p, sent.frames[static_cast<size_t>(number)]);
    ASSERT_GT(number, last) << "in order, and once";
    if (is_inter(p)) {
      ASSERT_TRUE(videos.contains(sent.video_before[static_cast<size_t>(number)])) << "a gap in a group, at " << number;
    }
    if (p.type == rtmp::video) videos.insert(number);
    if (last >= 0) {
      missed += static_cast<uint64_t>(number - last - 1);
      for (int64_t n = last + 1; n < number; ++n) media_missed += !is_header(sent.frames[static_cast<size_t>(n)]);
    } else {
      ASSERT_GE(headers_seen, 3u) << "headers come first";
    }
    last = number;
  }
};

struct watched_player {
  watched_player(hub& h, const history& h_sent, reader_start start) : p(h, start), seen{h_sent} { p.takes_all = false; }
  void check() {
    for (const auto& m : p.got()) seen.look_at(m);
  }
  player p;
  judge seen;
  bool choosy = false;  // has paused, or switched audio or video
};

class property : public hub_test, public ::testing::WithParamInterface<unsigned> {
 protected:
  size_t pick(size_t below) { return random_() % below; }
  bool chance(unsigned percent) { return pick(100) < percent; }

  size_t some_size() {
    if (chance(2)) return 60'000 + pick(80'000);  // more than one chunk
    return 20 + pick(chance(20) ? 20'000 : 600);
  }

  void publish(const packet& p) {
    append({p}, milliseconds(pick(30)));
    const frame& f = stream().at(stream().end() - 1);
    all_.add({f.type, f.timestamp, {f.body().view().begin(), f.body().view().end()}});
    timestamp_ += static_cast<uint32_t>(pick(30));
  }
  uint32_t next() const { return static_cast<uint32_t>(all_.frames.size()); }

  void begin() {
    for (auto p : {metadata(static_cast<int>(next())), video_header(next()), audio_header(next())}) publish(p);
    publish(key(timestamp_, next(), some_size()));
  }

  void return_of_publisher() {
    stream().end_source();
    stream().begin_source(now += milliseconds(pick(200)));
    timestamp_ = static_cast<uint32_t>(random_());
    begin();
  }

  void some_frame() {
    if (chance(40)) return publish(sound(timestamp_, next(), 6 + pick(300)));
    if (chance(1)) return publish(at(video_header(next()), timestamp_));
    if (chance(4)) return publish(key(timestamp_, next(), some_size()));
    publish(inter(timestamp_, next(), some_size()));
  }

  void some_play() {
    if (players_.empty()) return;
    auto& w = *players_[pick(players_.size())];
    switch (pick(12)) {
      case 0:
        w.choosy = true;
        return w.p.source().pause(chance(50));
      case 1:
        w.choosy = true;
        return w.p.source().want_video(chance(60));
      case 2:
        w.choosy = true;
        return w.p.source().want_audio(chance(60));
      case 3:
        w.p.take();
        break;
      case 4:
        w.p.take(1);
        break;
      default:
        w.p.take(1 + pick(chance(30) ? 200'000 : 3000), 1 + pick(40));
        break;
    }
    w.check();
  }

  std::mt19937 random_{GetParam()};
  history all_;
  uint32_t timestamp_ = 0;
  std::vector<std::unique_ptr<watched_player>> players_;
};

TEST_P(property, players_see_whole_messages_in_order_without_holes) {
  timestamp_ = static_cast<uint32_t>(random_());
  limits.gop_cache = chance(70);
  limits.bytes_max = chance(50) ? 100'000 + pick(400'000) : 16u << 20;
  limits.lag_max = milliseconds(100 + pick(3000));
  limits.age_max = milliseconds(500 + pick(8000));
  limits.retain = chance(50) ? milliseconds(pick(3000)) : milliseconds(0);
  begin();
  for (int i = 0; i < 1500 && !HasFatalFailure(); ++i) {
    const size_t what = pick(100);
    if (what < 45) {
      some_frame();
    } else if (what < 75) {
      some_play();
    } else if (what < 95) {
      stream().flush(chance(50) ? SIZE_MAX : 1 + pick(3));
    } else if (what < 98) {
      if (players_.size() < 8)
        players_.push_back(std::make_unique<watched_player>(stream(), all_, reader_start::keyframe));
    } else if (what < 99) {
      if (!players_.empty()) players_.erase(players_.begin() + static_cast<ptrdiff_t>(pick(players_.size())));
    } else if (chance(30)) {
      return_of_publisher();
    }
    if (limits.bytes_max < 1 << 20) {
      ASSERT_TRUE(stream().bytes() <= limits.bytes_max || stream().end() - stream().begin() == 1);
    }
  }
  // All wishes are granted and all is taken: whoever is there has seen the last frame, and what he missed is counted.
  while (!stream().flush()) continue;
  for (auto& w : players_) {
    w->p.take();
    w->p.source().pause(false);
    w->p.source().want_audio(true);
    w->p.source().want_video(true);
    w->p.takes_all = true;
  }
  publish(key(timestamp_, next(), 500));
  while (!stream().flush()) continue;
  for (auto& w : players_) {
    w->p.take();
    w->check();
    EXPECT_FALSE(w->p.half_sent());
    EXPECT_EQ(w->seen.last, static_cast<int64_t>(all_.frames.size()) - 1);
    if (w->choosy) continue;
    const auto dropped = w->p.source().dropped();
    EXPECT_LE(w->seen.media_missed, dropped);
    EXPECT_LE(dropped, w->seen.missed);
    EXPECT_EQ(w->p.source().drops() == 0, dropped == 0);
  }
}

INSTANTIATE_TEST_SUITE_P(seeds, property, ::testing::Range(1u, 61u));

// The same over a replica whose home hub may be ahead by any number of frames, with holes.
TEST(replica_property, players_of_a_replica_see_no_gap_in_a_group) {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    std::mt19937 random(seed);
    hub_limits limits;
    manual_driver driver;
    base::time_point now(seconds(1000));
    hub home(limits, driver), copy(limits, driver);
    home.begin_source(now);
    copy.begin_source(now);
    history sent;
    watched_player w(copy, sent, reader_start::keyframe);
    const auto publish = [&](const packet& p) {
      home.append(message_of(p), now += milliseconds(20));
      sent.add(p);
    };
    for (const auto& p : {metadata(), video_header(), audio_header()}) publish(p);
    uint64_t copied = 0;
    for (uint32_t i = 3; i < 600; ++i) {
      publish(i % 25 == 3 ? key(i * 20, i, 300) : i % 2 ? inter(i * 20, i) : sound(i * 20, i));
      if (random() % 100 < 2 && i > 30) copied = std::max<uint64_t>(copied, i - random() % 20);  // a hole
      if (random() % 2) continue;
      for (; copied < home.end(); ++copied) copy.append_replica(home.at(copied), copied);
      copy.flush();
      w.p.take(random() % 3000);
      w.check();
      ASSERT_FALSE(testing::Test::HasFatalFailure()) << "seed " << seed;
    }
    EXPECT_GT(w.seen.last, 500);
  }
}

}  // namespace
}  // namespace sluice::media::test
