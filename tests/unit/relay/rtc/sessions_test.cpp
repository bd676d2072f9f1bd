#include "relay/rtc/sessions.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <map>

#include "cluster/store/memory_store.hpp"
#include "proto/stun/message.hpp"
#include "relay/rtc/record.hpp"
#include "runtime/shard.hpp"
#include "unit/relay/plain_socket.hpp"
#include "unit/servers/support.hpp"

/// The control thread's side, on the test's own; a store that answers when the test says so; one shard.
namespace sluice::relay {
namespace {

using servers::test::run_turns;
using servers::test::run_until;

struct slow_store final : cluster::session_store {
  void put(const std::string& key, const std::string& value, base::duration) override { values[key] = value; }
  void get(const std::string& key, on_value done) override { asked.emplace_back(key, std::move(done)); }
  void drop(const std::string& key) override { values.erase(key); }
  void end(const std::string& key) override {
    drop(key);
    ended.push_back(key);
  }
  /// The question asked first.
  void answer() {
    const auto [key, done] = std::move(asked.front());
    asked.pop_front();
    const auto at = values.find(key);
    done(at == values.end() ? std::nullopt : std::optional(at->second));
  }
  std::map<std::string, std::string> values;
  std::vector<std::string> ended;
  std::deque<std::pair<std::string, on_value>> asked;
};

struct rtc_sessions_test : testing::Test {
  struct part {
    part(runtime::shard& s, rtc_sessions_test& t)
        : io(s.loop(), t.shard_metrics),
          relay({0, s.loop(), io, t.shard_metrics, t.config, nullptr, t.sessions, t.relays, 7}) {}
    runtime::udp_io io;
    rtc_relay relay;
  };

  void SetUp() override {
    shards.start();
    shards.run_on_all([&](runtime::shard& s) {
      only = std::make_unique<part>(s, *this);
      relays[0] = &only->relay;
    });
    sessions.attach(relays);
  }
  void TearDown() override { close(); }
  /// As the proxy does it.
  void close() {
    shards.run_on_all([&](runtime::shard&) {
      if (only) only->relay.stop();
    });
    sessions.close("upgraded");
    shards.run_on_all([](runtime::shard&) {});
    shards.run_on_all([&](runtime::shard&) { only.reset(); });
  }

  /// What another proxy has left of a session of the stream a.
  void leave_record(const std::string& username, rtc_kind kind, const std::string& stream) {
    store.values[rtc_username_key(username)] =
        text_of(rtc_record{key_of(stream).str(), username, "o1-s-1", "password", origin.at().to_string(), kind,
                           "/rtc/v1/resource/" + username, "/own/7"});
  }
  int64_t dropped(const std::string& reason) {
    int64_t n = rtc_dropped(metrics, reason).value();
    shards.run_on_all([&](runtime::shard&) { n += rtc_dropped(shard_metrics, reason).value(); });
    return n;
  }
  static cluster::stream_key key_of(const std::string& stream) { return {"__defaultVhost__", "live", stream}; }
  static std::string check_of(const std::string& username, const std::string& password = "password") {
    return stun::write({.username = username, .key = password});
  }
  /// Of the client, or a stranger if it is another password.
  void look_up(const std::string& username, const std::string& password = "password") {
    const auto* from = password == "password" ? "127.0.0.9:999" : "127.0.0.10:999";
    sessions.look_up({username, {*base::endpoint::parse(from), {}}, 0, check_of(username, password)});
  }
  /// The same, until the director has been asked.
  void begin_to_resume(const std::string& username) {
    look_up(username);
    ASSERT_TRUE(run_until(control, [&] { return !store.asked.empty(); }));
    store.answer();
    run_turns(control);
  }
  /// A publisher of the stream a who has come from another proxy; nullptr: he has not.
  rtc_entry* resumed(const std::string& username) {
    introduce_origin();
    leave_record(username, rtc_kind::publish, "a");
    begin_to_resume(username);
    EXPECT_TRUE(run_until(control, [&] { return sessions.count() == 1; }));
    return sessions.find_username(username);
  }
  void introduce_origin() {
    cluster::origin_registration r;
    r.server = "o1";
    r.service = "s";
    r.pid = "1";
    r.ip = "127.0.0.1";
    r.address = *base::ip_address::parse(r.ip);
    r.rtmp = {{r.address, 1935}};
    r.api = {{r.address, 1985}};
    ASSERT_TRUE(owners.registration(r));
  }
  bool is_owned(const std::string& stream) {
    for (const auto& s : owners.streams())
      if (s.key == key_of(stream) && !s.origin_id.empty()) return true;
    return false;
  }

