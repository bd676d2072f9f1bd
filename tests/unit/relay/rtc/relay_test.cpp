#include "relay/rtc/relay.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <mutex>

#include "runtime/shard.hpp"
#include "runtime/udp.hpp"
#include "unit/relay/plain_socket.hpp"

/// Two shards on threads of their own, between sockets of the test.
namespace sluice::relay {
namespace {

using test::loopback;
using test::patience_ms;
using test::plain_socket;

struct recorded_reports final : rtc_reports {
  void look_up(rtc_lookup check) override {
    const std::lock_guard lock(mutex);
    looked_up.push_back(check.username);
    last_lookup = std::move(check);
  }
  void failed(const std::shared_ptr<rtc_session>&, std::string_view reason) override {
    const std::lock_guard lock(mutex);
    failures.emplace_back(reason);
  }
  std::mutex mutex;
  std::vector<std::string> looked_up, failures;
  rtc_lookup last_lookup;
};

struct rtc_relay_test : testing::Test {
  struct part {
    part(runtime::shard& s, rtc_relay_test& t)
        : io(s.loop(), t.metrics[s.index()]),
          relay({static_cast<unsigned>(s.index()), s.loop(), io, t.metrics[s.index()], t.config, &t.descriptors,
                 t.reports, t.relays, 7}) {}
    runtime::udp_io io;
    rtc_relay relay;
  };

  void SetUp() override {
    const auto reserved = runtime::reserve_udp_port(loopback);
    ASSERT_TRUE(reserved);
    at = reserved->first;
    shards.start();
    shards.run_on_all([&](runtime::shard& s) {
      parts[s.index()] = std::make_unique<part>(s, *this);
      relays[s.index()] = &parts[s.index()]->relay;
    });
    shards.run_on_all([&](runtime::shard& s) { EXPECT_TRUE(parts[s.index()]->relay.listen(at)); });
    ::close(reserved->second);
  }
  void TearDown() override {
    shards.run_on_all([&](runtime::shard& s) { parts[s.index()]->relay.stop(); });
    shards.run_on_all([](runtime::shard&) {});
    shards.run_on_all([&](runtime::shard& s) { parts[s.index()].reset(); });
    EXPECT_EQ(descriptors.left(), descriptors_max);
  }

  std::shared_ptr<rtc_session> add(std::string username, std::string password = "password") {
    auto s = std::make_shared<rtc_session>();
    s->origin = origin.at();
    add_name(s, username, password);
    return s;
  }
  void add_name(const std::shared_ptr<rtc_session>& s, const std::string& username,
                const std::string& password = "password") {
    shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.add(s, {username, password}); });
  }
  void remove(const std::shared_ptr<rtc_session>& s, const std::string& username) {
    s->over = true;
    shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.remove(s, {username}); });
  }
  void check(plain_socket& from, std::string username, bool nominate = false, std::string key = "password") {
    stun::draft d{.username = std::move(username), .key = std::move(key), .use_candidate = nominate};
    d.transaction = fmt::format("{:012}", ++transactions);
    last_check = stun::write(d);
    from.send(at, last_check);
  }
  /// The shard that the socket's datagrams come in at.
  size_t shard_of(plain_socket& client) {
    const auto s = add("which:shard");
    check(client, "which:shard");
    EXPECT_EQ(origin.receive(), last_check);
    remove(s, "which:shard");
    return static_cast<size_t>(s->home.load());
  }
  using clients = std::vector<std::unique_ptr<plain_socket>>;
  /// New sockets whose datagrams come in there.
  clients clients_at(size_t shard, size_t count) {
    clients those, others;  // the latter stay open meanwhile: their ports would come again
    while (those.size() < count) {
      auto next = std::make_unique<plain_socket>();
      auto& list = shard_of(*next) == shard ? those : others;
      list.push_back(std::move(next));
    }
    return those;
  }
  /// `task` sends while that shard reads nothing: what it gets is one batch.
  void in_one_batch(size_t shard, const std::function<void()>& task) {
    shards.run_on_all([&](runtime::shard& x) {
      if (x.index() == shard) task();
    });
  }
  int64_t dropped(const std::string& reason) {
    int64_t all = 0;
    for (auto& m : metrics)
      all +=
          m.counter("sluice_rtc_dropped_total", "Datagrams of WebRTC clients that went nowhere.", {{"reason", reason}})
              .value();
    return all;
  }
  /// What was sent before is dealt with when this returns.
  void settle() {
    for (int n = 0; n < 3; ++n) shards.run_on_all([](runtime::shard&) {});
  }
  template <typename P>
  bool eventually(P&& holds) {
    for (int n = 0; n < patience_ms; ++n, ::poll(nullptr, 0, 1)) {
      settle();
      if (holds()) return true;
    }
    return false;
  }

  static constexpr long descriptors_max = 100;
  rtc_config config{.lookups_per_second = 100, .lookups_burst = 50};
  runtime::descriptor_budget descriptors{descriptors_max};
  recorded_reports reports;
  runtime::shard_group shards{2};
  std::deque<base::metrics> metrics{2};
  std::array<std::unique_ptr<part>, 2> parts;
  std::vector<rtc_relay*> relays{2};
  base::endpoint at;
  plain_socket origin;
  std::string last_check;
  unsigned transactions = 0;
};

