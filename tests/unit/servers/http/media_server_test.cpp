#include "servers/http/media_server.hpp"

#include "proto/flv/file.hpp"
#include "servers/http/front.hpp"
#include "servers/http/live_access.hpp"
#include "servers/rtmp/hub_flusher.hpp"
#include "support.hpp"

// Real sockets on one loop; the streams are a test's.
namespace sluice::servers::test {
namespace {

using media::test::all;
using media::test::headers;
using media::test::inter;
using media::test::key;
using media::test::message_of;
using media::test::sound;
using media::test::operator+;

/// Gives what the test says, when it says so.
class scripted_access final : public stream_access {
 public:
  struct lease final : stream_lease {
    explicit lease(scripted_access& a) : access(a) {}
    ~lease() override { --access.open_leases; }
    void pause(bool on) override { access.pauses.push_back(on); }
    std::vector<std::pair<std::string, std::string>> origin_headers() const override { return access.headers; }
    scripted_access& access;
  };
  std::unique_ptr<stream_lease> open(const stream_ask& ask, stream_watcher& w) override {
    asks.push_back(ask);
    watchers.push_back(&w);
    ++open_leases;
    auto made = std::make_unique<lease>(*this);
    if (at_once) at_once(w);
    return made;
  }
  std::function<void(stream_watcher&)> at_once;
  std::vector<stream_ask> asks;
  std::vector<stream_watcher*> watchers;
  std::vector<bool> pauses;
  std::vector<std::pair<std::string, std::string>> headers;
  int open_leases = 0;
};

class http_client final : public runtime::io_handler {
 public:
  http_client(runtime::loop& l, const base::endpoint& to, const std::string& request, int receive_buffer = 0)
      : loop_(l) {
    const runtime::socket_address address(to);
    const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer > 0) ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    EXPECT_EQ(::connect(fd, address.get(), address.size), 0);
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
    stream_ = runtime::tcp_stream(fd);
    say(request);
    loop_.watch(fd, *this);
  }
  ~http_client() { close(); }
  void say(std::string_view text) { EXPECT_EQ(stream_.write(base::as_bytes(text)).bytes, text.size()); }
  void close() {
    if (!stream_.is_open()) return;
    loop_.unwatch(stream_.fd(), *this);
    stream_.close();
  }
  void read() {
    while (reads && stream_.is_open()) {
      std::vector<uint8_t> buffer(64 * 1024);
      const auto in = stream_.read(buffer.data(), buffer.size());
      if (in.status == runtime::io_status::would_block) return;
      if (in.status != runtime::io_status::ok) {
        ended = true;
        return close();
      }
      received.append(reinterpret_cast<const char*>(buffer.data()), in.bytes);
    }
  }
  bool answered() const { return received.find("\r\n\r\n") != std::string::npos; }
  std::string head() const { return received.substr(0, received.find("\r\n\r\n") + 2); }
  std::string body() const { return received.substr(received.find("\r\n\r\n") + 4); }
  /// Of an FLV body: whole tags so far.
  all tags() const {
    flv::reader in(8u << 20);
    const auto text = body();
    base::bytes_view rest = base::as_bytes(text);
    all out;
    for (auto tag = in.next(rest); tag && *tag; tag = in.next(rest))
      out.push_back(
          {(*tag)->type, (*tag)->timestamp, {(*tag)->body.data(), (*tag)->body.data() + (*tag)->body.size()}});
    return out;
  }

  std::string received;
  bool reads = true, ended = false;

