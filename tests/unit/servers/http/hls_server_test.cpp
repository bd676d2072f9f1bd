#include "servers/http/hls_server.hpp"

#include <gtest/gtest.h>

#include "servers/rtmp/hub_flusher.hpp"
#include "support.hpp"

// A stream of the test's, without sockets.
namespace sluice::servers::test {
namespace {

using media::test::all;
using media::test::message_of;

const packet avc_record{
    rtmp::video, 0, {0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x28, 0xFF, 0xE1, 0, 4, 0x67, 0x64, 0, 0x28, 1, 0, 2, 0x68, 0xEE}};

packet picture(uint32_t timestamp) { return {rtmp::video, timestamp, {0x17, 1, 0, 0, 0, 0, 0, 0, 4, 0x65, 1, 2, 3}}; }
packet alaw(uint32_t timestamp) { return {rtmp::audio, timestamp, {0x72, 1, 2, 3}}; }
packet vp9(uint32_t timestamp) { return {rtmp::video, timestamp, {0x91, 'v', 'p', '0', '9', 1, 2, 3}}; }

/// A frame a second, each a keyframe.
template <typename Make>
all each_second(uint32_t from_s, uint32_t to_s, Make make) {
  all packets;
  for (uint32_t s = from_s; s < to_s; ++s) packets.push_back(make(s * 1000));
  return packets;
}

class hls_server_test : public ::testing::Test, protected stream_access {
 protected:
  ~hls_server_test() override { server.close_all(); }
  struct lease final : stream_lease {};
  std::unique_ptr<stream_lease> open(const stream_ask&, stream_watcher& w) override {
    if (!hub_) {
      w.on_no_stream(404, "stream_not_found", "Nobody publishes the stream.");
      return nullptr;
    }
    w.on_stream(*hub_, {});
    return std::make_unique<lease>();
  }
  void publish(const all& packets) {
    if (!hub_) {
      hub_ = std::make_unique<media::hub>(hub_limits_, flusher);
      hub_->begin_source(loop.now(), "p1");
      hub_->begin_segments({1'800'000'000, 1'800'000'000, 0, 2000, 0});
    }
    for (const auto& p : packets) hub_->append(message_of(p), loop.now());
    run_turns(loop);
  }
  using answer = std::shared_ptr<std::optional<runtime::http_response>>;
  answer get(const std::string& target) {
    auto got = std::make_shared<std::optional<runtime::http_response>>();
    auto request = request_for(target, {{"Host", "a.b"}});
    const auto parsed = parse_media_target(request, rules_);
    EXPECT_TRUE(parsed) << target;
    server.playlist(request, *parsed, [got](runtime::http_response r) { *got = std::move(r); });
    return got;
  }
  static int status(const answer& a) { return *a ? (*a)->status : 0; }
  static std::string body(const answer& a) { return !*a ? "" : (*a)->shared_body ? *(*a)->shared_body : (*a)->body; }

  runtime::loop loop;
  memory_log log;
  base::metrics metrics;
  hub_flusher flusher{loop, base::duration::zero()};
  hls_limits limits;

 private:
  media::hub_limits hub_limits_;
  cluster::vhost_rules rules_;
  std::unique_ptr<media::hub> hub_;

 protected:
  hls_server server{loop, limits, *this, rules_, log, metrics};
};

TEST_F(hls_server_test, a_stream_of_which_nothing_can_be_carried_is_415) {
  publish(each_second(0, 1, alaw));
  const auto waits = get("/live/s.m3u8");
  EXPECT_EQ(status(waits), 0);
  publish(each_second(1, 8, alaw));
  EXPECT_EQ(status(waits), 415);
  EXPECT_NE(body(waits).find("MPEG-TS carries none of the stream's tracks (audio G711A)"), std::string::npos)
      << body(waits);
  EXPECT_EQ(status(get("/live/s.m3u8?media=auto")), 415);
  EXPECT_EQ(status(get("/live/s.m3u8?hls=fmp4")), 415);
  ASSERT_EQ(log.of("tracks_left_out").size(), 2u) << "one of each form";
  EXPECT_EQ(log.of("tracks_left_out").back().field("format"), "fmp4");
  // Until there is something.
  publish({avc_record});
  publish(each_second(8, 16, picture));
  EXPECT_EQ(status(get("/live/s.m3u8")), 200);
}

TEST_F(hls_server_test, what_is_left_out_beside_other_tracks_is_logged_once) {
  publish({avc_record, picture(0)});
  const auto waits = get("/live/s.m3u8");
  all packets;
  for (uint32_t t = 1000; t < 10'000; t += 1000) {
    packets.push_back(picture(t));
    packets.push_back(alaw(t));
  }
  publish(packets);
  EXPECT_EQ(status(waits), 200);
  EXPECT_NE(body(get("/live/s.m3u8?media=auto")).find("-1800000001.ts"), std::string::npos);
  ASSERT_EQ(log.of("tracks_left_out").size(), 1u);
  EXPECT_EQ(log.of("tracks_left_out").front().field("codecs"), "audio G711A");
  EXPECT_EQ(log.of("tracks_left_out").front().field("proto"), "hls");
}

TEST_F(hls_server_test, nothing_is_left_out_of_what_the_other_form_carries) {
  publish(each_second(0, 1, vp9));
  const auto ts = get("/live/s.m3u8?hls=ts"), fmp4 = get("/live/s.m3u8?hls=fmp4");
  publish(each_second(1, 8, vp9));
  EXPECT_EQ(status(ts), 415);
  EXPECT_EQ(status(fmp4), 200) << "gaps for want of a configuration: it could be carried";
  EXPECT_EQ(log.of("tracks_left_out").size(), 1u);
  EXPECT_EQ(status(get("/live/other.m3u8?hls=mp3")), 400);
}

}  // namespace
}  // namespace sluice::servers::test