TEST_F(rtc_relay_test, a_check_opens_the_way_to_and_fro) {
  const auto s = add("ab:cd");
  plain_socket client;
  client.send(at, "\x16too early");
  EXPECT_TRUE(eventually([&] { return dropped("unknown_address") == 1; }));
  check(client, "ab:cd");
  base::endpoint proxy;
  EXPECT_EQ(origin.receive(&proxy), last_check);
  origin.send(proxy, "\x80to the client");
  EXPECT_EQ(client.receive(), "\x80to the client");
  client.send(at, "\x16hello");
  EXPECT_EQ(origin.receive(), "\x16hello");
  EXPECT_TRUE(eventually([&] { return s->bytes_out == 14; }));
  EXPECT_EQ(s->bytes_in, last_check.size() + 6);
  EXPECT_EQ(descriptors.left(), descriptors_max - 1);

  remove(s, "ab:cd");
  EXPECT_EQ(descriptors.left(), descriptors_max);
  client.send(at, "\x80too late");
  EXPECT_TRUE(eventually([&] { return dropped("unknown_address") == 2; }));
  EXPECT_EQ(origin.receive(nullptr, 0), "");
}

TEST_F(rtc_relay_test, who_has_no_right_reaches_nobody) {
  add("ab:cd");
  plain_socket stranger;
  check(stranger, "ab:cd", false, "another password");
  EXPECT_TRUE(eventually([&] { return dropped("bad_integrity") == 1; }));
  check(stranger, "ab:cd", false, "");
  EXPECT_TRUE(eventually([&] { return dropped("bad_integrity") == 2; }));
  auto broken = last_check;
  broken.back() = static_cast<char>(broken.back() ^ 1);
  stranger.send(at, broken);
  EXPECT_TRUE(eventually([&] { return dropped("bad_stun") == 1; }));
  stranger.send(at, "\x80media");
  EXPECT_TRUE(eventually([&] { return dropped("unknown_address") == 1; }));
  EXPECT_EQ(origin.receive(nullptr, 0), "");
  EXPECT_EQ(stranger.receive(nullptr, 0), "");
}

TEST_F(rtc_relay_test, forged_checks_from_the_clients_own_address_change_nothing) {
  const auto two = clients_at(0, 2);
  plain_socket &client = *two[0], &old = *two[1];
  const auto s = add("ab:cd");
  check(old, "ab:cd", true);
  base::endpoint proxy;
  ASSERT_EQ(origin.receive(&proxy), last_check);
  check(client, "ab:cd", true);
  ASSERT_EQ(origin.receive(), last_check);
  const auto checked_at = s->client_at.load();
  // As many as would take up what the address, or the session, may send of its own.
  for (int n = 0; n < 1000; n += 10) {
    for (int k = 0; k < 10; ++k) check(n % 20 == 0 ? client : old, "ab:cd", true, "a guess");
    ASSERT_TRUE(eventually([&] { return dropped("bad_integrity") == n + 10; }));
  }
  EXPECT_EQ(s->client_at, checked_at) << "consent is not renewed by them";
  origin.send(proxy, "\x80to the client");
  EXPECT_EQ(client.receive(), "\x80to the client");
  check(client, "ab:cd");
  EXPECT_EQ(origin.receive(), last_check);
  plain_socket moved;
  check(moved, "ab:cd");
  EXPECT_EQ(origin.receive(), last_check);
  EXPECT_GT(s->client_at, checked_at);
  EXPECT_EQ(dropped("rate"), 0);
}

