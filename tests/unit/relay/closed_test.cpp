#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "runtime/backoff.hpp"
#include "servers/rtmp/capabilities.hpp"
#include "unit/relay/support.hpp"

// Publishes and pulls that an origin ends while it lives, and news of the same owner.
namespace sluice::relay::test {
namespace {

using media::test::inter;
using media::test::key;
using media::test::metadata;
using media::test::video_header;
using codes = std::vector<std::string>;

/// A stock server that says Publish.Start to everybody; `ends_at`: the message type at which it hangs up, 0: none.
struct stock_server {
  std::atomic<int> publishes = 0;
  std::atomic<int> ends_at = 0;
};

class stock_handler final : public servers::client_handler {
 public:
  stock_handler(servers::connection& c, stock_server& s) : client_(c), server_(s) {}
  void on_connect(rtmp::connect_request) override {
    client_.session().accept_connect(servers::forward_capabilities(false));
  }
  void on_publish(rtmp::publish_request request) override {
    ++server_.publishes;
    client_.session().accept_publish(request.stream_id);
  }
  void on_play(rtmp::play_request) override { client_.close("no"); }
  void on_media(rtmp::message msg) override {
    if (msg.type == server_.ends_at) client_.close("hook");
  }
  void on_stream_closed(uint32_t) override {}
  void on_closed() override {}

