#include "runtime/redis_client.hpp"

#include <gmock/gmock.h>

#include "redis_test_tools.hpp"

namespace sluice::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(redis_test, calls_are_answered) {
  redis_server server;
  open(at(server));
  EXPECT_FALSE(client_->is_up());
  EXPECT_EQ(call({"PING"}), "store_unavailable");
  ASSERT_TRUE(until_up());
  EXPECT_EQ(call({"SET", "a", std::string("1\r\n\0x", 5)}, "a"), "\"OK\"");
  EXPECT_EQ(call({"STRLEN", "a"}), "5");
  EXPECT_EQ(call({"GET", "no"}), "null");
  EXPECT_EQ(call({"LPUSH", "a", "x"}), "store_error");
  EXPECT_THAT(last_text_, HasSubstr("WRONGTYPE"));
  EXPECT_THAT(states_, ElementsAre(true));
  EXPECT_EQ(log_.count("redis_connected peer=" + server.address()), 1u);
  EXPECT_EQ(log_.count("redis_unavailable"), 0u);
  EXPECT_EQ(calls("ok"), 3);
  EXPECT_EQ(calls("error"), 1);
  EXPECT_EQ(calls("unavailable"), 1);
  EXPECT_EQ(metrics_.gauge("sluice_redis_up", "").value(), 1);
  EXPECT_THAT(server.ask({"CLIENT", "LIST"}), HasSubstr("name=sluice "));
}

TEST_F(redis_test, many_calls_at_once_keep_their_order) {
  redis_server server;
  open(at(server));
  ASSERT_TRUE(until_up());
  std::vector<int64_t> numbers;
  for (int i = 0; i < 1000; ++i)
    client_->call("n", {"INCR", "n"}, [&](base::result<resp::value> r) { numbers.push_back(r ? r->integer : -1); });
  ASSERT_TRUE(until([&] { return numbers.size() == 1000; }));
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(numbers[static_cast<size_t>(i)], i + 1);
}

TEST_F(redis_test, large_values_pass_both_ways) {
  redis_server server;
  open(at(server));
  ASSERT_TRUE(until_up());
  const std::string large(7'000'000, 'x');
  EXPECT_EQ(call({"SET", "large", large}), "\"OK\"");
  bool same = false;
  client_->call("large", {"GET", "large"}, [&](base::result<resp::value> r) { same = r && r->text == large; });
  EXPECT_TRUE(until([&] { return same; }));
  // More than a connection holds unanswered.
  EXPECT_EQ(call({"SET", "large", std::string(9'000'000, 'x')}), "store_unavailable");
}

TEST_F(redis_test, a_script_is_sent_where_it_is_not_known) {
  redis_server server;
  open(at(server));
  ASSERT_TRUE(until_up());
  const redis_script script("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}");
  EXPECT_EQ(script.sha().size(), 40u);
  EXPECT_EQ(eval(script, {"k"}, {"v"}), R"(["k", "v", 1])");
  EXPECT_EQ(eval(script, {"k"}, {"v"}), R"(["k", "v", 2])");
  server.ask({"SCRIPT", "FLUSH"});
  EXPECT_EQ(eval(script, {"k"}, {"v"}), R"(["k", "v", 3])");
  EXPECT_THAT(server.ask({"INFO", "commandstats"}), HasSubstr("cmdstat_eval:calls=2,"));
  EXPECT_EQ(eval(redis_script("return redis.error_reply('NOSCRIPT of its own')"), {}, {}), "store_error");
}

TEST_F(redis_test, a_server_that_is_away_at_first_is_found_later) {
  const uint16_t port = free_port();
  auto options = patient();
  options.port = port;
  options.backoff_max = 100ms;
  options.password = "hush";
  open(options);
  ASSERT_TRUE(until([&] { return log_.has("redis_unavailable"); }));
  EXPECT_EQ(call({"PING"}), "store_unavailable");
  EXPECT_EQ(metrics_.gauge("sluice_redis_up", "").value(), 0);
  redis_server server({"--requirepass", "hush"}, port);
  ASSERT_TRUE(until_up());
  EXPECT_EQ(call({"PING"}), "\"PONG\"");
  // Tried more than once, said once.
  EXPECT_EQ(log_.count("redis_unavailable"), 1u) << log_.all();
  EXPECT_EQ(log_.count("reason=refused"), 1u) << log_.all();
  EXPECT_THAT(log_.all(), Not(HasSubstr("hush")));
}