struct rtc_relay_of_few_verifications : rtc_relay_test {
  rtc_relay_of_few_verifications() {
    config.verifications_per_second = 100;
    config.verifications_burst = 500;
  }
};

TEST_F(rtc_relay_of_few_verifications, makes_no_more) {
  add("ab:cd");
  plain_socket client;
  check(client, "ab:cd");
  ASSERT_EQ(origin.receive(), last_check);
  EXPECT_TRUE(eventually([&] {
    for (int n = 0; n < 2000; ++n) check(client, "ab:cd", false, "a guess");
    return dropped("rate") > 0;
  }));
  EXPECT_EQ(origin.receive(nullptr, 0), "");
}

TEST_F(rtc_relay_test, a_copy_of_a_check_from_elsewhere_moves_nothing) {
  for (size_t shard = 0; shard < 2; ++shard) {
    const auto home = clients_at(0, 1), thieves = clients_at(shard, 2);
    const auto name = "ab:c" + std::to_string(shard);
    const auto s = add(name);
    check(*home[0], name, true);
    base::endpoint proxy;
    ASSERT_EQ(origin.receive(&proxy), last_check);
    ASSERT_EQ(s->home, 0);
    const auto checked_at = s->client_at.load();
    for (const auto& thief : thieves) thief->send(at, last_check);
    ASSERT_TRUE(eventually([&] { return dropped("replayed") == static_cast<int64_t>(2 * shard + 2); }));
    origin.send(proxy, "\x80to the client");
    EXPECT_EQ(home[0]->receive(), "\x80to the client");
    for (const auto& thief : thieves) EXPECT_EQ(thief->receive(nullptr, 0), "");
    thieves[0]->send(at, "\x80media");
    EXPECT_EQ(s->client_at, checked_at);
    home[0]->send(at, last_check);
    EXPECT_EQ(origin.receive(), last_check) << "sent again by its client";
    // Its client's next check will do, from wherever that comes.
    check(*thieves[1], name, true);
    EXPECT_EQ(origin.receive(), last_check);
    origin.send(proxy, "\x80to its new address");
    EXPECT_EQ(thieves[1]->receive(), "\x80to its new address");
    remove(s, name);
  }
}

TEST_F(rtc_relay_test, a_name_that_is_forgotten_and_a_session_that_is_over_are_nobodys) {
  const auto s = add("first:name");
  add_name(s, "second:name");
  shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.forget(s, "first:name"); });
  plain_socket client;
  check(client, "first:name");
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(reports.mutex);
    return reports.looked_up == std::vector<std::string>{"first:name"};
  }));
  check(client, "second:name");
  EXPECT_EQ(origin.receive(), last_check);
  // It has ended, and the shards have not been told yet.
  s->over = true;
  const auto other = add("other:name");
  other->over = true;
  check(client, "second:name");
  check(client, "other:name");
  EXPECT_TRUE(eventually([&] { return dropped("over") == 2; }));
  EXPECT_EQ(origin.receive(nullptr, 0), "");
  EXPECT_EQ(other->home, rtc_session::homeless);
  remove(s, "second:name");
}

