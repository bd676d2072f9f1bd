#include <gmock/gmock.h>

#include "redis_test_tools.hpp"

namespace sluice::runtime {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// A master, its replica and three Sentinels that know of each other.
class redis_sentinel : public redis_test {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) sentinels_.push_back(std::make_unique<redis_sentinel_process>(master_.port(), 2));
    // Each says so of the replica and of the two others.
    for (const auto& s : sentinels_) {
      ASSERT_TRUE(s->process().says("+slave slave 127.0.0.1:" + std::to_string(replica_.port())))
          << s->process().output();
      for (const auto& other : sentinels_) {
        if (other == s) continue;
        ASSERT_TRUE(s->process().says(" 127.0.0.1 " + std::to_string(other->port()) + " @ mymaster"))
            << s->process().output();
      }
    }
  }
  redis_options options() const {
    auto o = patient();
    o.call_timeout = 1s;   // also how long a frozen server is believed
    o.host = "192.0.2.1";  // not used
    // The first is not there: the next is asked.
    o.sentinels.push_back({"127.0.0.1", free_port()});
    for (const auto& s : sentinels_) o.sentinels.push_back({"127.0.0.1", s->port()});
    return o;
  }

  redis_server master_{{"--repl-diskless-sync-delay", "0"}};
  redis_server replica_{
      {"--replicaof", "127.0.0.1 " + std::to_string(master_.port()), "--repl-diskless-sync-delay", "0"}};
  std::vector<std::unique_ptr<redis_sentinel_process>> sentinels_;
};

TEST_F(redis_sentinel, the_master_is_found_and_its_successor_too) {
  open(options());
  ASSERT_TRUE(until_up()) << log_.all();
  EXPECT_TRUE(log_.has("redis_connected peer=" + master_.address())) << log_.all();
  EXPECT_EQ(call({"SET", "a", "1"}), "\"OK\"");
  EXPECT_EQ(call({"WAIT", "1", "900"}), "1");
  std::string heard;
  client_->subscribe({"news"}, [&](std::string_view, std::string_view text) { heard = text; });
  const auto hears = [&](const std::string& text) {
    return until([&] {
      client_->call("", {"PUBLISH", "news", text}, [](auto) {});
      return heard == text;
    });
  };
  EXPECT_TRUE(hears("before"));
  states_.clear();
  master_.kill();
  ASSERT_TRUE(until([&] { return log_.has("redis_connected peer=" + replica_.address()); })) << log_.all();
  ASSERT_TRUE(until_up());
  EXPECT_FALSE(states_.front());
  EXPECT_EQ(call({"GET", "a"}), "\"1\"");
  EXPECT_EQ(call({"SET", "a", "2"}), "\"OK\"");
  EXPECT_TRUE(hears("after"));
}

TEST_F(redis_sentinel, a_frozen_master_is_left_when_there_is_another) {
  open(options());
  ASSERT_TRUE(until_up()) << log_.all();
  EXPECT_EQ(call({"SET", "a", "1"}), "\"OK\"");
  EXPECT_EQ(call({"WAIT", "1", "900"}), "1");
  master_.signal(SIGSTOP);
  ASSERT_TRUE(until([&] { return log_.has("redis_connected peer=" + replica_.address()); })) << log_.all();
  EXPECT_TRUE(until_answer("\"1\"", {"GET", "a"}));
  // It comes back as a replica, which does not concern us.
  master_.signal(SIGCONT);
  ASSERT_TRUE(until([&] { return master_.has_role("slave"); }));
  EXPECT_TRUE(until_answer("\"OK\"", {"SET", "a", "2"}));
}

TEST_F(redis_sentinel, a_planned_switch_is_followed) {
  open(options());
  ASSERT_TRUE(until_up()) << log_.all();
  EXPECT_EQ(call({"SET", "a", "1"}), "\"OK\"");
  EXPECT_EQ(call({"WAIT", "1", "900"}), "1");
  run_program({"redis-cli", "-p", std::to_string(sentinels_[1]->port()), "SENTINEL", "FAILOVER", "mymaster"});
  ASSERT_TRUE(until([&] { return log_.has("redis_connected peer=" + replica_.address()); })) << log_.all();
  EXPECT_TRUE(until_answer("\"OK\"", {"SET", "a", "2"}));
  EXPECT_TRUE(client_->is_up());
}

TEST_F(redis_sentinel, a_master_that_nobody_knows_is_said) {
  auto o = options();
  o.sentinel_master = "nobody";
  open(o);
  ASSERT_TRUE(until([&] { return log_.has("redis_unavailable"); }));
  EXPECT_THAT(log_.all(), HasSubstr("knows no master called nobody"));
  EXPECT_EQ(call({"PING"}), "store_unavailable");
}

TEST_F(redis_test, sentinels_have_a_password_of_their_own) {
  redis_server master({"--requirepass", "hush"});
  redis_sentinel_process sentinel(master.port(), 1, "requirepass whisper\nsentinel auth-pass mymaster hush\n");
  auto o = patient();
  o.sentinels = {{"127.0.0.1", sentinel.port()}};
  o.password = "hush";
  o.sentinel_password = "whisper";
  open(o);
  ASSERT_TRUE(until_up()) << log_.all();
  EXPECT_EQ(call({"SET", "a", "1"}), "\"OK\"");
  o.sentinel_password = "no-whisper";
  open(o);
  ASSERT_TRUE(until([&] { return log_.has("reason=redis_auth"); })) << log_.all();
  EXPECT_EQ(call({"PING"}), "store_unavailable");
  EXPECT_THAT(log_.all(), Not(AnyOf(HasSubstr("hush"), HasSubstr("whisper"))));
}

}  // namespace
}  // namespace sluice::runtime
