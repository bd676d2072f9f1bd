#include "relay/hls_relay.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "cluster/store/memory_store.hpp"
#include "relay/feed_set.hpp"
#include "relay/hls_url.hpp"
#include "servers/rtmp/hub_flusher.hpp"
#include "unit/servers/support.hpp"

// HLS relays of two shards, a director and origins' HTTP servers, all on one loop.
namespace sluice::relay::test {
namespace {

using runtime::http_request;
using runtime::http_response;
using servers::test::any_port;
using servers::test::run_turns;
using servers::test::run_until;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string window(uint64_t first, size_t count) {
  std::string out =
      fmt::format("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{}\n", first);
  for (uint64_t n = first; n < first + count; ++n) out += fmt::format("#EXTINF:2.000,\ns-{}.ts\n", n);
  return out;
}

/// An origin's HTTP server, and what it has been asked.
struct fake_origin {
  fake_origin(runtime::loop& l, base::log_sink& log) : loop(l), log_(log) { start(any_port()); }
  void start(const base::endpoint& where) {
    server = *runtime::http_server::open(loop, where, {}, log_, [this](const http_request& r, auto respond) {
      if (r.path == "/api/v1/versions") return respond({});  // it lives
      asked.push_back(r);
      if (held) {
        r.client->on_gone = [this] { ++gone; };
        return waiting.push_back(std::move(respond));
      }
      respond(answer(r));
    });
    at = server->local();
  }
  http_response answer(const http_request& r) const {
    const auto found = files.find(r.target);
    if (found != files.end()) return found->second;
    http_response missing;
    missing.status = 404;
    return missing;
  }
  void put(const std::string& target, std::string body, std::vector<std::pair<std::string, std::string>> headers = {}) {
    http_response r;
    r.content_type = target.find(".m3u8") != std::string::npos ? "application/vnd.apple.mpegurl" : "video/mp2t";
    r.body = std::move(body);
    r.headers = std::move(headers);
    files[target] = std::move(r);
  }
  void put_window(uint64_t first, size_t count) {
    put("/live/s.m3u8?media=ts", window(first, count));
    for (uint64_t n = first; n < first + count; ++n) put(fmt::format("/live/s-{}.ts", n), fmt::format("media {}", n));
  }
  size_t count(std::string_view target) const {
    return static_cast<size_t>(std::ranges::count(asked, target, &http_request::target));
  }
  void release() {
    held = false;
    for (size_t i = 0; i < waiting.size(); ++i) waiting[i](answer(asked[asked.size() - waiting.size() + i]));
    waiting.clear();
  }

  runtime::loop& loop;
  base::log_sink& log_;
  std::map<std::string, http_response> files;
  std::vector<http_request> asked;
  bool held = false;
  int gone = 0;  // who hung up while he was held
  std::vector<runtime::http_server::respond> waiting;
  std::unique_ptr<runtime::http_server> server;
  base::endpoint at;
};

/// One shard of a proxy, as far as HLS needs it.
struct shard_parts {
  shard_parts(unsigned index, runtime::loop& l, base::log_sink& log, const relay_config& relays, director& control,
              const hls_relay_config& config, const std::vector<feed_set*>& feeds, const std::vector<hls_relay*>& all)
      : flusher(l, base::duration::zero()),
        context{.index = index,
                .loop = l,
                .log = log,
                .metrics = metrics,
                .config = relays,
                .control = control,
                .flusher = flusher,
                .prompt_flusher = flusher,
                .upstream_cells = upstream_metrics(metrics),
                .retention_cells = retention_metrics(metrics),
                .failover_cells = failover_metrics(metrics),
                .all = feeds},
        hls(context, config, all) {}
  base::metrics metrics;
  servers::hub_flusher flusher;
  shard_context context;
  hls_relay hls;
};

class hls_relaying : public ::testing::Test {
 protected:
  hls_relaying() {
    coordination.proxy_id = "p1";
    coordination.ping_interval = coordination.suspect_after = coordination.dead_after = std::chrono::hours(1);
    coordination.play_wait = relays.play_wait = milliseconds(50);
    config.playlist_kept = config.owner_kept = base::duration::zero();
    config.patience = milliseconds(20);
    config.trusted = {*base::network::parse("10.0.0.0/8")};
  }
  ~hls_relaying() override {
    shards_.clear();
    control_.reset();
  }