TEST_F(redis_test, comes_back_after_a_restart_and_says_so) {
  redis_server server;
  open(at(server));
  ASSERT_TRUE(until_up());
  std::vector<std::string> heard;
  client_->subscribe({"news"}, [&](std::string_view channel, std::string_view text) {
    heard.push_back(std::string(channel) + "=" + std::string(text));
  });
  const auto told = [&](const std::string& text) {
    // Until somebody hears it: the subscription takes its time.
    return until([&] { return server.ask({"PUBLISH", "news", text}) == "1\n"; }) &&
           until([&] { return !heard.empty() && heard.back() == "news=" + text; });
  };
  EXPECT_TRUE(told("first"));
  server.kill();
  ASSERT_TRUE(until_down());
  EXPECT_EQ(call({"PING"}), "store_unavailable");
  server.start();
  ASSERT_TRUE(until_up());
  EXPECT_EQ(call({"PING"}), "\"PONG\"");
  EXPECT_TRUE(told("second"));
  // Up, lost, up; and that the subscription was lost in between.
  EXPECT_TRUE(until([&] { return states_ == std::vector<bool>{true, false, true, false, true}; }));
}

TEST_F(redis_test, a_lost_subscription_alone_is_told_as_a_loss) {
  redis_server server;
  open(at(server));
  ASSERT_TRUE(until_up());
  client_->subscribe({"news"}, [](std::string_view, std::string_view) {});
  ASSERT_TRUE(until([&] { return server.ask({"PUBLISH", "news", "x"}) == "1\n"; }));
  server.ask({"CLIENT", "KILL", "TYPE", "pubsub"});
  EXPECT_TRUE(until([&] { return states_ == std::vector<bool>{true, false, true}; }));
  EXPECT_TRUE(client_->is_up());
  EXPECT_EQ(log_.count("redis_unsubscribed"), 1u) << log_.all();
}

TEST_F(redis_test, nothing_stands_in_line_behind_a_frozen_server) {
  redis_server server;
  auto options = at(server);
  options.call_timeout = 200ms;
  open(options);
  ASSERT_TRUE(until_up());
  server.signal(SIGSTOP);
  EXPECT_EQ(call({"SET", "a", "late"}), "store_unavailable");
  EXPECT_THAT(last_text_, HasSubstr("in time"));
  // The next are refused without a wait.
  int refused = 0;
  for (int i = 0; i < 100; ++i)
    client_->call("", {"SET", "b", "x"}, [&](base::result<resp::value> r) {
      EXPECT_THAT(r.error().text, HasSubstr("does not answer"));
      ++refused;
    });
  loop_.post([this] { loop_.stop(); });
  loop_.run();
  EXPECT_EQ(refused, 100);
  server.signal(SIGCONT);
  EXPECT_TRUE(until_answer("\"late\"", {"GET", "a"}));
  EXPECT_EQ(call({"GET", "b"}), "null");
  server.signal(SIGSTOP);
  EXPECT_TRUE(until_down());
  server.signal(SIGCONT);
  EXPECT_TRUE(until_up());
}

TEST_F(redis_test, a_server_that_became_a_replica_is_left) {
  redis_server master, server;
  auto options = at(server);
  options.call_timeout = 500ms;  // a refused call is tried again that long
  open(options);
  ASSERT_TRUE(until_up());
  server.ask({"REPLICAOF", "127.0.0.1", std::to_string(master.port())});
  EXPECT_TRUE(until_answer("store_unavailable", {"SET", "a", "1"}));
  EXPECT_TRUE(until_down());
  EXPECT_EQ(log_.count("reason=redis_not_master"), 1u) << log_.all();
  server.ask({"REPLICAOF", "NO", "ONE"});
  EXPECT_TRUE(until_up());
  EXPECT_EQ(call({"SET", "a", "1"}), "\"OK\"");
}