  test::plain_socket origin;
  runtime::loop control;
  servers::test::memory_log log;
  base::metrics metrics, shard_metrics;
  cluster::memory_store owner_store{[] { return runtime::loop::monotonic_now(); }};
  director owners{control, {.proxy_id = "p1", .seed = 3}, owner_store, log, metrics};
  slow_store store;
  rtc_config config;
  rtc_sessions sessions{{control, owners, store, config, log, metrics}};
  runtime::shard_group shards{1};
  std::vector<rtc_relay*> relays{1};
  std::unique_ptr<part> only;
};

TEST_F(rtc_sessions_test, what_another_proxy_left_is_resumed) {
  auto* e = resumed("pub:me");
  ASSERT_NE(e, nullptr);
  EXPECT_EQ(sessions.find_location("/rtc/v1/resource/pub:me"), e);
  EXPECT_EQ(e->resource, "/own/7");
  // And left for the next one again, by each name that the client has.
  store.values.clear();
  sessions.add_credentials(*e, {"new:me", "another"});
  for (const auto& [name, password] : {std::pair("pub:me", "password"), std::pair("new:me", "another")}) {
    const auto left = parse_rtc_record(store.values[rtc_username_key(name)]);
    ASSERT_TRUE(left) << name;
    EXPECT_EQ(left->location, "/rtc/v1/resource/pub:me");
    EXPECT_EQ(left->resource, "/own/7");
    EXPECT_EQ(left->password, password);
  }
  EXPECT_TRUE(is_owned("a"));
  // Who asks what happened to the stream hears of what kind its publisher is.
  const auto is_told = [&] {
    for (const auto& event : owners.explain(key_of("a")))
      if (event.what == "webrtc") return event.origin == "o1-s-1" && event.reason == e->session->id;
    return false;
  };
  EXPECT_TRUE(run_until(control, is_told));
}

TEST_F(rtc_sessions_test, the_check_that_was_looked_up_goes_on_at_once) {
  introduce_origin();
  leave_record("play:me", rtc_kind::play, "a");
  leave_record("pub:me", rtc_kind::publish, "a");
  begin_to_resume("pub:me");
  ASSERT_TRUE(run_until(control, [&] { return sessions.count() == 1; }));
  EXPECT_EQ(origin.receive(), check_of("pub:me"));
  begin_to_resume("play:me");
  ASSERT_TRUE(run_until(control, [&] { return sessions.count() == 2; }));
  EXPECT_EQ(origin.receive(), check_of("play:me"));
}

TEST_F(rtc_sessions_test, who_has_not_the_password_resumes_nothing) {
  introduce_origin();
  leave_record("pub:me", rtc_kind::publish, "a");
  look_up("pub:me", "a guess");
  look_up("pub:me", "another");
  ASSERT_TRUE(run_until(control, [&] { return !store.asked.empty(); }));
  run_turns(control);
  EXPECT_EQ(store.asked.size(), 1u);
  store.answer();
  run_turns(control);
  EXPECT_EQ(dropped("bad_integrity"), 2);
  EXPECT_EQ(sessions.count(), 0u);
  EXPECT_FALSE(is_owned("a"));
  EXPECT_TRUE(log.of("rtc_resumed").empty());
  EXPECT_EQ(dropped("unknown_name"), 0) << "the name is not taken for one that nobody has";
  // The client itself, with strangers around it.
  look_up("pub:me", "a guess");
  look_up("pub:me");
  look_up("pub:me", "another");
  ASSERT_TRUE(run_until(control, [&] { return !store.asked.empty(); }));
  run_turns(control);
  store.answer();
  ASSERT_TRUE(run_until(control, [&] { return sessions.count() == 1; }));
  EXPECT_EQ(origin.receive(), check_of("pub:me"));
  EXPECT_TRUE(run_until(control, [&] { return dropped("bad_integrity") == 4; })) << "by the shard";
  EXPECT_EQ(origin.receive(nullptr, 0), "");
  EXPECT_TRUE(is_owned("a"));
}

TEST_F(rtc_sessions_test, one_hosts_many_addresses_are_one_source) {
  config.sessions_per_source_max = 3;
  const auto at = [](const std::string& address) { return *base::endpoint::parse("[" + address + "]:999"); };
  for (int n = 1; n <= 3; ++n) {
    const auto client = at("2001:db8:1:2::" + std::to_string(n));
    ASSERT_TRUE(sessions.admit(client.address));
    sessions.open({.id = "7",
                   .key = key_of("a"),
                   .client = client,
                   .to = {},
                   .origin = origin.at(),
                   .credentials = {std::to_string(n) + ":me", "password"},
                   .location = {},
                   .resource = {}});
  }
  EXPECT_EQ(sessions.admit(at("2001:db8:1:2:3::4").address).error().reason, "too_many_of_source");
  EXPECT_TRUE(sessions.admit(at("2001:db8:1:3::4").address));
  sessions.end(sessions.find_username("2:me")->session, "deleted");
  EXPECT_TRUE(sessions.admit(at("2001:db8:1:2:3::4").address));
}

TEST_F(rtc_sessions_test, a_session_whose_client_never_came_leaves_its_record) {
  config.consent = std::chrono::milliseconds(1);
  introduce_origin();
  cluster::assignment to;
  to.origin_id = "o1-s-1";
  sessions.open({.id = "7",
                 .key = key_of("a"),
                 .client = *base::endpoint::parse("127.0.0.9:999"),
                 .to = to,
                 .origin = origin.at(),
                 .credentials = {"play:me", "password"},
                 .location = {},
                 .resource = {}});
  ASSERT_TRUE(run_until(control, [&] { return sessions.count() == 0; }));
  EXPECT_EQ(log.of("session_end").size(), 1u);
  EXPECT_TRUE(store.values.contains(rtc_username_key("play:me"))) << "it may be at another proxy";
}

TEST_F(rtc_sessions_test, many_are_looked_up_at_once_and_no_more) {
  constexpr size_t many = 5000, room = 4096;
  for (size_t n = 0; n < many; ++n) look_up(std::to_string(n) + ":me");
  ASSERT_TRUE(run_until(control, [&] { return dropped("busy") == static_cast<int64_t>(many - room); }));
  EXPECT_EQ(store.asked.size(), room);
  while (!store.asked.empty()) store.answer();
  EXPECT_TRUE(run_until(control, [&] { return dropped("unknown_name") == room; }));
  // And of one name.
  for (int n = 0; n < 20; ++n) look_up("one:me");
  ASSERT_TRUE(run_until(control, [&] { return dropped("busy") == static_cast<int64_t>(many - room + 12); }));
  EXPECT_EQ(store.asked.size(), 1u);
}

TEST_F(rtc_sessions_test, names_that_are_forgotten_are_forgotten_everywhere) {
  auto* e = resumed("pub:me");
  ASSERT_NE(e, nullptr);
  for (const char c : std::string("abcdef")) sessions.add_credentials(*e, {std::string(1, c) + ":me", "password"});
  std::vector<std::string> left;
  for (const auto& [key, value] : store.values)
    if (key.starts_with(rtc_username_key(""))) left.push_back(key.substr(rtc_username_key("").size()));
  EXPECT_EQ(left, (std::vector<std::string>{"d:me", "e:me", "f:me", "pub:me"})) << "the first is that of its Location";
  const auto names = [&] {
    size_t n = 0;
    shards.run_on_all([&](runtime::shard&) { n = only->relay.names(); });
    return n;
  };
  EXPECT_EQ(names(), 4u);
  EXPECT_EQ(sessions.find_username("a:me"), nullptr);
  EXPECT_EQ(sessions.find_username("pub:me"), e);
  sessions.end(e->session, "deleted");
  EXPECT_EQ(names(), 0u);
}

TEST_F(rtc_sessions_test, what_another_proxy_has_ended_ends_here) {
  introduce_origin();
  leave_record("pub:me", rtc_kind::publish, "a");
  begin_to_resume("pub:me");
  ASSERT_TRUE(run_until(control, [&] { return sessions.count() == 1; }));
  sessions.add_credentials(*sessions.find_username("pub:me"), {"new:me", "another"});
  ASSERT_TRUE(store.on_ended);
  store.on_ended(rtc_username_key("no:body"));
  store.on_ended("srs-proxy-rtc:" + key_of("a").str());
  EXPECT_EQ(sessions.count(), 1u);
  store.on_ended(rtc_username_key("new:me"));
  EXPECT_EQ(sessions.count(), 0u);
  EXPECT_EQ(log.of("session_end").at(0).field("reason"), "deleted");
  for (const char* name : {"pub:me", "new:me"}) EXPECT_FALSE(store.values.contains(rtc_username_key(name))) << name;
}

TEST_F(rtc_sessions_test, one_that_is_in_the_store_alone_is_ended_there_and_told_to_others) {
  leave_record("pub:me", rtc_kind::publish, "a");
  sessions.end_everywhere("pub:me");
  EXPECT_FALSE(store.values.contains(rtc_username_key("pub:me")));
  EXPECT_EQ(store.ended, std::vector<std::string>{rtc_username_key("pub:me")});
}

TEST_F(rtc_sessions_test, a_look_up_on_its_way_ends_with_the_sessions) {
  look_up("ab:cd");
  close();
  run_turns(control);
  EXPECT_TRUE(store.asked.empty());
}

TEST_F(rtc_sessions_test, the_stores_answer_comes_too_late_after_the_end) {
  leave_record("is:there", rtc_kind::publish, "a");
  introduce_origin();
  for (const auto* name : {"is:there", "not:there"}) look_up(name);
  ASSERT_TRUE(run_until(control, [&] { return store.asked.size() == 2; }));
  close();
  store.answer();
  store.answer();
  run_turns(control);
  EXPECT_EQ(sessions.count(), 0u);
  EXPECT_FALSE(is_owned("a"));
}

TEST_F(rtc_sessions_test, claims_and_questions_under_way_end_with_the_sessions) {
  leave_record("pub:me", rtc_kind::publish, "a");
  leave_record("play:me", rtc_kind::play, "b");
  begin_to_resume("pub:me");
  begin_to_resume("play:me");
  close();
  close();
  // Now both could be answered.
  introduce_origin();
  bool done = false;
  owners.claim(control, key_of("b"), {.session = "another"}, [&](const base::result<cluster::assignment>& granted) {
    EXPECT_TRUE(granted);
    done = true;
  });
  ASSERT_TRUE(run_until(control, [&] { return done; }));
  run_turns(control);
  EXPECT_EQ(sessions.count(), 0u);
  EXPECT_FALSE(is_owned("a"));
  EXPECT_TRUE(log.of("rtc_resumed").empty());
}

}  // namespace
}  // namespace sluice::relay