TEST_F(rtc_relay_test, checks_with_an_unknown_name_are_looked_up) {
  plain_socket client;
  const auto looked_up = [&] {
    const std::lock_guard lock(reports.mutex);
    return reports.looked_up.size();
  };
  // Each, until it is known whether there is such a session: any of them may be its client's.
  for (int n = 0; n < 5; ++n) check(client, "who:me");
  EXPECT_TRUE(eventually([&] { return looked_up() == 5; }));
  EXPECT_EQ(reports.last_lookup.username, "who:me");
  EXPECT_EQ(reports.last_lookup.from.peer, client.at());
  EXPECT_EQ(reports.last_lookup.bytes, last_check);
  shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.miss("who:me", 2); });
  EXPECT_EQ(dropped("unknown_name"), 4);
  check(client, "who:me");
  EXPECT_TRUE(eventually([&] { return dropped("unknown_name") == 5; }));
  EXPECT_EQ(looked_up(), 5u);
  // It was found after all; what was looked up goes on without another.
  const auto s = add("who:me");
  shards.run_on_all([&](runtime::shard& x) {
    if (x.index() == reports.last_lookup.shard) parts[x.index()]->relay.retry(reports.last_lookup);
  });
  base::endpoint proxy;
  EXPECT_EQ(origin.receive(&proxy), reports.last_lookup.bytes);
  origin.send(proxy, "\x80to the client");
  EXPECT_EQ(client.receive(), "\x80to the client");
  // Or it has ended meanwhile.
  remove(s, "who:me");
  shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.retry(reports.last_lookup); });
  EXPECT_EQ(dropped("unknown_name"), 7);
  EXPECT_EQ(looked_up(), 5u);
  // A flood of names costs no more than there are look-ups.
  for (int n = 0; n < 1000; ++n) check(client, "flood" + std::to_string(n) + ":x");
  EXPECT_TRUE(eventually([&] { return dropped("rate") >= 500; }));
  EXPECT_LE(looked_up(), 300u);
}

TEST_F(rtc_relay_test, a_session_follows_its_client_over_shards) {
  const auto s = add("ab:cd");
  base::endpoint proxy;
  std::deque<plain_socket> addresses;
  std::array<int, 2> homes{};
  for (int n = 0; n < 20; ++n) {
    auto& client = addresses.emplace_back();
    check(client, "ab:cd", true);
    base::endpoint from;
    ASSERT_EQ(origin.receive(&from), last_check);
    if (n == 0) proxy = from;
    EXPECT_EQ(from, proxy) << "its socket goes with it";
    origin.send(proxy, "\x80 number " + std::to_string(n));
    EXPECT_EQ(client.receive(), "\x80 number " + std::to_string(n));
    client.send(at, "\x80 back");
    EXPECT_EQ(origin.receive(), "\x80 back");
    ++homes[static_cast<size_t>(s->home.load())];
    if (n == 0) continue;
    // What the old address still sends arrives.
    addresses[addresses.size() - 2].send(at, "\x80 late");
    EXPECT_EQ(origin.receive(), "\x80 late");
  }
  EXPECT_GT(homes[0], 0);
  EXPECT_GT(homes[1], 0);
  EXPECT_EQ(descriptors.left(), descriptors_max - 1);
  size_t peers = 0;
  std::mutex mutex;
  shards.run_on_all([&](runtime::shard& x) {
    const std::lock_guard lock(mutex);
    peers += parts[x.index()]->relay.peers();
  });
  EXPECT_LE(peers, 2 * rtc_paths::paths_max);
  remove(s, "ab:cd");
  EXPECT_EQ(descriptors.left(), descriptors_max);
}

TEST_F(rtc_relay_test, a_burst_passes_whole) {
  add("ab:cd");
  plain_socket client;
  check(client, "ab:cd");
  base::endpoint proxy;
  ASSERT_EQ(origin.receive(&proxy), last_check);
  for (int n = 0; n < 40; ++n) client.send(at, "\x80" + std::string(1000, static_cast<char>(n)));
  for (int n = 0; n < 40; ++n) ASSERT_EQ(origin.receive(), "\x80" + std::string(1000, static_cast<char>(n)));
  for (int n = 0; n < 40; ++n) origin.send(proxy, "\x80" + std::string(n == 20 ? 10 : 1000, static_cast<char>(n)));
  for (int n = 0; n < 40; ++n)
    ASSERT_EQ(client.receive(), "\x80" + std::string(n == 20 ? 10 : 1000, static_cast<char>(n)));
}

