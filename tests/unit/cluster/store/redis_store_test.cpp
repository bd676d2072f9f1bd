#include "cluster/store/redis_store.hpp"

#include "unit/cluster/store_contract.hpp"
#include "unit/runtime/redis/redis_test_tools.hpp"

namespace sluice::cluster {
namespace {

/// A real redis-server for all tests of the contract, emptied before each.
class redis_subject {
 public:
  std::unique_ptr<owner_store> make() {
    static runtime::redis_server server;
    runtime::redis_options options;
    options.port = server.port();
    client_ = std::make_unique<runtime::redis_client>(loop_, options, log_, metrics_);
    EXPECT_TRUE(until([this] { return client_->is_up(); }));
    ask({"FLUSHALL"});
    return std::make_unique<redis_store>(*client_, redis_keys(""), "proxy-1");
  }
  /// Every key gets so much older.
  void pass(base::duration d) {
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
    ask({"EVAL",
         "for _, k in ipairs(redis.call('KEYS', '*')) do local left = redis.call('PTTL', k) - ARGV[1] "
         "if left <= 0 then redis.call('DEL', k) else redis.call('PEXPIRE', k, left) end end",
         "0", std::to_string(ms)});
  }
  void wait(bool& done) {
    ASSERT_TRUE(until([&] { return done; }));
  }
  base::result<resp::value> ask(std::vector<std::string> command) {
    std::optional<base::result<resp::value>> got;
    client_->call({}, std::move(command), [&](base::result<resp::value> answer) { got = std::move(answer); });
    EXPECT_TRUE(until([&] { return got.has_value(); }));
    return got.value_or(base::fail("none"));
  }

 private:
  bool until(const std::function<bool()>& holds) {
    bool held = false;
    const auto end = runtime::loop::monotonic_now() + std::chrono::seconds(20);
    runtime::timer look(loop_, [&] {
      held = holds();
      if (held || loop_.now() > end) return loop_.stop();
      look.arm_after(std::chrono::milliseconds(1));
    });
    look.arm_after({});
    loop_.run();
    return held;
  }
  runtime::loop loop_;
  runtime::recording_log log_;
  base::metrics metrics_;
  std::unique_ptr<runtime::redis_client> client_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(redis, store_contract, redis_subject);

/// Beside SRS's Go proxies, which choose an origin by GET and SET, without a life.
class redis_store_mixed : public store_contract<redis_subject> {
 protected:
  void go_chooses(const std::string& origin) { subject_.ask({"SET", keys_.url(key_), keys_.server(origin)}); }
  std::string url() { return subject_.ask({"GET", keys_.url(key_)}).value().text; }
  bool url_expires() { return subject_.ask({"PTTL", keys_.url(key_)}).value().integer > 0; }
  owner_record published(std::string origin, uint64_t counter) {
    owner_record r = record(std::move(origin), counter);
    r.published = true;
    return r;
  }
  const redis_keys keys_{""};
};

TEST_F(redis_store_mixed, OursIsMirroredForThem) {
  ask(kind::claim, key_, record("o1", 5)).value();
  EXPECT_EQ(url(), "srs-proxy-server:o1");
  EXPECT_TRUE(url_expires());
  ask(kind::drop, key_, record("o1", 5)).value();
  EXPECT_EQ(url(), "");
}

TEST_F(redis_store_mixed, AChoiceOfTheirsIsAdopted) {
  go_chooses("go1");
  const auto found = ask(kind::find, key_).value();
  ASSERT_TRUE(found);
  EXPECT_EQ(found->origin_id, "go1");
  EXPECT_EQ(found->epoch, epoch());
  EXPECT_EQ(found->proxy_id, "");
  const auto claimed = ask(kind::claim, key_, record("o1", 5)).value();
  ASSERT_TRUE(claimed);
  EXPECT_EQ(claimed->origin_id, "go1");
  EXPECT_EQ(claimed->epoch, (epoch{5, 1}));
  EXPECT_EQ(url(), "srs-proxy-server:go1");
  EXPECT_TRUE(url_expires()) << "it is ours now";
  EXPECT_EQ(ask(kind::claim, key_, record("o2", 9), epoch{5, 1}).value(), record("o2", 9));
}

TEST_F(redis_store_mixed, WhatIsPublishedHereIsNotTakenByThem) {
  ask(kind::claim, key_, record("o1", 5)).value();
  go_chooses("go1");
  EXPECT_EQ(ask(kind::find, key_).value()->origin_id, "go1") << "nobody publishes with ours";
  ask(kind::renew, key_, published("o1", 5)).value();
  EXPECT_EQ(url(), "srs-proxy-server:o1");
  go_chooses("go1");
  EXPECT_EQ(ask(kind::find, key_).value(), published("o1", 5));
  EXPECT_EQ(ask(kind::claim, key_, record("o2", 9)).value(), published("o1", 5));
}

TEST_F(redis_store_mixed, AnAnswerThatIsNoRecordIsAnError) {
  subject_.ask({"SET", keys_.owner(key_), R"({"epoch":"7","origin":"x"})"});
  EXPECT_EQ(ask(kind::find, key_).error().reason, "bad_record");
  subject_.ask({"SET", keys_.owner(key_), "rubbish"});
  EXPECT_EQ(ask(kind::find, key_).value(), std::nullopt);
  EXPECT_EQ(ask(kind::claim, key_, record("o1", 5)).value(), record("o1", 5)) << "it is written over";
  subject_.ask({"SET", keys_.url(key_), "rubbish"});
  EXPECT_EQ(ask(kind::find, key_).value(), record("o1", 5));
}

TEST_F(redis_store_mixed, AStoreThatIsAwayIsUnavailableAtOnce) {
  subject_.ask({"CONFIG", "SET", "requirepass", "x"});
  subject_.ask({"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"});
  EXPECT_EQ(ask(kind::find, key_).error().reason, "store_unavailable");
}

}  // namespace
}  // namespace sluice::cluster