 private:
  void on_io(runtime::io_ready) override { read(); }
  runtime::loop& loop_;
  runtime::tcp_stream stream_;
};

class media_server_test : public ::testing::Test {
 protected:
  ~media_server_test() override {
    clients_.clear();
    http_.reset();
    if (server_) server_->close_all("shutdown");
  }
  media_server& server() {
    if (!server_) {
      limits.descriptors = &descriptors;
      server_ = std::make_unique<media_server>(loop, "origin", limits, access, log, metrics);
      front_.endless = [this](const auto& request, const auto& target, auto respond) {
        server_->play(request, target, std::move(respond));
      };
      front_.other = [](const auto&, auto respond) { respond({.status = 404}); };
      front_.on_refused = [this](const auto&, std::string_view reason, std::string_view) {
        refused.emplace_back(reason);
      };
      runtime::http_server::limits http_limits;
      http_limits.descriptors = &descriptors;
      http_ = *runtime::http_server::open(loop, any_port(), http_limits, log, make_http_front(front_, rules_));
    }
    return *server_;
  }
  http_client& client(const std::string& target, const std::string& method = "GET", int receive_buffer = 0,
                      const std::string& more = "") {
    server();
    return *clients_.emplace_back(std::make_unique<http_client>(
        loop, http_->local(), method + " " + target + " HTTP/1.1\r\nHost: a.b\r\n" + more + "\r\n", receive_buffer));
  }
  void await(const std::function<bool()>& what) { run_until(loop, what); }
  media::hub& hub() {
    if (!hub_) {
      hub_ = std::make_unique<media::hub>(hub_limits, flusher);
      hub_->begin_source(loop.now());
    }
    return *hub_;
  }
  void publish(const all& packets) {
    for (const auto& p : packets) hub().append(message_of(p), loop.now());
  }
  void give_at_once() {
    access.at_once = [this](stream_watcher& w) { w.on_stream(hub(), "o1"); };
  }
  /// A player who has got the stream's beginning.
  http_client& playing(const std::string& target, int receive_buffer = 0) {
    give_at_once();
    auto& c = client(target, "GET", receive_buffer);
    const auto sessions = log.of("session_start").size() + 1;
    await([&] { return log.of("session_start").size() >= sessions; });
    return c;
  }
  int64_t gauge(std::string_view proto) {
    return metrics.gauge("sluice_sessions", "", {{"role", "origin"}, {"proto", std::string(proto)}}).value();
  }

  runtime::loop loop;
  memory_log log;
  base::metrics metrics;
  runtime::descriptor_budget descriptors{100};
  hub_flusher flusher{loop, base::duration::zero()};
  media::hub_limits hub_limits;
  media_server_limits limits;
  scripted_access access;
  std::vector<std::string> refused;

