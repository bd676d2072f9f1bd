#include "media/byte_log.hpp"

#include <optional>

#include "support.hpp"

namespace sluice::media::test {
namespace {

/// A format that a test reads easily: "F" once, "H<serial>;" for headers, and a message as its last body bytes say.
class text_muxer final : public stream_muxer {
 public:
  void file_header(std::vector<uint8_t>& out) override { put("F;", out); }
  void headers(const header_set& set, uint32_t timestamp, std::vector<uint8_t>& out) override {
    put("H" + std::to_string(set.size()) + "@" + std::to_string(timestamp) + ";", out);
  }
  void write(const frame& f, std::vector<uint8_t>& out) override {
    std::string text = f.type == rtmp::video ? "v" : f.type == rtmp::audio ? "a" : "d";
    text += std::to_string(f.timestamp) + ";";
    if (pad > text.size()) text.insert(text.end() - 1, pad - text.size(), '.');
    put(text, out);
  }
  std::optional<size_t> write_around_body(const frame& f, std::vector<uint8_t>& out) override {
    if (!around_bodies || f.type == rtmp::data_amf0) return std::nullopt;
    put(f.type == rtmp::video ? "v" : "a", out);
    const size_t at = out.size();
    put(std::to_string(f.timestamp) + ";", out);
    return at;
  }
  bool carries_something() const override { return true; }
  std::vector<std::string> left_out() const override { return {}; }
  size_t pad = 0;
  bool around_bodies = false;

 private:
  static void put(std::string_view text, std::vector<uint8_t>& out) { out.insert(out.end(), text.begin(), text.end()); }
};

struct asked final : byte_log_driver {
  int times = 0;
  void on_bytes_pending(byte_log&) override { ++times; }
};

/// Somebody who takes all that there is, or so many bytes at a time.
class taker final : public byte_reader_owner {
 public:
  explicit taker(byte_log& log) { reader.emplace(log, *this); }
  void on_bytes() override {
    ++shown;
    if (when_shown) return when_shown();
    if (takes) take();
  }
  void take(size_t limit = SIZE_MAX, size_t parts_max = 3) {
    std::vector<iovec> parts(parts_max);
    while (limit > 0) {
      size_t bytes = 0;
      const size_t count = reader->gather(parts, &bytes);
      if (count == 0) break;
      size_t left = std::min(bytes, limit);
      limit -= left;
      size_t taken = 0;
      for (size_t i = 0; i < count && left > 0; ++i) {
        const size_t n = std::min(left, parts[i].iov_len);
        got.append(static_cast<const char*>(parts[i].iov_base), n);
        left -= n;
        taken += n;
      }
      reader->consume(taken);
    }
  }
  std::string taken() { return std::exchange(got, {}); }

  std::optional<byte_reader> reader;
  std::string got;
  bool takes = true;
  int shown = 0;
  std::function<void()> when_shown;
};

class byte_log_test : public hub_test {
 protected:
  byte_log& log() {
    if (!log_) {
      auto m = std::make_unique<text_muxer>();
      muxer = m.get();
      m->pad = pad;
      log_ = std::make_unique<byte_log>(stream(), std::move(m), limits_, due);
    }
    return *log_;
  }
  void publish(const all& packets, base::duration step = milliseconds(0)) {
    send(packets, step);
    while (!log().flush(SIZE_MAX)) {
    }
  }
  void drop_log() { log_.reset(); }

  byte_log_limits limits_;
  asked due;
  text_muxer* muxer = nullptr;
  size_t pad = 0;

