// Numbered links: a publication on its way through several hubs, one of which is lost.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "media/mark.hpp"
#include "support.hpp"

namespace sluice::media::test {
namespace {

/// From a hub to the next: what the reader sends is put together to messages and given to `to`, marks included.
class numbered_link final : public reader_owner, rtmp::message_sink {
 public:
  numbered_link(hub& from, hub& to, const base::time_point& now, reader_start start, std::string source = {},
                uint64_t next = 0)
      : to_(to), now_(now), reader_(from, *this, start) {
    reader_.set_numbered();
    if (!source.empty()) reader_.resume(std::move(source), next);
    bytes hello, payload;
    base::byte_writer(payload).u32(wire_chunk_size);
    rtmp::write_message(hello, rtmp::set_chunk_size, 2, 0, 0, payload, rtmp::default_chunk_size);
    EXPECT_TRUE(chunks_.receive(hello, *this));
    on_frames();
  }

  void on_frames() override {
    if (!blocked) take();
  }

  void take() {
    std::vector<iovec> parts(8);
    for (;;) {
      reader_.prepare(control_);
      receive(control_.pending());
      control_.consume(control_.size());
      size_t offered = 0;
      const size_t count = reader_.gather(parts, &offered);
      if (count == 0) return;
      for (size_t i = 0; i < count; ++i) receive({static_cast<const uint8_t*>(parts[i].iov_base), parts[i].iov_len});
      reader_.consume(offered);
    }
  }

  uint64_t missing = 0;
  int marks = 0, other_sources = 0;
  bool blocked = false;

 private:
  void receive(base::bytes_view in) {
    const auto ok = chunks_.receive(in, *this);
    EXPECT_TRUE(ok) << ok.error().reason;
  }
  base::result<void> on_message(rtmp::message&& m) override {
    if (const auto said = parse_mark(m)) {
      const auto outcome = to_.on_mark(*said, marks++ == 0, now_);
      missing += outcome.missing;
      other_sources += outcome.other_source;
    } else {
      to_.append(std::move(m), now_);
    }
    return {};
  }

  hub& to_;
  const base::time_point& now_;
  reader reader_;
  base::send_buffer control_;
  rtmp::chunk_reader chunks_{8u << 20, 64};
};

class numbered_test : public ::testing::Test {
 protected:
  numbered_test() { retention.strip_set_data_frame = false; }

  void publish(const all& packets, base::duration step = milliseconds(40)) {
    for (const auto& p : packets) {
      encoder.append(message_of(p), now);
      encoder.flush();
      for (hub* h : {a.get(), b.get()})
        if (h) h->flush();
      pull.flush();
      now += step;
    }
  }
  void settle() {
    encoder.flush();
    for (hub* h : {a.get(), b.get()})
      if (h) h->flush();
    pull.flush();
  }
  std::unique_ptr<numbered_link> link(hub& from, hub& to, reader_start start) {
    return std::make_unique<numbered_link>(from, to, now, start);
  }
  std::unique_ptr<numbered_link> resume(hub& from) {
    return std::make_unique<numbered_link>(from, pull, now, reader_start::keyframe, pull.source(), pull.source_next());
  }
  /// Two seconds from `first`, a keyframe each second.
  static all gop(uint32_t first, uint32_t count = 50) {
    all out;
    for (uint32_t i = 0; i < count; ++i) out.push_back(i % 25 == 0 ? key(first + 40 * i, i) : inter(first + 40 * i, i));
    return out;
  }
  all video(size_t count) {
    all out;
    for (size_t i = 0; i < count; ++i, ++serial_)
      out.push_back(serial_ % 25 == 0 ? key(40 * serial_, serial_) : inter(40 * serial_, serial_));
    return out;
  }