 private:
  std::unique_ptr<media::hub> hub_;
  cluster::vhost_rules rules_;
  http_front front_;
  std::unique_ptr<media_server> server_;
  std::unique_ptr<runtime::http_server> http_;
  std::vector<std::unique_ptr<http_client>> clients_;
};

TEST_F(media_server_test, a_player_gets_the_stream_as_flv) {
  publish(headers + all{key(0), sound(5)});
  auto& c = playing("/live/s.flv?token=t");
  await([&] { return c.tags().size() == 5; });
  publish({inter(40), key(80)});
  await([&] { return c.tags().size() == 7; });
  EXPECT_EQ(c.tags(), (headers + all{key(0), sound(5), inter(40), key(80)}));
  EXPECT_TRUE(c.head().starts_with("HTTP/1.1 200")) << c.head();
  for (const auto* line :
       {"Content-Type: video/x-flv\r\n", "Connection: close\r\n", "Access-Control-Allow-Origin: *\r\n"})
    EXPECT_NE(c.head().find(line), std::string::npos) << line << c.head();
  EXPECT_EQ(c.head().find("Content-Length"), std::string::npos);
  ASSERT_EQ(access.asks.size(), 1u);
  EXPECT_EQ(access.asks[0].address.key.str(), "a.b/live/s");
  EXPECT_EQ(access.asks[0].address.query, "token=t");
  EXPECT_EQ(gauge("http-flv"), 1);
  EXPECT_EQ(descriptors.left(), 99);
  c.close();
  await([&] { return server().sessions() == 0; });
  run_turns(loop);
  EXPECT_EQ(log.of("session_end").at(0).field("reason"), "client_closed");
  EXPECT_EQ(gauge("http-flv"), 0);
  EXPECT_EQ(descriptors.left(), 100);
  EXPECT_EQ(access.open_leases, 0);
  EXPECT_EQ(hub().readers(), 0u) << "the serialised form goes with its last watcher";
}

TEST_F(media_server_test, one_serialised_form_for_all_who_watch_it) {
  publish(headers + all{key(0)});
  std::vector<http_client*> flv, ts;
  for (int i = 0; i < 5; ++i) flv.push_back(&playing("/live/s.flv"));
  EXPECT_EQ(hub().readers(), 1u);
  for (int i = 0; i < 5; ++i) ts.push_back(&playing("/live/s.ts"));
  EXPECT_EQ(hub().readers(), 2u);
  publish({inter(40)});
  for (auto* c : flv) await([&] { return c->tags().size() == 5; });
}

TEST_F(media_server_test, an_early_player_waits_for_his_keyframe) {
  auto& c = playing("/live/s.flv");
  await([&] { return c.answered(); });
  EXPECT_EQ(c.body(), "");
  publish(headers + all{inter(0), inter(40), key(80)});
  await([&] { return c.tags().size() >= 4; });
  EXPECT_EQ(c.tags(), all{headers[0]} + media::test::restamped({headers[1], headers[2]}, 80) + all{key(80)});
}

TEST_F(media_server_test, ts_is_answered_when_it_is_known_what_it_carries) {
  give_at_once();
  auto& c = client("/live/s.ts");
  await([&] { return access.asks.size() == 1; });
  run_turns(loop);
  EXPECT_FALSE(c.answered());
  publish({{rtmp::video, 0, {0x90, 'a', 'v', '0', '1', 0x81, 0x04, 0x0C, 0x00}},
           {rtmp::video, 0, {0x91, 'a', 'v', '0', '1', 1}}});
  await([&] { return c.answered(); });
  EXPECT_TRUE(c.head().starts_with("HTTP/1.1 415")) << c.received;
  EXPECT_NE(c.body().find("AV1"), std::string::npos);
  EXPECT_EQ(log.of("session_refused").at(0).field("reason"), "unsupported_codec");
  await([&] { return access.open_leases == 0; });
}

TEST_F(media_server_test, ts_without_a_keyframe_is_answered_in_time) {
  limits.start_wait = milliseconds(1);
  auto& c = playing("/live/s.ts");
  await([&] { return c.answered(); });
  EXPECT_TRUE(c.head().starts_with("HTTP/1.1 200"));
}

TEST_F(media_server_test, a_stream_that_is_not_there) {
  access.at_once = [](stream_watcher& w) { w.on_no_stream(404, "stream_not_found", "nobody \"publishes\" it"); };
  auto& c = client("/live/s.flv");
  await([&] { return c.answered(); });
  EXPECT_TRUE(c.head().starts_with("HTTP/1.1 404"));
  EXPECT_EQ(c.body(), R"({"code":404,"error":"nobody \"publishes\" it"})");
  run_turns(loop);
  EXPECT_EQ(server().sessions(), 0u);
  EXPECT_EQ(access.open_leases, 0);
}

TEST_F(media_server_test, what_an_origin_said_goes_with_the_answer) {
  access.headers = {{"WWW-Authenticate", "Basic"},
                    {"Cache-Control", "private"},
                    {"Content-Type", "text/x"},
                    {"Content-Encoding", "gzip"},
                    {"Access-Control-Allow-Origin", "http://only.me"},
                    {"Set-Cookie", "a"},
                    {"Set-Cookie", "b"}};
  for (const bool refuses : {false, true}) {
    auto& c = client("/live/s.flv");
    const size_t n = refuses ? 2 : 1;
    await([&] { return access.watchers.size() == n; });
    if (refuses) {
      access.watchers[1]->on_no_stream(401, "origin_refused", "no");
    } else {
      access.watchers[0]->on_stream(hub(), "o1");
    }
    await([&] { return c.answered(); });
    EXPECT_TRUE(c.head().starts_with(refuses ? "HTTP/1.1 401" : "HTTP/1.1 200")) << c.head();
    for (const auto* line : {"WWW-Authenticate: Basic\r\n", "Cache-Control: private\r\n",
                             "Set-Cookie: a\r\nSet-Cookie: b\r\n", "Access-Control-Allow-Origin: *\r\n"})
      EXPECT_NE(c.head().find(line), std::string::npos) << line << c.head();
    for (const auto* not_there : {"text/x", "gzip", "no-cache", "only.me"})
      EXPECT_EQ(c.head().find(not_there), std::string::npos) << not_there << c.head();
  }
}