TEST_F(rtc_relay_test, an_origin_where_nobody_listens_is_reported) {
  auto gone = std::make_unique<plain_socket>();
  auto s = std::make_shared<rtc_session>();
  s->origin = gone->at();
  gone.reset();
  shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.add(s, {"ab:cd", "password"}); });
  plain_socket client;
  check(client, "ab:cd");
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(reports.mutex);
    return reports.failures == std::vector<std::string>{"origin_unreachable"};
  }));
}

TEST_F(rtc_relay_test, without_descriptors_a_session_fails) {
  while (descriptors.take()) {
  }
  add("ab:cd");
  plain_socket client;
  check(client, "ab:cd");
  EXPECT_TRUE(eventually([&] {
    const std::lock_guard lock(reports.mutex);
    return reports.failures == std::vector<std::string>{"no_descriptors"};
  }));
  for (long n = 0; n < descriptors_max; ++n) descriptors.give();
}

TEST_F(rtc_relay_test, an_address_may_become_another_sessions) {
  plain_socket other_origin;
  const auto first = add("ab:cd");
  auto second = std::make_shared<rtc_session>();
  second->origin = other_origin.at();
  shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.add(second, {"ef:gh", "password"}); });
  plain_socket client;
  check(client, "ab:cd");
  ASSERT_EQ(origin.receive(), last_check);
  check(client, "ef:gh");
  ASSERT_EQ(other_origin.receive(), last_check);
  client.send(at, "\x80 media");
  EXPECT_EQ(other_origin.receive(), "\x80 media");
  remove(first, "ab:cd");
  client.send(at, "\x80 more");
  EXPECT_EQ(other_origin.receive(), "\x80 more");
}

TEST_F(rtc_relay_test, the_address_heard_longest_ago_makes_way) {
  const auto all = clients_at(0, rtc_paths::paths_max + 1);
  add("ab:cd");
  in_one_batch(0, [&] {
    for (size_t n = 0; n < rtc_paths::paths_max; ++n) check(*all[n], "ab:cd");
    all[0]->send(at, "\x80 here still");
    check(*all.back(), "ab:cd");
  });
  for (size_t n = 0; n < all.size() + 1; ++n) ASSERT_NE(origin.receive(), "");
  in_one_batch(0, [&] {
    all[1]->send(at, "\x80 once");
    all[1]->send(at, "\x80 twice");
    all[0]->send(at, "\x80 the first");
    all[2]->send(at, "\x80 the third");
  });
  EXPECT_EQ(origin.receive(), "\x80 the first");
  EXPECT_EQ(origin.receive(), "\x80 the third");
  EXPECT_EQ(dropped("unknown_address"), 2);
  EXPECT_EQ(dropped("no_consent"), 0);
}

TEST_F(rtc_relay_test, an_address_that_has_lost_its_consent_is_forgotten_at_once) {
  // One of them elsewhere: home knows of nine, of which one makes way, but all that come in there are eight.
  const auto here = clients_at(0, rtc_paths::paths_max), elsewhere = clients_at(1, 1);
  const auto s = add("ab:cd");
  check(*here[0], "ab:cd", true);
  ASSERT_EQ(origin.receive(), last_check);
  in_one_batch(0, [&] {
    for (size_t n = 1; n < here.size(); ++n) check(*here[n], "ab:cd");
    here[0]->send(at, "\x80 here still");
  });
  for (size_t n = 0; n < here.size(); ++n) ASSERT_NE(origin.receive(), "");
  check(*elsewhere[0], "ab:cd");
  ASSERT_EQ(origin.receive(), last_check);
  ASSERT_EQ(s->home, 0);
  in_one_batch(0, [&] {
    for (int n = 0; n < 3; ++n) here[1]->send(at, "\x80 " + std::to_string(n));
    here[2]->send(at, "\x80 the third");
  });
  EXPECT_EQ(origin.receive(), "\x80 the third");
  EXPECT_EQ(dropped("no_consent"), 1);
  EXPECT_EQ(dropped("unknown_address"), 2);
}

}  // namespace
}  // namespace sluice::relay
