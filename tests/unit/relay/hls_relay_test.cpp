#include "relay/hls_relay.hpp"

#include "hls_support.hpp"

namespace sluice::relay::test {
namespace {

TEST_F(hls_relaying, many_viewers_ask_once) {
  auto& o = origin("o1");
  publish();
  o.put_window(1700000000, 3);
  config.playlist_kept = seconds(60);
  o.held = true;
  answers got;
  for (int i = 0; i < 10; ++i) ask(request_for(fmt::format("/live/s.m3u8?media=ts&token={}", i)), got, i % 2);
  run_until(loop, [&] { return !o.waiting.empty(); });
  o.release();
  run_until(loop, [&] { return got.size() == 10; });
  for (const auto& r : got) {
    EXPECT_EQ(r.status, 200);
    EXPECT_EQ(r.shared_body, got.front().shared_body) << "no copies";
  }
  EXPECT_EQ(body(got.front()), window(1700000000, 3));
  EXPECT_EQ(body(get("/live/s-1700000001.ts", 1)), "media 1700000001");
  run_until(loop, [&] { return o.asked.size() == 4; });
  EXPECT_EQ(o.count("/live/s.m3u8?media=ts"), 1u);
  for (int n = 0; n < 3; ++n)
    EXPECT_EQ(o.count(fmt::format("/live/s-170000000{}.ts", n)), 1u) << "before anybody asked";
  auto part = request_for("/live/s-1700000001.ts?any=1");
  part.headers.emplace_back("Range", "bytes=0-4");
  EXPECT_EQ(get(part).status, 206);
  EXPECT_EQ(body(get(part)), "media");
  EXPECT_EQ(o.asked.size(), 4u);
}

TEST_F(hls_relaying, a_master_playlist_hands_tokens_on) {
  auto& o = origin("o1");
  publish();
  o.put("/live/s.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ns.m3u8?media=auto\n");
  EXPECT_NE(body(get("/live/s.m3u8?token=a&spbhid=" + spbhid_of(key))).find("\ns.m3u8?media=auto&token=a\n"),
            std::string::npos);
  EXPECT_NE(body(get("/live/s.m3u8")).find("\ns.m3u8?media=auto\n"), std::string::npos);
  // Where paths alone do not name the stream, the id does.
  auto elsewhere = request_for("/live/s.m3u8?media=auto&vhost=viewer.test");
  elsewhere.headers = {{"Host", "10.1.1.1"}};
  o.put("/live/s.m3u8?media=auto", window(1700000000, 1));
  EXPECT_NE(body(get(elsewhere)).find("s-1700000000.ts?spbhid=" + spbhid_of(key)), std::string::npos);
}

TEST_F(hls_relaying, a_stream_goes_on_at_the_next_origin) {
  auto& a = origin("o1");
  ASSERT_EQ(publish(), "o1");
  a.put_window(1700000010, 4);
  EXPECT_EQ(body(get("/live/s.m3u8?media=ts")), window(1700000010, 4));
  run_until(loop, [&] { return a.asked.size() == 4; });
  run_turns(loop);
  kill(a);
  const auto lost = get("/live/s.m3u8?media=ts", 1);
  EXPECT_EQ(lost.status, 200) << "what there is";
  EXPECT_NE(body(lost).find("#EXT-X-GAP\n#EXTINF:2.000,\ns-1700000010.ts"), std::string::npos)
      << "nobody had fetched it";
  EXPECT_EQ(body(lost).find("#EXT-X-GAP\n#EXTINF:2.000,\ns-1700000011.ts"), std::string::npos);
  EXPECT_EQ(body(get("/live/s-1700000012.ts")), "media 1700000012") << "kept";

  auto& b = origin("o2");
  b.put("/live/s.m3u8?media=ts", window(1700000014, 1));
  ASSERT_EQ(publish("o1-s-1"), "o2");
  std::string now;
  await("/live/s.m3u8?media=ts",
        [&](const std::string& text) { return (now = text).find("-1700000014.ts") != text.npos; });
  std::string expected = window(1700000011, 4);
  expected.replace(expected.find("VERSION:3") + 8, 1, "8");  // as since the gap
  EXPECT_EQ(now, expected);
  ASSERT_EQ(log.of("hls_moved").size(), 1u);
  EXPECT_EQ(log.of("hls_moved").front().field("origin"), "o2-s-1");
  EXPECT_EQ(body(get("/live/s-1700000013.ts")), "media 1700000013") << "of the dead";
  // The next origin may not take back what was shown.
  b.put("/live/s.m3u8?media=ts", window(1700000005, 3));
  EXPECT_EQ(body(get("/live/s.m3u8?media=ts")), now);
}

TEST_F(hls_relaying, viewers_with_an_old_playlist_do_not_wait_for_a_slow_origin) {
  auto& o = origin("o1");
  publish();
  o.put_window(1700000000, 1);
  get("/live/s.m3u8?media=ts");
  run_until(loop, [&] { return o.asked.size() == 2; });
  run_turns(loop);
  o.held = true;
  EXPECT_EQ(body(get("/live/s.m3u8?media=ts")), window(1700000000, 1));
  EXPECT_EQ(body(get("/live/s.m3u8?media=ts")), window(1700000000, 1));
  EXPECT_EQ(o.count("/live/s.m3u8?media=ts"), 2u) << "one is under way";
  o.put_window(1700000000, 2);
  o.release();
  await("/live/s.m3u8?media=ts", [](const std::string& text) { return text == window(1700000000, 2); });
  o.files.clear();
  EXPECT_EQ(get("/live/s.m3u8?media=ts").status, 200) << "an owner may not have it yet";
}

TEST_F(hls_relaying, says_what_is_not_there) {
  auto& o = origin("o1");
  EXPECT_EQ(get("/live/s.m3u8").status, 404) << "nobody publishes";
  EXPECT_EQ(get("/live/nonsense.m4s?spbhid=nonsense").status, 404);
  EXPECT_EQ(log.of("session_refused").size(), 2u);
  EXPECT_TRUE(o.asked.empty());
  publish();
  EXPECT_EQ(get("/live/s-1700000000.ts").status, 404);
  EXPECT_EQ(get("/live/other-1.key?spbhid=" + spbhid_of(key)).status, 404);
  EXPECT_EQ(o.asked.size(), 1u);
  kill(o);
  config.wait = milliseconds(150);
  EXPECT_EQ(get("/live/s-1700000000.ts").status, 404) << "no owner any more";
}

TEST_F(hls_relaying, who_came_before_the_publisher_waits_until_the_origin_has_the_stream) {
  auto& o = origin("o1");
  relays.play_wait = coordination.play_wait = seconds(10);
  answers got;
  ask(request_for("/live/s.m3u8"), got);
  run_turns(loop);
  publish();
  // The origin has been told of no publish yet.
  run_until(loop, [&] { return o.count("/live/s.m3u8") >= 2; });
  EXPECT_TRUE(got.empty());
  o.put("/live/s.m3u8", "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ns.m3u8?media=auto\n");
  run_until(loop, [&] { return !got.empty(); });
  EXPECT_EQ(got.front().status, 200);
  // Not for ever.
  relays.play_wait = milliseconds(250);
  const auto late = get("/live/s.m3u8?hls=ts");
  EXPECT_EQ(late.status, 404);
  EXPECT_GE(o.count("/live/s.m3u8?hls=ts"), 2u);
  // Other answers are the stream's, and are told with their text.
  http_response refused;
  refused.status = 415;
  refused.body = R"-({"code":415,"error":"HLS in MPEG-TS carries none of the stream's tracks (video VP9)"})-";
  o.files["/live/s.m3u8?hls=ts"] = refused;
  const auto unsupported = get("/live/s.m3u8?hls=ts");
  EXPECT_EQ(unsupported.status, 415);
  EXPECT_NE(body(unsupported).find("video VP9"), std::string::npos);
  o.files["/live/s.m3u8?hls=ts"] = o.files["/live/s.m3u8"];
  EXPECT_EQ(get("/live/s.m3u8?hls=ts").status, 200) << "it is not kept";
}

TEST_F(hls_relaying, a_name_that_may_be_a_segments_or_a_streams) {
  auto& o = origin("o1");
  publish();
  const auto as_stream = [](const http_request& r, const servers::media_target& t, auto respond) {
    http_response given;
    given.body = "stream " + t.address.key.str() + " by " + r.target;
    respond(std::move(given));
  };
  const auto get_ts = [&](const std::string& target, size_t at_shard) {
    const auto r = request_for(target);
    const auto parsed = servers::parse_media_target(r, relays.vhosts);
    EXPECT_TRUE(parsed && parsed->may_be_stream);
    auto got = std::make_shared<answers>();
    shard(at_shard).segment(
        r, *parsed, [got](http_response response) { got->push_back(std::move(response)); }, as_stream);
    run_until(loop, [&] { return !got->empty(); });
    return got->empty() ? http_response{.status = 0} : std::move(got->front());
  };
  o.put("/live/s-1700000000.ts", "media");
  for (const size_t at : {0u, 1u}) {
    EXPECT_EQ(body(get_ts("/live/s-1700000000.ts", at)), "media");
    EXPECT_EQ(get_ts("/live/s-1700000001.ts", at).status, 404);
    EXPECT_EQ(get_ts("/live/t-1700000001.ts", at).status, 404) << "neither";
  }
  EXPECT_EQ(o.asked.front().header("x-sluice-segment"), "1") << "so that the origin takes it for nothing else";
  publish({}, {"viewer.test", "live", "s-1700000000"});
  publish({}, {"viewer.test", "live", "s-1700000001"});
  publish({}, {"viewer.test", "live", "t-1700000001"});
  for (const size_t at : {0u, 1u}) {
    EXPECT_EQ(body(get_ts("/live/s-1700000000.ts", at)), "media");
    EXPECT_EQ(body(get_ts("/live/s-1700000001.ts", at)),
              "stream viewer.test/live/s-1700000001 by /live/s-1700000001.ts");
    EXPECT_EQ(body(get_ts("/live/t-1700000001.ts", at)),
              "stream viewer.test/live/t-1700000001 by /live/t-1700000001.ts");
  }
}

TEST_F(hls_relaying, limits_hold) {
  auto& o = origin("o1");
  publish();
  config.files_max = 4;
  config.bytes_max = 2500;
  config.asks_max = 2;
  for (int n = 0; n < 4; ++n) o.put(fmt::format("/live/s-170000000{}.ts", n), std::string(1000, 'x'));
  for (int n = 0; n < 4; ++n) {
    EXPECT_EQ(get(fmt::format("/live/s-170000000{}.ts", n)).status, 200);
    run_turns(loop);
    EXPECT_LE(shards_[0]->hls.bytes() + shards_[1]->hls.bytes(), 2500u);
  }
  o.held = true;
  answers got;
  for (int n = 10; n < 13; ++n) ask(request_for(fmt::format("/live/s-17000000{}.ts", n)), got);
  run_until(loop, [&] { return got.size() == 1; });
  EXPECT_EQ(got.front().status, 503);
  o.release();
  run_until(loop, [&] { return got.size() == 3; });
  config.response_bytes_max = 10;
  config.wait = milliseconds(200);
  o.put("/live/s-1700000020.ts", std::string(1000, 'x'));
  EXPECT_EQ(get("/live/s-1700000020.ts").status, 502);
}

TEST_F(hls_relaying, head_of_what_all_share_is_answered_with_it) {
  auto& o = origin("o1");
  publish();
  o.put_window(1700000000, 1);
  auto r = request_for("/live/s-1700000000.ts");
  r.method = "HEAD";
  const auto got = get(r);
  EXPECT_EQ(body(got), "media 1700000000");
  EXPECT_FALSE(got.header_only);
  r.headers.emplace_back("Range", "bytes=0-4");
  EXPECT_EQ(get(r).status, 200) << "a range is of GET";
  ASSERT_EQ(o.asked.size(), 1u);
  EXPECT_EQ(o.asked[0].method, "GET");
}

TEST_F(hls_relaying, viewers_are_who_gets_playlists) {
  auto& o = origin("o1");
  publish();
  o.put_window(1700000000, 1);
  const auto counted = [&] {
    std::map<std::string, size_t> all;
    for (auto& s : shards_) s->hls.for_each_audience([&](const std::string& stream, size_t n) { all[stream] += n; });
    return all;
  };
  for (int i = 0; i < 6; ++i) {
    auto r = request_for("/live/s.m3u8?media=ts");
    r.peer.address = *base::ip_address::parse(fmt::format("192.0.2.{}", i % 3));
    EXPECT_EQ(get(r, i % 2).status, 200);
  }
  auto balanced = request_for("/live/s.m3u8?media=ts");
  balanced.peer = *base::endpoint::parse("10.0.0.1:1");
  balanced.headers.emplace_back("X-Forwarded-For", "192.0.2.7");
  get(balanced);
  auto watched = request_for("/live/s-1700000000.ts");
  watched.peer.address = *base::ip_address::parse("192.0.2.8");
  EXPECT_EQ(get(watched).status, 200);
  auto probed = request_for("/live/s.m3u8?media=ts");
  probed.method = "HEAD";
  probed.peer = watched.peer;
  EXPECT_EQ(get(probed).status, 200);
  EXPECT_EQ(get("/live/none.m3u8?media=ts").status, 404);
  EXPECT_EQ(counted(), (std::map<std::string, size_t>{{"viewer.test/live/s", 4}}));
}

}  // namespace
}  // namespace sluice::relay::test
