#include "relay/rtc/relay.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <mutex>

#include "runtime/shard.hpp"
#include "runtime/socket_address.hpp"
#include "runtime/udp.hpp"

/// Two shards on threads of their own, between sockets of the test.
namespace sluice::relay {
namespace {

constexpr int patience_ms = 10'000;
const base::endpoint loopback = *base::endpoint::parse("127.0.0.1:0");

/// A blocking UDP socket.
class plain_socket {
 public:
  plain_socket() : fd_(::socket(AF_INET, SOCK_DGRAM, 0)) {
    const runtime::socket_address a(loopback);
    EXPECT_EQ(::bind(fd_, a.get(), a.size), 0);
  }
  ~plain_socket() { ::close(fd_); }
  base::endpoint at() const { return runtime::local_endpoint(fd_); }
  void send(const base::endpoint& to, std::string_view bytes) {
    const runtime::socket_address a(to);
    EXPECT_EQ(::sendto(fd_, bytes.data(), bytes.size(), 0, a.get(), a.size), static_cast<ssize_t>(bytes.size()));
  }
  /// Empty: nothing came within `ms`.
  std::string receive(base::endpoint* from = nullptr, int ms = patience_ms) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, ms) <= 0) return {};
    std::array<char, 2048> bytes;
    runtime::socket_address a;
    const auto n = ::recvfrom(fd_, bytes.data(), bytes.size(), 0, a.get(), &a.size);
    if (from) *from = a.to_endpoint();
    return n <= 0 ? std::string() : std::string(bytes.data(), static_cast<size_t>(n));
  }

 private:
  int fd_;
};

struct recorded_reports final : rtc_reports {
  void look_up(const std::string& username, const base::endpoint&, unsigned) override {
    const std::lock_guard lock(mutex);
    looked_up.push_back(username);
  }
  void failed(const std::shared_ptr<rtc_session>&, std::string_view reason) override {
    const std::lock_guard lock(mutex);
    failures.emplace_back(reason);
  }
  std::mutex mutex;
  std::vector<std::string> looked_up, failures;
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
    shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.add(s, {username, password}); });
    return s;
  }
  void remove(const std::shared_ptr<rtc_session>& s, const std::string& username) {
    s->over = true;
    shards.run_on_all([&](runtime::shard& x) { parts[x.index()]->relay.remove(s, {username}); });
  }
  void check(plain_socket& from, std::string username, bool nominate = false, std::string key = "password") {
    stun::draft d{.username = std::move(username), .key = std::move(key), .use_candidate = nominate};
    d.transaction = "transaction" + std::string(1, static_cast<char>('a' + ++transactions % 26));
    last_check = stun::write(d);
    from.send(at, last_check);
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
  rtc_config config;
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

TEST_F(rtc_relay_test, an_unknown_name_is_looked_up_once) {
  plain_socket client;
  for (int n = 0; n < 5; ++n) check(client, "who:me");
  EXPECT_TRUE(eventually([&] { return dropped("unknown_name") == 5; }));
  {
    const std::lock_guard lock(reports.mutex);
    EXPECT_EQ(reports.looked_up, std::vector<std::string>{"who:me"});
  }
  add("who:me");
  check(client, "who:me");
  EXPECT_EQ(origin.receive(), last_check) << "it was found";
  // A flood of names costs no more than there are look-ups.
  for (int n = 0; n < 1000; ++n) check(client, "flood" + std::to_string(n) + ":x");
  EXPECT_TRUE(eventually([&] { return dropped("rate") + dropped("unknown_name") >= 500; }));
  const std::lock_guard lock(reports.mutex);
  EXPECT_LE(reports.looked_up.size(), 300u);
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

}  // namespace
}  // namespace sluice::relay