TEST_F(redis_test, a_full_server_is_unavailable_for_writes) {
  redis_server server;
  open(at(server));
  ASSERT_TRUE(until_up());
  server.ask({"CONFIG", "SET", "maxmemory", "1"});
  EXPECT_EQ(call({"SET", "a", "1"}), "store_unavailable");
  EXPECT_EQ(call({"GET", "a"}), "null");
  EXPECT_TRUE(client_->is_up());
}

TEST_F(redis_test, users_and_databases) {
  redis_server server({"--user", "sluice", "on", ">hush", "~*", "&*", "+@all", "--user", "default", "off"});
  auto options = at(server);
  options.username = "sluice";
  options.password = "hush";
  options.db = 5;
  open(options);
  ASSERT_TRUE(until_up());
  EXPECT_THAT(call({"CLIENT", "INFO"}), HasSubstr("db=5"));
  EXPECT_EQ(call({"ACL", "WHOAMI"}), "\"sluice\"");

  client_.reset();
  options.password = "wrong-hush";
  open(options);
  ASSERT_TRUE(until([&] { return log_.has("reason=redis_auth"); }));
  EXPECT_THAT(log_.all(), Not(HasSubstr("hush")));
  EXPECT_FALSE(client_->is_up());
}

TEST_F(redis_test, a_server_that_does_not_know_hello) {
  redis_server server({"--rename-command", "HELLO", "", "--requirepass", "hush"});
  auto options = at(server);
  options.password = "hush";
  options.db = 2;
  open(options);
  ASSERT_TRUE(until_up());
  EXPECT_EQ(call({"HSET", "h", "f", "v"}), "1");
  EXPECT_EQ(call({"HGETALL", "h"}), R"(["f", "v"])");
  std::string heard;
  client_->subscribe({"news"}, [&](std::string_view, std::string_view text) { heard = text; });
  EXPECT_TRUE(until([&] {
    client_->call("", {"PUBLISH", "news", "hi"}, [](auto) {});
    return heard == "hi";
  }));
  EXPECT_THAT(log_.all(), Not(HasSubstr("hush")));
}

TEST_F(redis_test, a_destroyed_client_calls_nobody) {
  redis_server server;
  open(at(server));
  ASSERT_TRUE(until_up());
  bool called = false;
  for (int i = 0; i < 10; ++i) client_->call("", {"PING"}, [&](auto) { called = true; });
  client_.reset();
  open(at(server));
  client_->call("", {"PING"}, [&](auto) { called = true; });  // refused, but not said yet
  client_.reset();
  states_.clear();
  loop_.post([this] { loop_.stop(); });
  loop_.run();
  EXPECT_FALSE(called);
  EXPECT_TRUE(states_.empty());
}

TEST_F(redis_test, may_be_destroyed_by_its_own_callbacks) {
  redis_server server;
  for (const bool in_state : {false, true}) {
    open(at(server));
    if (in_state) {
      client_->on_state = [this](bool) { client_.reset(); };
    } else {
      ASSERT_TRUE(until_up());
      int called = 0;
      for (int i = 0; i < 3; ++i) {
        client_->call("", {"PING"}, [&](auto) {
          ++called;
          client_.reset();
        });
      }
      EXPECT_TRUE(until([&] { return called > 0; }));
      EXPECT_EQ(called, 1);
    }
    EXPECT_TRUE(until([&] { return !client_; }));
  }
}

TEST_F(redis_test, names_are_resolved_and_a_bad_one_is_said) {
  redis_server server;
  auto options = at(server);
  options.host = "localhost";
  open(options);
  EXPECT_TRUE(until_up());
  client_.reset();
  options.host = "no-such-host.invalid";
  open(options);
  EXPECT_TRUE(until([&] { return log_.has("peer=no-such-host.invalid:"); }));
  EXPECT_EQ(call({"PING"}), "store_unavailable");
}

}  // namespace
}  // namespace sluice::runtime