 private:
  std::unique_ptr<byte_log> log_;
};

TEST_F(byte_log_test, a_receiver_begins_with_the_header_and_a_keyframe) {
  taker early(log());
  EXPECT_FALSE(log().ready());
  EXPECT_FALSE(early.reader->has_pending());
  publish(headers);
  EXPECT_EQ(early.taken(), "");
  publish({key(0), sound(5), inter(40)});
  EXPECT_TRUE(log().ready());
  EXPECT_EQ(early.taken(), "F;H3@0;v0;a5;v40;");
  taker late(log());
  EXPECT_TRUE(late.reader->has_pending());
  late.take();
  EXPECT_EQ(late.taken(), "F;H3@0;v0;a5;v40;");
  publish({inter(80), key(120), sound(125)});
  EXPECT_EQ(early.taken(), "v80;v120;a125;") << "headers are not repeated";
  EXPECT_EQ(late.taken(), "v80;v120;a125;");
  taker third(log());
  third.take();
  EXPECT_EQ(third.taken(), "F;H3@120;v120;a125;");
}

TEST_F(byte_log_test, takes_what_the_hub_keeps_for_newcomers) {
  send(headers + gop(0, 3));
  taker t(log());
  t.take();
  EXPECT_EQ(t.taken(), "F;H3@0;v0;v40;v80;");
}

TEST_F(byte_log_test, who_waits_gets_a_replay_from_its_beginning) {
  taker early(log());
  publish(headers + gop(0, 5) + gop(200, 5) + all{key(400)});
  EXPECT_TRUE(early.taken().starts_with("F;H3@0;v0;v40;")) << "not from the newest keyframe";
  taker late(log());
  late.take();
  EXPECT_EQ(late.taken(), "F;H3@400;v400;");
}

TEST_F(byte_log_test, sends_any_number_of_bytes_at_a_time) {
  taker whole(log());
  std::vector<std::unique_ptr<taker>> slow;
  for (size_t step = 1; step < 12; ++step) slow.emplace_back(std::make_unique<taker>(log()))->takes = false;
  publish(headers + gop(0, 4));
  publish({inter(160), sound(165)});
  publish({inter(200)});
  const auto want = whole.taken();
  for (size_t step = 1; step < 12; ++step) {
    auto& t = *slow[step - 1];
    while (t.reader->has_pending()) t.take(step, step % 3 + 1);
    EXPECT_EQ(t.taken(), want) << step << " bytes at a time";
  }
}

TEST_F(byte_log_test, bodies_that_are_not_copied_come_at_their_places) {
  limits.gop_cache = false;
  taker whole(log());
  muxer->around_bodies = true;
  std::vector<std::unique_ptr<taker>> slow;
  for (size_t step = 1; step < 30; ++step) slow.emplace_back(std::make_unique<taker>(log()))->takes = false;
  const all packets = gop(0, 3) + all{sound(165), {rtmp::data_amf0, 170, {2, 0, 1, 'x'}}, sound(175)};
  publish(headers + packets);
  publish({inter(200)});
  std::string want = "F;H3@0;";
  for (const packet& p : packets + all{inter(200)}) {
    const std::string body(p.body.begin(), p.body.end()), time = std::to_string(p.timestamp) + ";";
    want += p.type == rtmp::data_amf0 ? "d" + time : (p.type == rtmp::video ? "v" : "a") + body + time;
  }
  EXPECT_EQ(whole.taken(), want);
  for (size_t step = 1; step < 30; ++step) {
    auto& t = *slow[step - 1];
    while (t.reader->has_pending()) t.take(step, step % 5 + 1);
    EXPECT_EQ(t.taken(), want) << step << " bytes at a time";
  }
  publish({inter(240)});
  for (auto& t : slow) t->take();
  publish({inter(280)});
  for (auto& t : slow) t->take();
  slow.clear();
  publish({inter(320)});
  EXPECT_EQ(log().bytes(), 0u);
}

TEST_F(byte_log_test, a_half_sent_block_is_finished_before_a_newer_keyframe) {
  limits_.lag_max = seconds(1);
  taker t(log());
  t.takes = false;
  publish(headers + all{key(0)});
  t.take(3);  // "F;H" of the header
  for (uint32_t n = 1; n <= 10; ++n) {
    now += milliseconds(500);
    publish({key(n * 500)});
  }
  EXPECT_TRUE(t.reader->has_pending());
  t.take();
  EXPECT_EQ(t.reader->drops(), 1u);
  EXPECT_EQ(t.taken(), "F;H3@0;H3@5000;v5000;") << "what was begun is whole";
}

TEST_F(byte_log_test, a_half_sent_frame_is_finished_too) {
  limits_.lag_max = seconds(1);
  taker t(log());
  t.takes = false;
  publish(headers + all{key(0), inter(40)});
  t.take(std::string_view("F;H3@0;v0;v").size());
  for (uint32_t n = 1; n <= 10; ++n) {
    now += milliseconds(500);
    publish({key(n * 500)});
  }
  t.take();
  EXPECT_EQ(t.taken(), "F;H3@0;v0;v40;H3@5000;v5000;");
  EXPECT_EQ(t.reader->drops(), 1u);
}

TEST_F(byte_log_test, reaches_back_as_far_as_a_slow_reader_within_the_time) {
  limits_.lag_max = seconds(100);
  taker t(log());
  t.takes = false;
  publish(headers);
  for (uint32_t n = 0; n < 50; ++n) {
    now += milliseconds(500);
    publish({key(n * 500)});
  }
  EXPECT_EQ(t.reader->pending_blocks(), 50u) << "from the first keyframe after it came";
  t.take(1);
  for (uint32_t n = 50; n < 100; ++n) {
    now += milliseconds(500);
    publish({key(n * 500)});
  }
  EXPECT_EQ(t.reader->pending_blocks(), 100u);
  t.take();
  EXPECT_EQ(t.reader->drops(), 0u);
  EXPECT_TRUE(t.taken().starts_with("F;H3@0;v0;v500;"));
}

TEST_F(byte_log_test, is_bounded_by_bytes) {
  pad = 1000;
  limits_.bytes_max = 10'000;
  taker t(log());
  t.takes = false;
  publish(headers + all{key(0)});
  t.take(1);
  for (uint32_t n = 1; n < 100; ++n) publish({key(n)});
  EXPECT_LE(log().bytes(), 11'000u);
  t.take();
  EXPECT_EQ(t.reader->drops(), 1u);
  t.takes = true;
  // A group of pictures that is longer than the limit: nobody can begin until the next keyframe.
  for (uint32_t n = 100; n < 120; ++n) publish({inter(n)});
  EXPECT_FALSE(log().ready());
  EXPECT_LE(log().bytes(), 11'000u);
  taker late(log());
  late.take();
  EXPECT_EQ(late.taken(), "");
  publish({key(120)});
  EXPECT_TRUE(late.taken().starts_with("F;H3@120;v120"));
  EXPECT_NE(t.got.find("v119"), std::string::npos) << "who keeps up misses nothing";
}

TEST_F(byte_log_test, keeps_only_what_is_not_taken_of_a_hub_without_gop_cache) {
  limits.gop_cache = false;
  taker quick(log()), slow(log());
  publish(headers + gop(0, 5));
  EXPECT_EQ(quick.taken(), slow.taken());
  EXPECT_EQ(log().bytes(), 0u);
  slow.takes = false;
  publish({inter(200)});
  publish({sound(205)});
  EXPECT_EQ(slow.reader->pending_blocks(), 2u);
  EXPECT_EQ(quick.taken(), "v200;a205;");
  taker late(log());
  late.take();
  EXPECT_EQ(late.taken(), "") << "there is no keyframe to begin at";
  publish({inter(240), key(280)});
  EXPECT_EQ(late.taken(), "F;H3@280;v280;");
  slow.take();
  EXPECT_EQ(slow.taken(), "v200;a205;v240;v280;") << "nothing is missed";
  publish({inter(320)});
  slow.take();
  EXPECT_EQ(log().bytes(), std::string_view("v320;").size()) << "until the next flush";
  publish({inter(360)});
  slow.take();
  EXPECT_EQ(slow.taken(), "v320;v360;");
}

TEST_F(byte_log_test, a_keyframe_that_was_not_shown_waits_for_who_has_just_come) {
  limits.gop_cache = false;
  taker quick(log());
  publish(headers + gop(0, 2));
  send({key(80)});
  taker late(log());
  publish({inter(120)});
  EXPECT_EQ(late.taken(), "F;H3@80;v80;v120;");
  EXPECT_EQ(quick.taken(), "F;H3@0;v0;v40;v80;v120;");
}

TEST_F(byte_log_test, who_is_slow_without_gop_cache_is_moved_on_only_to_a_keyframe) {
  limits.gop_cache = false;
  limits_.lag_max = seconds(1);
  taker t(log());
  publish(headers + all{key(0)});
  t.takes = false;
  for (uint32_t n = 1; n <= 10; ++n) {
    now += milliseconds(500);
    publish({inter(n * 500)});
  }
  t.take();
  EXPECT_EQ(t.reader->drops(), 0u) << "there is no keyframe to go on at";
  EXPECT_TRUE(t.taken().ends_with("v4500;v5000;"));
  publish({inter(5040)});
  now += seconds(2);
  publish({key(7000)});
  t.take();
  EXPECT_EQ(t.reader->drops(), 1u);
  EXPECT_EQ(t.taken(), "H3@7000;v7000;");
}

TEST_F(byte_log_test, what_is_read_by_all_goes_up_to_the_newest_keyframe) {
  taker a(log()), b(log());
  publish(headers + gop(0, 10));
  publish(gop(400, 10));
  publish({key(800)});
  EXPECT_EQ(log().bytes(), std::string_view("v800;").size());
  EXPECT_FALSE(a.reader->has_pending());
}

TEST_F(byte_log_test, after_a_hole_headers_that_have_changed_come_again) {
  hub_test::limits.bytes_max = 3000;
  taker t(log());
  publish(headers + gop(0, 3));
  EXPECT_EQ(t.taken(), "F;H3@0;v0;v40;v80;");
  // More than the hub keeps comes before the log is shown any of it.
  append(gop(1000, 200), milliseconds(40));
  append({key(9000)}, milliseconds(40));
  append(gop(9040, 2), milliseconds(40));
  publish({});
  EXPECT_EQ(t.taken(), "v9040;v9080;") << "the same headers hold still";
  append(all{video_header(7)} + gop(10000, 200), milliseconds(40));
  append(gop(19000, 2), milliseconds(40));
  publish({});
  EXPECT_EQ(t.taken(), "H3@19000;v19000;v19040;") << "the file's header comes once";
}

TEST_F(byte_log_test, asks_once_for_a_flush) {
  taker t(log());
  send(headers + gop(0, 2));
  send({inter(80)});
  EXPECT_EQ(due.times, 1);
  log().flush(SIZE_MAX);
  EXPECT_EQ(t.shown, 1);
  send({inter(120)});
  EXPECT_EQ(due.times, 2);
}

TEST_F(byte_log_test, shows_a_few_readers_at_a_time) {
  std::vector<std::unique_ptr<taker>> many;
  for (int i = 0; i < 10; ++i) many.push_back(std::make_unique<taker>(log()));
  send(headers + gop(0, 2));
  EXPECT_FALSE(log().flush(4));
  EXPECT_FALSE(log().flush(4));
  EXPECT_TRUE(log().flush(4));
  for (auto& t : many) EXPECT_EQ(t->shown, 1);
}

TEST_F(byte_log_test, readers_may_leave_while_it_is_flushed) {
  // Each reader that is shown something takes away another, before or behind it.
  for (int victim = 0; victim < 7; ++victim) {
    std::vector<std::unique_ptr<taker>> many;
    for (int i = 0; i < 7; ++i) many.push_back(std::make_unique<taker>(log()));
    for (auto& t : many) {
      t->when_shown = [&, self = t.get()] {
        self->take();
        auto& v = many[static_cast<size_t>(victim)];
        if (v && v->reader) v->reader.reset();
      };
    }
    publish(headers + gop(static_cast<uint32_t>(victim) * 1000, 2));
    for (size_t i = 0; i < many.size(); ++i) {
      if (static_cast<int>(i) == victim) continue;
      EXPECT_EQ(many[i]->shown, 1) << "reader " << i << " when " << victim << " leaves";
    }
    EXPECT_EQ(log().readers(), 6u);
    many.clear();
  }
  EXPECT_EQ(log().readers(), 0u);
}

TEST_F(byte_log_test, a_great_run_of_frames_is_cut_into_blocks) {
  pad = 100'000;
  taker t(log());
  t.takes = false;
  publish(headers + gop(0, 20));
  t.take(1);
  EXPECT_GE(t.reader->pending_blocks(), 5u);
  t.take();
  EXPECT_EQ(t.got.size(), 20 * 100'000u + std::string_view("F;H3@0;").size());
}

}  // namespace
}  // namespace sluice::media::test
