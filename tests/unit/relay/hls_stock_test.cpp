#include "hls_support.hpp"
#include "relay/hls_relay.hpp"

// Of origins that are none of ours: each viewer is theirs, unless they say otherwise.
namespace sluice::relay::test {
namespace {

TEST_F(hls_relaying, who_came_before_the_publisher_waits_for_a_stock_origins_first_segment) {
  auto& o = origin("srs", false);
  relays.play_wait = coordination.play_wait = seconds(10);
  answers got;
  ask(request_for("/live/s.m3u8"), got);
  const auto asked = runtime::loop::monotonic_now();
  run_until(loop, [&] { return runtime::loop::monotonic_now() - asked > milliseconds(150); });
  publish();
  run_until(loop, [&] { return o.count("/live/s.m3u8") >= 2; });
  EXPECT_TRUE(got.empty());
  o.put("/live/s.m3u8", window(1, 1));
  run_until(loop, [&] { return !got.empty(); });
  EXPECT_EQ(got.front().status, 200);
  o.files.clear();
  EXPECT_EQ(get("/live/s.m3u8").status, 404) << "what it says to others is theirs";
}

TEST_F(hls_relaying, an_unknown_format_is_refused_or_a_stock_origins_affair) {
  auto& o = origin("o1");
  publish();
  EXPECT_EQ(get("/live/s.m3u8?hls=mp3").status, 400);
  EXPECT_EQ(get("/live/s.m3u8?media=x").status, 400);
  EXPECT_TRUE(o.asked.empty());
}

TEST_F(hls_relaying, what_a_stock_origins_playlist_names_need_not_look_like_a_file) {
  auto& o = origin("srs", false);
  publish();
  const auto id = "?spbhid=" + spbhid_of(key);
  o.put("/live/steer", "{}");
  o.put("/live/s.m3u8?hls=mp3",
        "#EXTM3U\n#EXT-X-CONTENT-STEERING:SERVER-URI=\"steer\"\n#EXT-X-STREAM-INF:BANDWIDTH=1\nm.m3u8\n");
  EXPECT_EQ(get("/live/steer" + id).status, 404) << "not before it was named";
  const auto master = get("/live/s.m3u8?hls=mp3");
  EXPECT_NE(body(master).find("SERVER-URI=\"steer" + id + "\""), std::string::npos) << body(master);
  EXPECT_EQ(body(get("/live/steer" + id)), "{}");
  EXPECT_EQ(get("/live/other" + id).status, 404);
  EXPECT_EQ(o.count("/live/other"), 0u);
}

TEST_F(hls_relaying, stock_origins_see_each_viewer) {
  auto& o = origin("srs", false);
  publish();
  const auto id = spbhid_of(key);
  o.put("/live/s.m3u8?t=1",
        fmt::format("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/live/s.m3u8?hls_ctx=abc\n#EXT-X-MEDIA:URI=\"http://{}/"
                    "live/subs.m3u8\"\nhttp://cdn.example/x.m3u8\n",
                    o.at.to_string()),
        {{"X-Origin", "srs"}, {"Connection", "keep-alive"}});
  for (int i = 0; i < 2; ++i) {
    auto r = request_for("/live/s.m3u8?t=1");
    r.headers.emplace_back("X-Forwarded-For", "1.2.3.4");
    r.headers.emplace_back("X-Thing", "kept");
    const auto got = get(r);
    EXPECT_EQ(
        body(got),
        fmt::format("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/live/s.m3u8?hls_ctx=abc&spbhid={0}\n#EXT-X-MEDIA:URI=\"/"
                    "live/subs.m3u8?spbhid={0}\"\nhttp://cdn.example/x.m3u8\n",
                    id));
    EXPECT_EQ(header(got, "X-Origin"), "srs");
    EXPECT_EQ(header(got, "Access-Control-Allow-Origin"), "*");
  }
  ASSERT_EQ(o.asked.size(), 2u);
  EXPECT_EQ(o.asked[0].header("x-forwarded-for"), "192.0.2.1") << "not what a stranger says";
  EXPECT_EQ(o.asked[0].header("x-real-ip"), "192.0.2.1");
  EXPECT_EQ(o.asked[0].header("x-thing"), "kept");
  EXPECT_EQ(o.asked[0].header("host"), "viewer.test:8080");

  http_response partial;
  partial.status = 206;
  partial.body = "ab";
  partial.content_type = "video/mp2t";
  partial.headers = {{"Content-Range", "bytes 0-1/10"}, {"Set-Cookie", "a"}, {"Set-Cookie", "b"}};
  o.files["/live/s-3.ts?hls_ctx=abc"] = partial;
  auto r = request_for("/live/s-3.ts?hls_ctx=abc&spbhid=" + id);
  r.headers.emplace_back("Range", "bytes=0-1");
  const auto got = get(r);
  EXPECT_EQ(got.status, 206);
  EXPECT_EQ(body(got), "ab");
  EXPECT_EQ(std::ranges::count(got.headers, "Set-Cookie", [](const auto& h) { return h.first; }), 2);
  EXPECT_EQ(o.asked.back().header("range"), "bytes=0-1");

  http_response moved;
  moved.status = 302;
  moved.headers = {{"Location", "/live/t.ts"}};
  o.files["/live/u.ts"] = moved;
  EXPECT_EQ(header(get("/live/u.ts?spbhid=" + id), "Location"), "/live/t.ts?spbhid=" + id);
  EXPECT_EQ(get("/live/v.ts?spbhid=" + id).status, 404);
  EXPECT_EQ(get("/api/v1/clients?spbhid=" + id).status, 404);
  EXPECT_EQ(o.count("/api/v1/clients"), 0u);
}

TEST_F(hls_relaying, what_a_stock_origin_calls_public_is_shared) {
  auto& o = origin("srs", false);
  publish();
  const auto id = spbhid_of(key);
  const std::string target = "/live/s-3.ts", asked = target + "?spbhid=" + id;
  o.put(target, "first", {{"Cache-Control", "public, max-age=60"}});
  EXPECT_EQ(body(get(asked)), "first");
  EXPECT_EQ(body(get(asked, 1)), "first");
  EXPECT_EQ(o.count(target), 1u);
  auto personal = request_for(asked);
  personal.headers.emplace_back("Cookie", "me");
  get(personal);
  EXPECT_EQ(o.count(target), 2u);
  // Equal requests wait for the first, and ask themselves if its answer was for one.
  for (const bool is_public : {true, false}) {
    const std::string next = is_public ? "/live/s-4.ts" : "/live/s-5.ts";
    o.put(next, "next", {{"Cache-Control", is_public ? "max-age=5" : "private, max-age=5"}});
    o.held = true;
    answers got;
    for (int i = 0; i < 3; ++i) ask(request_for(next + "?spbhid=" + id), got);
    run_until(loop, [&] { return !o.waiting.empty(); });
    run_turns(loop);
    o.release();
    run_until(loop, [&] { return got.size() == 3; });
    for (const auto& r : got) EXPECT_EQ(body(r), "next");
    EXPECT_EQ(o.count(next), is_public ? 1u : 3u);
  }
  kill(o);
  const auto kept = get(asked);
  EXPECT_EQ(body(kept), "first");
  EXPECT_NE(header(kept, "Age"), "") << "RFC 9111 §5.1";
}

TEST_F(hls_relaying, who_waited_for_anothers_answer_is_told_that_the_owner_has_no_http_any_more) {
  auto& o = origin("srs", false);
  publish();
  const std::string id = "?spbhid=" + spbhid_of(key);
  o.put("/live/s-3.ts", "public", {{"Cache-Control", "public, max-age=60"}});
  o.put("/live/s-4.ts", "personal", {{"Cache-Control", "private"}});
  EXPECT_EQ(body(get("/live/s-3.ts" + id)), "public") << "so are the next, it is thought";
  o.held = true;
  answers got;
  for (int i = 0; i < 3; ++i) ask(request_for("/live/s-4.ts" + id), got);
  run_until(loop, [&] { return !o.waiting.empty(); });
  introduce(o, "srs", false, {});
  EXPECT_EQ(get("/live/s.m3u8").status, 502);
  o.release();
  run_until(loop, [&] { return got.size() == 3; });
  EXPECT_EQ(body(got[0]), "personal");
  EXPECT_EQ(got[1].status, 502);
  EXPECT_EQ(got[2].status, 502);
}

TEST_F(hls_relaying, head_goes_to_a_stock_origin_as_head) {
  auto& o = origin("srs", false);
  publish();
  const std::string id = "?spbhid=" + spbhid_of(key);
  const auto head = [&](const std::string& target) {
    auto r = request_for(target);
    r.method = "HEAD";
    return get(r);
  };
  o.put("/live/s-3.ts", "media 3", {{"Cache-Control", "public, max-age=60"}, {"X-Origin", "srs"}});
  const auto first = head("/live/s-3.ts" + id);
  EXPECT_EQ(first.status, 200);
  EXPECT_TRUE(first.header_only);
  EXPECT_EQ(body(first), "");
  EXPECT_EQ(header(first, "Content-Length"), "7");
  EXPECT_EQ(header(first, "X-Origin"), "srs");
  ASSERT_EQ(o.asked.size(), 1u);
  EXPECT_EQ(o.asked[0].method, "HEAD");
  EXPECT_EQ(body(get("/live/s-3.ts" + id)), "media 3") << "the answer to HEAD is not kept";
  ASSERT_EQ(o.asked.size(), 2u);
  EXPECT_EQ(o.asked[1].method, "GET");
  const auto kept = head("/live/s-3.ts" + id);
  EXPECT_FALSE(kept.header_only) << "its body is counted";
  EXPECT_EQ(body(kept), "media 3");
  EXPECT_EQ(o.asked.size(), 2u);

  o.put("/live/s.m3u8", window(7, 2), {{"Cache-Control", "no-cache"}});
  const auto playlist = head("/live/s.m3u8");
  EXPECT_TRUE(playlist.header_only);
  EXPECT_EQ(header(playlist, "Content-Length"), "") << "with our ids in it it has another one";
  const auto missing = head("/live/s-9.ts" + id);
  EXPECT_EQ(missing.status, 404);
  EXPECT_TRUE(missing.header_only);

  // Beside a GET that others wait for, it neither waits nor is waited for.
  o.put("/live/s-4.ts", "media 4", {{"Cache-Control", "public, max-age=60"}});
  o.held = true;
  answers got, heads;
  for (int i = 0; i < 2; ++i) ask(request_for("/live/s-4.ts" + id), got);
  auto r = request_for("/live/s-4.ts" + id);
  r.method = "HEAD";
  ask(r, heads);
  run_until(loop, [&] { return o.waiting.size() == 2; });
  o.release();
  run_until(loop, [&] { return got.size() == 2 && heads.size() == 1; });
  for (const auto& g : got) EXPECT_EQ(body(g), "media 4");
  EXPECT_TRUE(heads[0].header_only);
}

TEST_F(hls_relaying, a_client_that_leaves_ends_its_request) {
  auto& o = origin("srs", false);
  publish();
  o.held = true;
  auto r = request_for("/live/s.m3u8");
  r.client = std::make_shared<runtime::http_client_presence>();
  answers got;
  ask(r, got);
  run_until(loop, [&] { return !o.waiting.empty(); });
  ASSERT_TRUE(r.client->on_gone);
  std::exchange(r.client->on_gone, nullptr)();
  run_until(loop, [&] { return got.size() == 1 && o.gone == 1; });
}

}  // namespace
}  // namespace sluice::relay::test
