#include "cluster/store/redis_drains.hpp"

#include <memory>

#include "unit/runtime/redis/redis_test_tools.hpp"

namespace sluice::cluster {
namespace {

using ids = std::set<std::string>;

/// What one proxy knows of drains. What it tells the others is kept for the test to pass on.
struct proxy {
  proxy(runtime::loop& l, runtime::redis_client& client, base::log_sink& log)
      : drains(
            l, client, redis_keys("x"), log,
            [this, &client](const std::string& id, const redis_drains::word& said, auto done) {
              if (refuses_to_tell-- > 0)
                return client.call("", {"NO-SUCH-COMMAND"},
                                   [done](const auto&) { done(base::fail("store_unavailable", "by the test")); });
              told.emplace_back(id, said);
              client.call("", {"PING"}, std::move(done));
            },
            [this] { ++news; }) {}

  std::vector<std::pair<std::string, redis_drains::word>> told;
  int refuses_to_tell = 0;
  int news = 0;
  redis_drains drains;
};

class redis_drains_test : public runtime::redis_test {
 protected:
  void SetUp() override {
    static runtime::redis_server server;
    open(at(server));
    a = std::make_unique<proxy>(loop_, *client_, log_);
    b = std::make_unique<proxy>(loop_, *client_, log_);
  }
  void up() {
    ASSERT_TRUE(until_up());
    call({"FLUSHALL"});
  }
  void load(proxy& p) {
    const int before = p.news;
    p.drains.load(now);
    ASSERT_TRUE(until([&] { return p.news > before; }));
  }
  void settle(proxy& p) {
    ASSERT_TRUE(until([&] { return p.drains.unsaved() == 0; }));
  }

  /// Since when that server is drained, as the store has it; 0: it is not.
  uint64_t stored(const std::string& server_id) {
    const auto text = call({"HGET", "x:sluice-drains", server_id});
    return text.starts_with('"') ? std::stoull(text.substr(1)) : 0;
  }

  static constexpr uint64_t now = 1'700'000'000'000;
  std::unique_ptr<proxy> a, b;
};

TEST_F(redis_drains_test, an_operators_word_reaches_the_store_and_the_others) {
  up();
  a->drains.ordered("o1", true, now);
  EXPECT_EQ(a->drains.drained(), ids{"o1"}) << "here at once";
  settle(*a);
  EXPECT_EQ(stored("o1"), now);
  ASSERT_EQ(a->told.size(), 1u);
  EXPECT_TRUE(b->drains.heard("o1", a->told[0].second, now));
  EXPECT_FALSE(b->drains.heard("o1", a->told[0].second, now)) << "no news the second time";
  load(*b);
  EXPECT_EQ(b->drains.drained(), ids{"o1"});
  // The clock of the next proxy is slow: its operator answers what he sees all the same.
  b->drains.ordered("o1", false, now - 5000);
  settle(*b);
  EXPECT_EQ(call({"HLEN", "x:sluice-drains"}), "0");
  load(*a);
  EXPECT_EQ(a->drains.drained(), ids{});
}

TEST_F(redis_drains_test, what_fails_is_tried_until_it_is_done) {
  a->refuses_to_tell = 2;
  a->drains.ordered("o7", true, now);  // the client has not connected yet
  EXPECT_EQ(a->drains.unsaved(), 1u);
  ASSERT_TRUE(until_up());
  settle(*a);
  EXPECT_EQ(stored("o7"), now);
  EXPECT_EQ(a->told.size(), 1u);
  EXPECT_EQ(log_.count("drain_unwritten server=o7 reason="), 1u) << log_.all();
}

TEST_F(redis_drains_test, an_older_word_that_comes_late_changes_nothing) {
  up();
  for (const bool older_first : {true, false}) {
    const auto server = older_first ? "o1" : "o2";
    a->drains.ordered(server, true, now);
    settle(*a);
    load(*b);
    b->drains.heard(server, {false, now + 10}, now);
    // The store comes back empty, and each writes what it knows.
    call({"FLUSHALL"});
    proxy& first = older_first ? *a : *b;
    proxy& second = older_first ? *b : *a;
    first.drains.write_again();
    settle(first);
    second.drains.write_again();
    settle(second);
    EXPECT_EQ(call({"HEXISTS", "x:sluice-drains", server}), "0");
    load(*a);
    load(*b);
    EXPECT_FALSE(a->drains.drained().contains(server)) << older_first;
    EXPECT_FALSE(b->drains.drained().contains(server)) << older_first;
  }
}

TEST_F(redis_drains_test, proxies_of_older_versions_are_understood) {
  up();
  call({"HSET", "x:sluice-drains", "o1", "once", "o2", "1000"});
  load(*a);
  EXPECT_EQ(a->drains.drained(), (ids{"o1", "o2"})) << "an entry without a time counts as the oldest";
  EXPECT_TRUE(a->drains.heard("o2", {false, 0}, now)) << "and a message without one is of now";
  EXPECT_EQ(a->drains.drained(), ids{"o1"});
  call({"HDEL", "x:sluice-drains", "o1", "o2"});
  load(*a);
  EXPECT_EQ(a->drains.drained(), ids{"o1"})
      << "the store may have lost everything: that would be known by the next time";
  load(*a);
  EXPECT_EQ(a->drains.drained(), ids{});
}

TEST_F(redis_drains_test, ends_of_drains_are_forgotten_after_a_day) {
  up();
  const auto yesterday = now - 25u * 3600 * 1000;
  call(
      {"HSET", "x:sluice-undone:{x:sluice-drains}", "o1", std::to_string(yesterday), "o2", std::to_string(now - 1000)});
  load(*a);
  EXPECT_TRUE(until_answer("1", {"HLEN", "x:sluice-undone:{x:sluice-drains}"}));
}

}  // namespace
}  // namespace sluice::cluster