  base::time_point now = base::time_point(seconds(1000));
  manual_driver driver;
  hub_limits retention{.retain = seconds(4)}, plain;
  hub encoder{retention, driver};
  std::unique_ptr<hub> a = std::make_unique<hub>(plain, driver), b;
  hub pull{plain, driver};
  uint32_t serial_ = 0;
};

TEST(mark_test, survives_its_wire_form) {
  for (const mark& m : {mark{"abc", 0, 0, 0}, mark{"x", 1ull << 52, 4294967295u, 3}, mark{"", 0, 0, 2}}) {
    const auto body = encode_mark(m);
    const rtmp::message msg{0, rtmp::data_amf0, 1, 5, base::slice::copy_of(body, rtmp::message_headroom)};
    EXPECT_EQ(parse_mark(msg), m);
  }
}

TEST(mark_test, says_where_segments_begin) {
  mark next{"abc", 7, 40, 2};
  next.segment = mark::segment_begin{9, {1'800'000'000, 123'456, 1'799'999'999'123, 1'799'999'990, 2000, 3, true}};
  mark first{"abc", 0, 0, 0};
  first.segments_start = publication_start{1'800'000'000, 1'800'000'000, 1'800'000'000'123, 4000, 0};
  mark goes_on = first;
  goes_on.segments_start = publication_start{1'800'000'000, 1'799'999'990, 1'800'000'000'123, 4000, 6};
  for (const mark& m : {next, first, goes_on}) {
    const auto body = encode_mark(m);
    EXPECT_EQ(parse_mark({0, rtmp::data_amf0, 1, 5, base::slice::copy_of(body, rtmp::message_headroom)}), m);
  }
}

TEST(mark_test, nothing_else_is_taken_for_one) {
  const auto parse = [](const bytes& body, uint8_t type = rtmp::data_amf0) {
    return parse_mark({0, type, 1, 5, base::slice::copy_of(body, rtmp::message_headroom)});
  };
  const bytes good = encode_mark({"abc", 7, 0, 0});
  EXPECT_TRUE(parse(good));
  EXPECT_FALSE(parse(good, rtmp::audio));
  EXPECT_FALSE(parse(metadata().body));
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse({good.begin(), good.begin() + static_cast<long>(n)}));
  for (const auto& members : {amf0::object{{"source", "a"}, {"next", -1}}, amf0::object{{"source", "a"}, {"next", 0.5}},
                              amf0::object{{"source", "a"}, {"next", "1"}}, amf0::object{},
                              amf0::object{{"headers", 1e9}}, amf0::object{{"source", std::string(65, 'a')}}}) {
    EXPECT_FALSE(parse(script({"@sluice", members}).body));
  }
}

TEST(mark_test, a_client_cannot_publish_one_in_disguise) {
  const auto poses = [](const bytes& body, uint8_t type = rtmp::data_amf0) {
    return poses_as_mark({0, type, 1, 5, base::slice::copy_of(body, rtmp::message_headroom)});
  };
  const amf0::object members{{"source", "a"}, {"next", 5}};
  EXPECT_TRUE(poses(encode_mark({"abc", 7, 0, 0})));
  EXPECT_TRUE(poses(script({"@setDataFrame", "@sluice", members}).body));
  EXPECT_TRUE(poses(script({"@setDataFrame", "@setDataFrame", "@sluice", members}).body));
  EXPECT_FALSE(poses(encode_mark({"abc", 7, 0, 0}), rtmp::audio));
  EXPECT_FALSE(poses(metadata().body));
  EXPECT_FALSE(poses(set_data_frame().body));
  EXPECT_FALSE(poses({}));
  EXPECT_FALSE(poses({0x02, 0x00, 0x07, '@', 's'}));
}

TEST_F(numbered_test, numbers_are_the_publishers_own) {
  encoder.begin_source(now, "pub-1");
  auto up = link(encoder, *a, reader_start::oldest);
  auto down = link(*a, pull, reader_start::keyframe);
  player viewer(pull);
  const all sent = headers + video(60);
  publish(sent);
  EXPECT_EQ(pull.source(), "pub-1");
  EXPECT_EQ(pull.source_next(), sent.size());
  EXPECT_EQ(a->source_next(), sent.size());
  EXPECT_EQ(viewer.got(), sent);
}

/// Where the segments of a hub's log begin: number of the message, and how.
std::map<uint64_t, segment_state> segments_of(const hub& h) {
  std::map<uint64_t, segment_state> all;
  for (uint64_t n = h.begin(); n < h.end(); ++n) {
    const auto* segment = h.segment_at(n);
    if (segment) all[h.span_of(n)->first + (n - h.span_of(n)->begin)] = *segment;
  }
  return all;
}

TEST_F(numbered_test, every_hub_counts_the_same_segments) {
  plain.retain = seconds(60);  // to compare all
  plain.age_max = seconds(60);
  retention.age_max = seconds(60);
  encoder.begin_source(now, "pub-1");
  encoder.begin_segments({1'800'000'000, 1'800'000'000, 1'800'000'000'123, 2000, 0});
  auto up = link(encoder, *a, reader_start::oldest);
  publish(headers + video(330));
  const auto by_a = segments_of(*a);
  ASSERT_GE(by_a.size(), 6u);
  EXPECT_EQ(by_a.begin()->first, headers.size()) << "told before the first frame";
  EXPECT_EQ(by_a.begin()->second.number, 1'800'000'000u);
  // The next origin gets what is retained, from the middle of the stream on.
  encoder.hold(true);
  up.reset();
  a.reset();
  b = std::make_unique<hub>(plain, driver);
  up = link(encoder, *b, reader_start::oldest);
  encoder.hold(false);
  publish(video(200));
  const auto by_b = segments_of(*b), by_encoder = segments_of(encoder);
  ASSERT_GE(by_b.size(), 4u);
  EXPECT_GT(b->span_of(b->begin())->first, headers.size());
  for (const auto& [message, state] : by_b) {
    if (by_a.contains(message)) EXPECT_EQ(by_a.at(message), state) << message;
    if (by_encoder.contains(message)) EXPECT_EQ(by_encoder.at(message), state) << message;
  }
  const auto overlap = std::count_if(by_b.begin(), by_b.end(), [&](const auto& s) { return by_a.contains(s.first); });
  EXPECT_GE(overlap, 1);
}

TEST_F(numbered_test, another_publication_counts_its_own_segments) {
  plain.retain = seconds(60);
  encoder.begin_source(now, "pub-1");
  encoder.begin_segments({1'800'000'000, 1'800'000'000, 1, 2000, 0});
  auto up = link(encoder, *a, reader_start::oldest);
  publish(headers + video(80));
  encoder.end_source();
  encoder.begin_source(now, "pub-2");
  encoder.begin_segments({1'800'000'100, 1'800'000'100, 1, 2000, 0});
  publish(headers + video(80));
  const auto by_a = segments_of(*a);
  ASSERT_FALSE(by_a.empty());
  EXPECT_GE(by_a.rbegin()->second.number, 1'800'000'100u);
  EXPECT_TRUE(std::ranges::any_of(by_a, [](const auto& s) { return s.second.discontinuity; }));
}

TEST_F(numbered_test, an_origin_is_lost_and_every_packet_comes_once) {
  encoder.begin_source(now, "pub-1");
  auto up = link(encoder, *a, reader_start::oldest);
  auto down = link(*a, pull, reader_start::keyframe);
  player viewer(pull);
  all sent = headers + video(130);
  publish(sent);
  // The origin freezes: it takes what is sent, and hands nothing on.
  down->blocked = true;
  const all lost_there = video(30);
  publish(lost_there);
  down.reset();
  up.reset();
  a.reset();
  encoder.hold(true);
  const all unowned = video(20);
  publish(unowned);
  // The viewers come to the next owner before its publisher does.
  b = std::make_unique<hub>(plain, driver);
  down = resume(*b);
  up = link(encoder, *b, reader_start::oldest);
  encoder.hold(false);
  settle();
  const all after = video(50);
  publish(after);
  EXPECT_EQ(viewer.got(), sent + lost_there + unowned + after);
  EXPECT_EQ(down->missing, 0u);
  EXPECT_EQ(down->other_sources, 0);
}

TEST_F(numbered_test, viewers_that_come_after_the_replay_resume_exactly) {
  encoder.begin_source(now, "pub-1");
  auto up = link(encoder, *a, reader_start::oldest);
  auto down = link(*a, pull, reader_start::keyframe);
  player viewer(pull);
  all sent = headers + video(140);
  publish(sent);
  down.reset();
  up.reset();
  a.reset();
  b = std::make_unique<hub>(plain, driver);
  up = link(encoder, *b, reader_start::oldest);
  settle();
  player newcomer(*b);
  const all between = video(7);
  publish(between);
  down = resume(*b);
  settle();
  EXPECT_EQ(viewer.got(), sent + between);
  // A newcomer at the new origin begins with headers and the newest keyframe.
  const auto seen = newcomer.got();
  ASSERT_GE(seen.size(), 4u);
  EXPECT_EQ(seen[0].type, rtmp::data_amf0);
  EXPECT_EQ(seen[3].body[0], 0x17);
}

TEST_F(numbered_test, the_same_origin_again_drops_what_it_has) {
  encoder.begin_source(now, "pub-1");
  auto up = link(encoder, *a, reader_start::oldest);
  auto down = link(*a, pull, reader_start::keyframe);
  player viewer(pull);
  const all sent = headers + video(140);
  publish(sent);
  up.reset();
  const all meanwhile = video(10);
  publish(meanwhile);
  up = link(encoder, *a, reader_start::oldest);
  settle();
  const all after = video(10);
  publish(after);
  EXPECT_EQ(viewer.got(), sent + meanwhile + after);
}

TEST_F(numbered_test, the_same_origin_again_keeps_the_newer_headers) {
  encoder.begin_source(now, "pub-1");
  auto up = link(encoder, *a, reader_start::oldest);
  auto down = link(*a, pull, reader_start::keyframe);
  player viewer(pull);
  const all sent = headers + video(175) + all{video_header(7)} + video(25);
  publish(sent);
  ASSERT_GT(encoder.begin(), 3u) << "the first headers are not in the log any more";
  up.reset();
  up = link(encoder, *a, reader_start::oldest);
  settle();
  const all after = video(10);
  publish(after);
  EXPECT_EQ(viewer.got(), sent + after);
}

TEST_F(numbered_test, a_mark_is_not_missed_when_the_log_is_cut_behind_a_half_sent_message) {
  const hub_limits narrow{.bytes_max = 2000};  // two messages
  hub from{narrow, driver};
  from.begin_source(now, "pub-1");
  struct idle final : reader_owner {
    void on_frames() override {}
  } owner;
  reader r(from, owner, reader_start::oldest);
  r.set_numbered();
  from.append(message_of(key(0, 1, 600)), now);
  from.flush();
  base::send_buffer control;
  r.prepare(control);
  std::vector<iovec> parts(8);
  size_t offered = 0;
  ASSERT_GT(r.gather(parts, &offered), 0u);
  r.consume(10);
  // Another span begins with the next message, and all before it goes.
  ASSERT_EQ(from.on_mark({"pub-1", 50, 0, 0}, true, now).missing, 49u);
  from.append(message_of(key(40, 2, 600)), now);
  from.append(message_of(key(80, 3, 600)), now);
  from.flush();
  ASSERT_EQ(from.begin(), 1u);
  const size_t rest = key(0, 1, 600).body.size() + 12 - 10;
  r.gather(parts, &offered);
  EXPECT_EQ(offered, rest) << "nothing of another span without its mark";
}

TEST_F(numbered_test, a_frame_of_which_the_name_is_forgotten_goes_too) {
  encoder.begin_source(now, "pub-1");
  for (uint64_t i = 0; i < 200; ++i) {
    encoder.on_mark({"pub-1", 10 * i, 0, 0}, true, now);
    encoder.append(message_of(key(static_cast<uint32_t>(40 * i))), now);
  }
  ASSERT_NE(encoder.span_of(encoder.begin()), nullptr);
  EXPECT_EQ(encoder.span_of(encoder.end() - 1)->first, 1990u);
}

TEST_F(numbered_test, what_nobody_has_any_more_is_counted_and_begins_at_a_keyframe) {
  encoder.begin_source(now, "pub-1");
  auto up = link(encoder, *a, reader_start::oldest);
  auto down = link(*a, pull, reader_start::keyframe);
  player viewer(pull);
  const all sent = headers + video(30);
  publish(sent);
  down.reset();
  up.reset();
  a.reset();
  const all lost = video(20 + 3 * 25);
  publish(lost);  // not held: retention gives up what is older than 4 s
  const all kept = video(6 * 25);
  publish(kept);
  b = std::make_unique<hub>(plain, driver);
  up = link(encoder, *b, reader_start::oldest);
  settle();
  down = resume(*b);
  settle();
  const auto seen = viewer.got();
  ASSERT_GT(seen.size(), sent.size());
  EXPECT_EQ(all(seen.begin(), seen.begin() + static_cast<long>(sent.size())), sent);
  EXPECT_EQ(seen[sent.size()].body[0], 0x17);
  EXPECT_EQ(seen.back(), kept.back());
  EXPECT_EQ(down->missing + seen.size(), sent.size() + lost.size() + kept.size());
}

TEST_F(numbered_test, the_timeline_goes_on_though_the_next_origin_never_moved_it) {
  // Another publication ran before, so that origin and pull have an offset to the publisher's time.
  hub first{retention, driver};
  first.begin_source(now, "pub-0");
  auto up = link(first, *a, reader_start::oldest);
  auto down = link(*a, pull, reader_start::keyframe);
  player viewer(pull);
  auto direct = std::make_unique<player>(*a);
  for (const auto& p : headers + gop(90'000)) {
    first.append(message_of(p), now);
    first.flush();
    a->flush();
    pull.flush();
    now += milliseconds(40);
  }
  up.reset();
  a->end_source();
  viewer.got();
  encoder.begin_source(now, "pub-1");
  up = link(encoder, *a, reader_start::oldest);
  publish(headers + video(140));
  EXPECT_EQ(down->other_sources, 2);
  const auto before = viewer.got();
  down.reset();
  up.reset();
  direct.reset();
  a.reset();
  b = std::make_unique<hub>(plain, driver);
  down = resume(*b);
  up = link(encoder, *b, reader_start::oldest);
  settle();
  const all after = video(30);
  publish(after);
  const auto seen = viewer.got();
  ASSERT_EQ(seen.size(), after.size());
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].body, after[i].body);
    EXPECT_EQ(seen[i].timestamp, before.back().timestamp + 40 * (i + 1));
  }
}

TEST_F(numbered_test, another_publication_at_the_next_owner_is_no_continuation) {
  encoder.begin_source(now, "pub-1");
  auto up = link(encoder, *a, reader_start::oldest);
  auto down = link(*a, pull, reader_start::keyframe);
  player viewer(pull);
  publish(headers + video(30));
  const auto before = viewer.got();
  down.reset();
  up.reset();
  a.reset();
  b = std::make_unique<hub>(plain, driver);
  down = resume(*b);
  hub other{retention, driver};
  other.begin_source(now, "pub-2");
  const auto up2 = link(other, *b, reader_start::oldest);
  const all sent = all{video_header(9)} + gop(5, 5);
  for (const auto& p : sent) other.append(message_of(p), now);
  other.flush();
  b->flush();
  pull.flush();
  EXPECT_EQ(pull.source(), "pub-2");
  EXPECT_EQ(down->other_sources, 1);
  const auto seen = viewer.got();
  ASSERT_EQ(seen.size(), sent.size());
  uint32_t last = before.back().timestamp;
  for (size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].body, sent[i].body);
    EXPECT_GE(seen[i].timestamp, last);
    last = seen[i].timestamp;
  }
}

TEST_F(numbered_test, without_keyframes_the_last_seconds_are_retained) {
  encoder.begin_source(now, "pub-1");
  all sent;
  for (uint32_t i = 0; i < 200; ++i) sent.push_back(inter(40 * i, i));
  publish(sent);  // 8 s
  EXPECT_GE(encoder.end() - encoder.begin(), 100u);
  EXPECT_LE(encoder.end() - encoder.begin(), 102u);
}

/// Kills, freezes and reconnects at random places: every packet once, whatever happens, while retention holds.
TEST_F(numbered_test, any_sequence_of_losses) {
  for (uint32_t seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    const hub_limits lasting{.retain = seconds(4)};  // viewers come back to an origin after up to that time
    serial_ = 0;
    hub from{retention, driver}, to{plain, driver};
    from.begin_source(now, "pub");
    std::vector<std::unique_ptr<hub>> origins;
    origins.push_back(std::make_unique<hub>(lasting, driver));
    auto up = std::make_unique<numbered_link>(from, *origins.back(), now, reader_start::oldest);
    auto down = std::make_unique<numbered_link>(*origins.back(), to, now, reader_start::keyframe);
    player viewer(to);
    all sent;
    const auto put = [&](const all& packets) {
      for (const auto& p : packets) {
        from.append(message_of(p), now);
        sent.push_back(p);
        from.flush();
        for (auto& o : origins) o->flush();
        to.flush();
        now += milliseconds(40);
      }
    };
    put(headers + video(1 + random() % 60));
    for (int event = 0; event < 8; ++event) {
      switch (random() % 4) {
        case 0:  // the viewer's link freezes, then the origin is gone
          down->blocked = true;
          put(video(random() % 40));
          [[fallthrough]];
        case 1:
          down.reset();
          up.reset();
          origins.push_back(std::make_unique<hub>(lasting, driver));
          from.hold(true);
          put(video(random() % 100));
          if (random() % 2)
            down = std::make_unique<numbered_link>(*origins.back(), to, now, reader_start::keyframe, to.source(),
                                                   to.source_next());
          up = std::make_unique<numbered_link>(from, *origins.back(), now, reader_start::oldest);
          from.hold(false);
          break;
        case 2:  // only the publisher's link breaks
          up.reset();
          put(video(random() % 40));
          up = std::make_unique<numbered_link>(from, *origins.back(), now, reader_start::oldest);
          break;
        case 3:  // only the viewer's
          down.reset();
          put(video(random() % 60));
          break;
      }
      put(video(random() % 3));
      if (!down)
        down = std::make_unique<numbered_link>(*origins.back(), to, now, reader_start::keyframe, to.source(),
                                               to.source_next());
      put(video(random() % 50));
    }
    EXPECT_EQ(down->missing, 0u) << "seed " << seed;
    ASSERT_EQ(viewer.got(), sent) << "seed " << seed;
  }
}

}  // namespace
}  // namespace sluice::media::test