TEST_F(media_server_test, the_end_of_a_stream_ends_its_players) {
  publish(headers + all{key(0)});
  auto& c = playing("/live/s.flv");
  access.watchers[0]->on_no_stream(404, "no_publisher", "");
  await([&] { return c.ended; });
  EXPECT_EQ(c.tags().size(), 4u);
  EXPECT_EQ(log.of("session_end").at(0).field("reason"), "no_publisher");
  EXPECT_EQ(hub().readers(), 0u);
}

TEST_F(media_server_test, who_leaves_before_his_answer_gives_up_his_lease) {
  auto& c = client("/live/s.flv");
  await([&] { return access.asks.size() == 1; });
  c.close();
  await([&] { return access.open_leases == 0; });
  EXPECT_EQ(server().sessions(), 0u);
  await([&] { return descriptors.left() == 100; });
}

TEST_F(media_server_test, a_request_may_be_passed_to_somebody_else) {
  std::string path;
  access.at_once = [&](stream_watcher& w) {
    w.on_passed([&](const runtime::http_request& r, runtime::http_server::respond respond) {
      path = r.path;
      respond({.status = 201, .body = "theirs"});
    });
  };
  auto& c = client("/live/s.ts");
  await([&] { return c.answered(); });
  EXPECT_EQ(c.body(), "theirs");
  EXPECT_EQ(path, "/live/s.ts");
  run_turns(loop);
  EXPECT_EQ(server().sessions(), 0u);
  EXPECT_TRUE(log.of("session_refused").empty());
}

TEST_F(media_server_test, head_is_answered_as_get_without_the_stream) {
  publish(headers + all{key(0)});
  give_at_once();
  auto& c = client("/live/s.flv", "HEAD");
  await([&] { return c.answered(); });
  EXPECT_TRUE(c.head().starts_with("HTTP/1.1 200"));
  EXPECT_EQ(c.head().find("Content-Length"), std::string::npos);
  EXPECT_EQ(c.body(), "");
  EXPECT_EQ(server().sessions(), 0u);
  c.say("HEAD /live/s.ts HTTP/1.1\r\nHost: a.b\r\n\r\n");
  await([&] { return c.body().find("video/mp2t") != std::string::npos; });
  c.close();
  await([&] { return descriptors.left() == 100; });
}

TEST_F(media_server_test, options_and_other_methods) {
  auto& options = client("/live/s.flv", "OPTIONS");
  await([&] { return options.answered(); });
  EXPECT_TRUE(options.head().starts_with("HTTP/1.1 200"));
  EXPECT_NE(options.head().find("Access-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n"), std::string::npos);
  auto& post = client("/live/s.flv", "POST");
  await([&] { return post.answered(); });
  EXPECT_TRUE(post.head().starts_with("HTTP/1.1 405"));
  auto& playlist = client("/live/s.m3u8");
  await([&] { return playlist.answered(); });
  EXPECT_TRUE(playlist.head().starts_with("HTTP/1.1 404")) << "nobody serves it here";
  auto& bad = client("/live/a%0ab.flv");
  await([&] { return bad.answered(); });
  EXPECT_TRUE(bad.head().starts_with("HTTP/1.1 400"));
  EXPECT_EQ(refused, (std::vector<std::string>{"method_not_allowed", "not_found", "bad_stream_name"}));
  EXPECT_TRUE(access.asks.empty());
}

TEST_F(media_server_test, too_many_players_are_refused) {
  runtime::session_budget one(1);
  limits.sessions = &one;
  publish(headers + all{key(0)});
  auto& first = playing("/live/s.flv");
  auto& second = client("/live/s.flv");
  await([&] { return second.answered(); });
  EXPECT_TRUE(second.head().starts_with("HTTP/1.1 503"));
  first.close();
  await([&] { return server().sessions() == 0 && one.taken() == 0; });
  playing("/live/s.flv").close();
  await([&] { return one.taken() == 0; });
}

