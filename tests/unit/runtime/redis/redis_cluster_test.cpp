#include <gmock/gmock.h>

#include "proto/resp/command.hpp"
#include "redis_test_tools.hpp"

namespace sluice::runtime {
namespace {

using ::testing::HasSubstr;

/// Three masters with a replica each.
class redis_cluster_test : public redis_test {
 protected:
  void SetUp() override {
    std::vector<std::string> create{"redis-cli", "--cluster", "create"};
    for (int i = 0; i < 6; ++i) {
      nodes_.push_back(std::make_unique<redis_server>(std::vector<std::string>{
          "--cluster-enabled", "yes", "--cluster-port", std::to_string(free_port()), "--cluster-node-timeout", "2000",
          "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"}));
      create.push_back(nodes_.back()->address());
    }
    create.insert(create.end(), {"--cluster-replicas", "1", "--cluster-yes"});
    ASSERT_THAT(run_program(create), HasSubstr("All 16384 slots covered"));
    for (const auto& n : nodes_) {
      ASSERT_TRUE(until([&] { return n->ask({"CLUSTER", "INFO"}).find("cluster_state:ok") != std::string::npos; }));
      ASSERT_TRUE(until([&] {
        return n->has_role("master") ||
               n->ask({"INFO", "replication"}).find("master_link_status:up") != std::string::npos;
      }));
    }
  }
  redis_options options() const {
    auto o = patient();
    o.call_timeout = 1s;  // also how long a frozen server is believed
    // The first is not there: the next is asked.
    o.cluster = {{"127.0.0.1", free_port()}, {"127.0.0.1", nodes_[4]->port()}, {"127.0.0.1", nodes_[0]->port()}};
    o.db = 3;  // which no Cluster has
    return o;
  }
  static std::string id_of(const redis_server& s) {
    auto id = s.ask({"CLUSTER", "MYID"});
    id.erase(id.find_last_not_of("\r\n") + 1);
    return id;
  }

  std::vector<std::unique_ptr<redis_server>> nodes_;
};

TEST_F(redis_cluster_test, calls_reach_the_server_of_their_slot_also_after_a_failover) {
  open(options());
  ASSERT_TRUE(until_up()) << log_.all();
  const redis_script script("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])");
  std::vector<std::string> keys;
  for (int i = 0; i < 50; ++i) {
    keys.push_back("key-" + std::to_string(i));
    EXPECT_EQ(call({"SET", keys.back(), "1"}, keys.back()), "\"OK\"");
    EXPECT_EQ(eval(script, {keys.back()}, {"2"}), "\"2\"");
  }
  EXPECT_THAT(call({"CLUSTER", "INFO"}), HasSubstr("cluster_state:ok"));
  std::string heard;
  client_->subscribe({"news"}, [&](std::string_view, std::string_view text) { heard = text; });
  EXPECT_TRUE(until([&] {
    client_->call("", {"PUBLISH", "news", "hi"}, [](auto) {});
    return heard == "hi";
  }));
  EXPECT_EQ(states_, std::vector<bool>{true});

  const auto lost = std::ranges::find_if(keys, [](const auto& k) { return resp::key_slot(k) <= 5460; });
  const auto kept = std::ranges::find_if(keys, [](const auto& k) { return resp::key_slot(k) > 5460; });
  ASSERT_TRUE(lost != keys.end() && kept != keys.end());
  // What was answered is with the replica.
  EXPECT_EQ(call({"WAIT", "1", "900"}, *lost), "1");
  nodes_[0]->kill();
  ASSERT_TRUE(until_down());
  // The others go on.
  EXPECT_EQ(call({"GET", *kept}, *kept), "\"2\"");
  ASSERT_TRUE(until_up()) << log_.all();
  for (const auto& k : keys) {
    EXPECT_TRUE(until_answer("\"2\"", {"GET", k}, k)) << k;
    EXPECT_EQ(call({"SET", k, "3"}, k), "\"OK\"") << k << last_text_;
  }
}

TEST_F(redis_cluster_test, a_frozen_master_is_left_when_there_is_another) {
  open(options());
  ASSERT_TRUE(until_up()) << log_.all();
  const std::string key = "bar";  // slot 5061, of the first
  EXPECT_EQ(call({"SET", key, "1"}, key), "\"OK\"");
  EXPECT_EQ(call({"WAIT", "1", "900"}, key), "1");
  nodes_[0]->signal(SIGSTOP);
  ASSERT_TRUE(until_down());
  ASSERT_TRUE(until_up()) << log_.all();
  EXPECT_EQ(call({"GET", key}, key), "\"1\"");
  // It comes back as a replica, which does not concern us.
  nodes_[0]->signal(SIGCONT);
  ASSERT_TRUE(until([&] { return nodes_[0]->has_role("slave"); }));
  EXPECT_TRUE(until_answer("\"OK\"", {"SET", key, "2"}, key));
  EXPECT_TRUE(client_->is_up());
}

TEST_F(redis_cluster_test, redirections_are_followed) {
  open(options());
  ASSERT_TRUE(until_up()) << log_.all();
  const std::string key = "foo";  // slot 12182, of the third
  const auto slot = std::to_string(resp::key_slot(key));
  auto &from = *nodes_[2], &to = *nodes_[0];
  to.ask({"CLUSTER", "SETSLOT", slot, "IMPORTING", id_of(from)});
  from.ask({"CLUSTER", "SETSLOT", slot, "MIGRATING", id_of(to)});
  // ASK: the key is not there any more; the table stays.
  EXPECT_EQ(call({"SET", key, "moved"}, key), "\"OK\"");
  const redis_script script("return redis.call('GET', KEYS[1])");
  EXPECT_EQ(eval(script, {key}, {}), "\"moved\"");
  EXPECT_EQ(to.ask({"CLUSTER", "COUNTKEYSINSLOT", slot}), "1\n");
  // MOVED.
  to.ask({"CLUSTER", "SETSLOT", slot, "NODE", id_of(to)});
  from.ask({"CLUSTER", "SETSLOT", slot, "NODE", id_of(to)});
  EXPECT_EQ(call({"GET", key}, key), "\"moved\"");
  EXPECT_EQ(call({"GET", key}, key), "\"moved\"");
  // The owner is told that the table is another.
  EXPECT_TRUE(until([&] { return states_ == std::vector<bool>{true, false, true}; }));
  EXPECT_TRUE(client_->is_up());
}

TEST_F(redis_cluster_test, a_server_without_cluster_is_said) {
  redis_server plain;
  auto o = options();
  o.cluster = {{"127.0.0.1", plain.port()}};
  open(o);
  ASSERT_TRUE(until([&] { return log_.has("redis_unavailable"); }));
  EXPECT_THAT(log_.all(), HasSubstr("CLUSTER SLOTS"));
  EXPECT_FALSE(client_->is_up());
}

}  // namespace
}  // namespace sluice::runtime