  director& control() {
    if (!control_) {
      control_ = std::make_unique<director>(loop, coordination, store_, log, metrics_);
      control_->on_origin_lost = [this](const std::string& id, cluster::loss_reason why) {
        for (auto& s : shards_) s->context.origin_lost(id, why);
      };
    }
    return *control_;
  }
  fake_origin& origin(const std::string& server, bool is_sluice = true) {
    auto& o = *origins_.emplace_back(std::make_unique<fake_origin>(loop, log));
    cluster::origin_registration r;
    r.server = server;
    r.service = "s";
    r.pid = "1";
    r.address = o.at.address;
    r.ip = o.at.address.to_string();
    r.rtmp = {{o.at.address, 1}};
    r.http = r.api = {o.at};
    if (is_sluice) r.sluice.emplace().version = "test";
    EXPECT_TRUE(control().registration(r));
    return o;
  }
  /// Somebody publishes the stream: an owner is claimed. `lost`: the id of the one that he had.
  std::string publish(const std::string& lost = {}) { return publish(lost, key); }
  std::string publish(const std::string& lost, const cluster::stream_key& stream) {
    std::optional<base::result<cluster::assignment>> answer;
    cluster::claim_request request{.session = "pub", .deadline = loop.now() + seconds(5), .fail_over = !lost.empty()};
    if (!lost.empty()) request.exclude = {lost};
    control().claim(loop, stream, request, [&](auto a) { answer = std::move(a); });
    run_until(loop, [&] { return answer.has_value(); });
    EXPECT_TRUE(answer && *answer);
    if (!answer || !*answer) return {};
    control().publish_started(stream, (*answer)->epoch);
    return (*answer)->server_id;
  }
  hls_relay& shard(size_t index) {
    control();
    while (shards_.size() < 2) {
      shards_.push_back(std::make_unique<shard_parts>(static_cast<unsigned>(shards_.size()), loop, log, relays,
                                                      *control_, config, feeds_, all_));
      all_[shards_.size() - 1] = &shards_.back()->hls;
    }
    return shards_[index]->hls;
  }
  static http_request request_for(const std::string& target) {
    http_request r;
    r.method = "GET";
    r.target = target;
    const auto mark = target.find('?');
    r.path = target.substr(0, mark);
    if (mark != std::string::npos) r.query = target.substr(mark + 1);
    r.headers = {{"Host", "viewer.test:8080"}};
    r.peer = *base::endpoint::parse("192.0.2.1:1000");
    return r;
  }
  using answers = std::vector<http_response>;
  void ask(const http_request& r, answers& into, size_t at_shard = 0) {
    const auto target = servers::parse_media_target(r, relays.vhosts);
    ASSERT_TRUE(target) << r.target;
    const auto keep = [&into](http_response response) { into.push_back(std::move(response)); };
    if (target->kind == servers::media_kind::playlist) {
      shard(at_shard).playlist(r, *target, keep);
    } else {
      shard(at_shard).segment(r, *target, keep);
    }
  }
  http_response get(const http_request& r, size_t at_shard = 0) {
    auto got = std::make_shared<answers>();
    ask(r, *got, at_shard);
    run_until(loop, [&] { return !got->empty(); });
    return got->empty() ? http_response{.status = 0} : std::move(got->front());
  }
  http_response get(const std::string& target, size_t at_shard = 0) { return get(request_for(target), at_shard); }
  /// Asks until the answer is as awaited.
  void await(const std::string& target, const std::function<bool(const std::string&)>& holds) {
    const auto until = runtime::loop::monotonic_now() + seconds(10);
    bool held = false;
    while (!held && runtime::loop::monotonic_now() < until) held = holds(body(get(target)));
    EXPECT_TRUE(held) << target;
  }
  static std::string body(const http_response& r) { return r.shared_body ? *r.shared_body : r.body; }
  static std::string header(const http_response& r, std::string_view name) {
    for (const auto& [n, v] : r.headers)
      if (n == name) return v;
    return {};
  }
  /// The origin dies as by SIGKILL.
  void kill(fake_origin& o) { o.server.reset(); }

  const cluster::stream_key key{"viewer.test", "live", "s"};
  runtime::loop loop;
  servers::test::memory_log log;
  relay_config relays;
  hls_relay_config config;
  cluster::coordinator_config coordination;

 private:
  cluster::memory_store store_{[] { return runtime::loop::monotonic_now(); }};
  base::metrics metrics_;
  std::unique_ptr<director> control_;
  std::vector<feed_set*> feeds_{nullptr, nullptr};
  std::vector<hls_relay*> all_{nullptr, nullptr};
  std::vector<std::unique_ptr<fake_origin>> origins_;

 protected:
  std::vector<std::unique_ptr<shard_parts>> shards_;
};

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