 private:
  servers::connection& client_;
  stock_server& server_;
};

class closing : public proxy_test {
 protected:
  origin_thread& stock(stock_server& s) {
    auto& o = add_origin([&s](servers::connection& c) { return std::make_unique<stock_handler>(c, s); });
    o.start();
    introduce(o, false);
    return o;
  }
  packet message(uint32_t n) const { return n % 25 == 0 ? key(5000 + 40 * n, 1 + n) : inter(5000 + 40 * n, 1 + n); }
  void send(rtmp_client& pub, uint32_t count) {
    for (const uint32_t end = sent_ + count; sent_ < end; ++sent_) {
      pub.publish(message(sent_));
      servers::test::run_turns(loop, 1);
    }
  }
  /// A stream with a viewer who has its first message.
  rtmp_client& viewer_of(rtmp_client& pub, const std::string& name) {
    auto& p = player(0, name);
    run_until(loop, [&] { return p.started; });
    send(pub, 1);
    EXPECT_TRUE(await(p, 1));
    return p;
  }
  void expect_all_once(rtmp_client& p) {
    ASSERT_TRUE(await(p, sent_)) << p.got.size() << " of " << sent_ << ::testing::PrintToString(p.codes);
    servers::test::run_turns(loop, 20);
    ASSERT_EQ(p.got.size(), sent_);
    for (uint32_t n = 0; n < sent_; ++n) ASSERT_EQ(p.got[n].body, message(n).body) << n;
    EXPECT_FALSE(p.ended);
    EXPECT_TRUE(log.of("viewers_gap").empty());
  }
  /// As the control thread tells of an owner.
  void tell_owner(const origin_thread& o, const std::string& name, const cluster::epoch& e, bool is_sluice) {
    const auto r = o.registration(is_sluice);
    cluster::assignment to;
    to.server_id = r.server;
    to.origin_id = r.server + "-s-1";
    to.rtmp = r.rtmp;
    to.is_sluice = is_sluice;
    to.epoch = e;
    control().on_owner_changed(key_of(name), to);
  }
  uint32_t sent_ = 0;
};

// Its viewers there have had what it was sent: nothing comes twice to them, and nothing is missing.
TEST_F(closing, a_publish_that_a_stock_origin_closed_goes_on_where_it_stopped) {
  relays.mode = relay_mode::per_viewer;
  relays.refusal_time = base::duration::zero();
  auto& o = origin(false);
  auto& pub = publisher(0, "a");
  auto& p = viewer_of(pub, "a");
  send(pub, 60);
  ASSERT_TRUE(await(p, sent_));
  o.kick_publishers();
  send(pub, 10);
  run_until(loop, [&] { return log.of("failed_over").size() == 1; });
  send(pub, 30);
  expect_all_once(p);
  EXPECT_EQ(o.published(), 1u);
}

// A store that has lost its last write names an owner of before: players go there when what they have has run dry.
TEST_F(closing, players_follow_to_an_owner_of_before_once_nothing_comes_any_more) {
  auto& o = origin(false);
  auto& pub = publisher(0, "a");
  auto& p = viewer_of(pub, "a");
  auto& former = origin(false);
  tell_owner(former, "a", {1, 1}, false);
  const auto end = runtime::loop::monotonic_now() + std::chrono::milliseconds(1500);
  while (runtime::loop::monotonic_now() < end) send(pub, 1);
  EXPECT_EQ(former.sessions(), 0u);
  ASSERT_TRUE(await(p, sent_));
  EXPECT_TRUE(run_until(loop, [&] { return former.sessions() == 1; }));
  EXPECT_TRUE(run_until(loop, [&] { return o.sessions() == 1; })) << "the publisher stays";
  EXPECT_FALSE(p.ended);
}

TEST_F(closing, what_is_said_of_the_present_owner_outdates_what_was_said_of_one_before) {
  auto& o = origin(false);
  auto& pub = publisher(0, "a");
  viewer_of(pub, "a");
  auto& former = origin(false);
  tell_owner(former, "a", {1, 1}, false);
  tell_owner(o, "a", store().records().at(0).second.epoch, false);
  const auto end = runtime::loop::monotonic_now() + std::chrono::milliseconds(2500);
  run_until(loop, [&] { return runtime::loop::monotonic_now() >= end; });
  EXPECT_EQ(former.sessions(), 0u);
}

// SRS asks its hooks after Publish.Start.
TEST_F(closing, a_close_before_any_media_is_a_refusal) {
  relays.refusal_time = base::duration::zero();
  stock_server s;
  s.ends_at = rtmp::data_amf0;
  stock(s);
  auto& pub = publisher(0, "a");
  pub.publish(metadata());
  run_until(loop, [&] { return pub.ended; });
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.BadName"});
  EXPECT_EQ(s.publishes, 1) << "it is not asked twice";
}

TEST_F(closing, a_close_soon_after_the_start_is_a_refusal) {
  relays.refusal_time = std::chrono::hours(1);
  stock_server s;
  s.ends_at = rtmp::video;
  stock(s);
  auto& pub = publisher(0, "a");
  pub.publish(key(0, 1));
  run_until(loop, [&] { return pub.ended; });
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.BadName"});
  EXPECT_EQ(s.publishes, 1);
}

TEST_F(closing, a_close_in_mid_session_is_none) {
  relays.refusal_time = base::duration::zero();
  stock_server s;
  s.ends_at = rtmp::video;
  stock(s);
  auto& pub = publisher(0, "a");
  pub.publish(key(0, 1));
  run_until(loop, [&] { return s.publishes == 2; });
  EXPECT_FALSE(pub.ended);
  pub.publish(inter(40, 2));
  run_until(loop, [&] { return pub.ended; });
  EXPECT_EQ(pub.codes, codes{"NetStream.Publish.Failed"});
  EXPECT_EQ(s.publishes, 2);
}

class fenced : public closing, public ::testing::WithParamInterface<relay_mode> {};

TEST_P(fenced, an_origin_of_ours_is_asked_for_anew) {
  relays.mode = GetParam();
  auto& o = origin();
  auto& pub = publisher(0, "a");
  auto& p = viewer_of(pub, "a");
  for (int round = 1; round <= 3; ++round) {
    send(pub, 20);
    ASSERT_TRUE(await(p, sent_));
    const auto before = o.epoch_of(key_of("a"));
    o.fence(key_of("a"));
    send(pub, 20);
    run_until(loop, [&] { return o.published() == 1 && o.epoch_of(key_of("a")) > before; });
    expect_all_once(p);
  }
  EXPECT_FALSE(pub.ended) << ::testing::PrintToString(pub.codes);
}

TEST_P(fenced, the_same_owner_under_a_higher_epoch_gets_the_stream_again) {
  relays.mode = GetParam();
  auto& o = origin();
  auto& pub = publisher(0, "a");
  auto& p = viewer_of(pub, "a");
  send(pub, 30);
  ASSERT_TRUE(await(p, sent_));
  auto e = o.epoch_of(key_of("a"));
  e.counter += 5;
  tell_owner(o, "a", e, true);
  run_until(loop, [&] { return o.epoch_of(key_of("a")) == e && o.published() == 1; });
  send(pub, 30);
  expect_all_once(p);
  EXPECT_FALSE(pub.ended);
  tell_owner(o, "a", e, true);
  send(pub, 10);
  expect_all_once(p);
  EXPECT_EQ(log.of("failed_over").size(), 1u) << "what is known is no news";
}

/// What was told while a drain was moving the stream counts when that move came to nothing.
TEST_P(fenced, a_higher_epoch_is_heard_of_after_a_move_that_was_refused) {
  relays.mode = GetParam();
  auto& o = origin();
  auto& pub = publisher(0, "a");
  send(pub, 30);
  ASSERT_TRUE(run_until(loop, [&] { return o.published() == 1; }));
  auto& second = origin();
  auto thaw = second.freeze();
  ASSERT_TRUE(control().drain("origin1", true));
  servers::test::run_turns(loop, 20);  // the move is under way, and gets no answer
  auto e = o.epoch_of(key_of("a"));
  e.counter += 1000;
  tell_owner(o, "a", e, true);
  servers::test::run_turns(loop, 20);
  EXPECT_NE(o.epoch_of(key_of("a")), e) << "not while it moves";
  EXPECT_TRUE(run_until(loop, [&] { return o.epoch_of(key_of("a")) == e && o.published() == 1; }));
  EXPECT_FALSE(pub.ended);
  thaw->set_value();
}

/// The answer to a claim is the newest word on the owner: what was told before it, while the stream had none, is over.
TEST_P(fenced, what_was_told_before_a_claim_was_answered_is_no_news) {
  relays.mode = GetParam();
  auto& first = origin();
  auto& pub = publisher(0, "a");
  send(pub, 30);
  ASSERT_TRUE(run_until(loop, [&] { return first.published() == 1; }));
  auto told = first.epoch_of(key_of("a"));
  told.counter += 1'000'000;
  first.die();
  ASSERT_TRUE(run_until(loop, [&] { return !log.of("origin_dead").empty(); }));
  servers::test::run_turns(loop, 20);
  tell_owner(first, "a", told, true);
  servers::test::run_turns(loop, 20);
  auto& second = origin();
  ASSERT_TRUE(run_until(loop, [&] { return second.published() == 1; }));
  const auto granted = second.epoch_of(key_of("a"));
  ASSERT_LT(granted, told);
  send(pub, 30);
  servers::test::run_turns(loop, 50);
  EXPECT_EQ(second.epoch_of(key_of("a")), granted);
  EXPECT_EQ(log.of("failed_over").size(), 1u);
  EXPECT_FALSE(pub.ended);
}

TEST_P(fenced, broken_connections_to_one_of_ours_end_no_play) {
  relays.mode = GetParam();
  auto& o = origin();
  auto& pub = publisher(0, "a");
  auto& p = viewer_of(pub, "a");
  send(pub, 10);
  ASSERT_TRUE(await(p, sent_));
  o.kick_all();
  run_until(loop, [&] { return log.of("pull_start").size() == 2 && log.of("failed_over").size() == 1; });
  o.kick_all();  // the publish, that was closed twice, ends: that is its own rule
  run_until(loop, [&] { return log.of("pull_start").size() == 3 && pub.ended; });
  EXPECT_FALSE(p.ended) << ::testing::PrintToString(p.codes);
}

INSTANTIATE_TEST_SUITE_P(modes, fenced, ::testing::Values(relay_mode::collapse, relay_mode::per_viewer),
                         [](const auto& test) {
                           return test.param == relay_mode::collapse ? "collapse" : "per_viewer";
                         });

TEST_F(closing, an_epoch_is_nothing_to_a_stock_origin) {
  stock_server s;
  auto& o = stock(s);
  auto& pub = publisher(0, "a");
  pub.publish(key(0, 1));
  tell_owner(o, "a", {UINT64_MAX / 2, 1}, false);
  servers::test::run_turns(loop, 50);
  EXPECT_EQ(s.publishes, 1);
  EXPECT_FALSE(pub.ended);
}

// An origin that lets two publish the same stream: each of them is to hear of an owner.
TEST_F(closing, no_publisher_hides_another_of_the_same_stream) {
  stock_server s, t;
  stock(s);
  auto& first = publisher(0, "a");
  auto& second = publisher(0, "a");
  EXPECT_EQ(s.publishes, 2);
  auto& other = stock(t);
  tell_owner(other, "a", {UINT64_MAX / 2, 1}, false);
  // Both ask again, and the book still names the first origin.
  run_until(loop, [&] { return s.publishes == 4; });
  second.leave();
  run_until(loop, [&] { return log.of("session_end").size() == 1; });
  tell_owner(other, "a", {UINT64_MAX / 2, 2}, false);
  run_until(loop, [&] { return s.publishes == 5; });
  EXPECT_FALSE(first.ended);
}

TEST_F(closing, one_of_ours_that_is_full_is_passed_over) {
  auto& full = add_origin({});
  full.limits.sessions = &full.one_session;
  const auto the_only = runtime::session_place::take(&full.one_session);
  full.start();
  introduce(full, true);
  auto& lives = origin();
  for (unsigned i = 0; i < 8; ++i) EXPECT_TRUE(publisher(i % 2, "s" + std::to_string(i)).codes.empty());
  EXPECT_EQ(lives.published(), 8u);
  EXPECT_FALSE(full.log.of("session_refused").empty()) << "it was tried";
}

// Nothing joins what came by numbers to what comes without.
TEST_F(closing, a_pull_that_goes_to_an_origin_without_numbers_counts_its_gap) {
  relays.mode = relay_mode::collapse;
  relays.replay_delay = base::duration::zero();
  auto& ours = origin();
  auto& pub = publisher(0, "a");
  auto& p = viewer_of(pub, "a");
  auto& other = origin(false);
  ours.die();
  run_until(loop, [&] { return other.published() == 1 && log.of("pull_start").size() == 2; });
  const auto before = p.got.size();
  send(pub, 30);
  run_until(loop, [&] { return p.got.size() > before; });
  EXPECT_EQ(log.of("viewers_gap").size(), 1u);
}

TEST(backoff_test, doubles_up_to_the_last_and_is_shortened_by_half_at_most) {
  std::minstd_rand random(7);
  base::duration whole = milliseconds(20);
  bool varies = false;
  for (unsigned tries = 0; tries < 100; ++tries, whole = std::min<base::duration>(2 * whole, seconds(1))) {
    const auto one = runtime::backoff(milliseconds(20), seconds(1), tries, random);
    const auto other = runtime::backoff(milliseconds(20), seconds(1), tries, random);
    for (const auto wait : {one, other}) {
      EXPECT_GE(wait, whole / 2) << tries;
      EXPECT_LE(wait, whole) << tries;
    }
    varies |= one != other;
  }
  EXPECT_TRUE(varies);
}

}  // namespace
}  // namespace sluice::relay::test