TEST_F(media_server_test, who_takes_nothing_is_closed_and_nobody_else_notices) {
  limits.player_stall = milliseconds(300);
  publish(headers + all{key(0)});
  auto& good = playing("/live/s.flv");
  auto& stuck = playing("/live/s.flv", 4096);
  stuck.reads = false;
  uint32_t n = 0;
  await([&] {
    ++n;
    publish({key(n * 40, n, 50'000)});
    return log.of("session_end").size() == 1;
  });
  EXPECT_EQ(log.of("session_end")[0].field("reason"), "slow_reader");
  await([&] { return good.tags().size() == n + 4; });
  EXPECT_EQ(server().sessions(), 1u);
}

TEST_F(media_server_test, who_falls_behind_goes_on_at_a_keyframe) {
  limits.log.bytes_max = 1 << 20;
  publish(headers + all{key(0)});
  auto& slow = playing("/live/s.flv", 4096);
  slow.reads = false;
  for (uint32_t n = 1; n <= 100; ++n) {
    publish({key(n * 40, n, 50'000)});
    run_turns(loop, 1);
  }
  slow.reads = true;
  slow.read();
  await([&] { return !slow.tags().empty() && slow.tags().back().timestamp == 4000; });
  const auto got = slow.tags();
  EXPECT_LT(got.size(), 90u);
  for (const auto& p : got)
    if (p.type == rtmp::video && p.body.size() > 20)
      EXPECT_EQ(p, key(p.timestamp, p.timestamp / 40, p.timestamp == 0 ? 200 : 50'000));
  slow.close();
  await([&] { return log.of("session_end").size() == 1; });
  EXPECT_GE(std::stoi(log.of("session_end")[0].field("drops")), 1);
}

TEST_F(media_server_test, a_source_of_his_own_is_paused_while_he_does_not_read) {
  publish(headers + all{key(0)});
  auto& slow = playing("/live/s.flv", 4096);
  slow.reads = false;
  for (uint32_t n = 1; access.pauses.empty() && n < 1000; ++n) {
    publish({key(n * 40, n, 50'000)});
    run_turns(loop, 1);
  }
  EXPECT_EQ(access.pauses, std::vector<bool>{true});
  slow.reads = true;
  slow.read();
  await([&] { return access.pauses.size() == 2; });
  EXPECT_FALSE(access.pauses[1]);
}

TEST_F(media_server_test, who_goes_on_talking_is_closed) {
  publish(headers + all{key(0)});
  auto& c = playing("/live/s.flv");
  for (int i = 0; i < 3; ++i) {
    c.say(std::string(30'000, 'x'));
    run_turns(loop);
  }
  await([&] { return c.ended; });
  EXPECT_EQ(log.of("session_end").at(0).field("reason"), "unexpected_data");
}

TEST_F(media_server_test, drain_waits_for_what_a_player_has_not_taken) {
  publish(headers + all{key(0)});
  auto& good = playing("/live/s.flv");
  auto& slow = playing("/live/s.flv", 4096);
  slow.reads = false;
  await([&] { return good.tags().size() == 4; });
  for (uint32_t n = 1; n <= 40; ++n) publish({key(n * 40, n, 50'000)});
  await([&] { return good.received.size() > 40 * 50'000; });
  EXPECT_EQ(good.tags().size(), 44u);
  server().drain("shutdown");
  await([&] { return good.ended; });
  EXPECT_EQ(server().sessions(), 1u);
  slow.reads = true;
  slow.read();
  await([&] {
    server().drain("shutdown");
    return slow.ended;
  });
  EXPECT_EQ(slow.tags().back(), key(1600, 40, 50'000));
}

TEST_F(media_server_test, a_stop_answers_those_who_wait) {
  auto& c = client("/live/s.flv");
  await([&] { return access.asks.size() == 1; });
  server().close_all("shutdown");
  await([&] { return c.answered(); });
  EXPECT_TRUE(c.head().starts_with("HTTP/1.1 503"));
  EXPECT_EQ(access.open_leases, 0);
}

TEST_F(media_server_test, the_true_address_is_in_the_log) {
  limits.trusted = {*base::network::parse("127.0.0.0/8")};
  publish(headers + all{key(0)});
  give_at_once();
  client("/live/s.flv", "GET", 0, "X-Forwarded-For: 203.0.113.7\r\n");
  await([&] { return !log.of("session_start").empty(); });
  EXPECT_EQ(log.of("session_start")[0].field("peer"), "203.0.113.7");
}

}  // namespace
}  // namespace sluice::servers::test
