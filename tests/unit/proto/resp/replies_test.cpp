#include "proto/resp/replies.hpp"

#include <gtest/gtest.h>

#include "proto/resp/parser.hpp"

namespace sluice::resp {
namespace {

value read(std::string_view bytes) {
  parser p;
  auto in = base::as_bytes(bytes);
  auto v = p.read(in);
  EXPECT_TRUE(v && *v) << bytes;
  return v && *v ? **v : value{};
}

// Texts as redis-server 5.0 to 7.0 sends them.
TEST(resp_replies, kinds_of_errors) {
  const std::pair<std::string_view, error_kind> cases[] = {
      {"MOVED 3999 127.0.0.1:6381", error_kind::moved},
      {"ASK 3999 127.0.0.1:6381", error_kind::ask},
      {"CLUSTERDOWN Hash slot not served", error_kind::cluster_down},
      {"TRYAGAIN Multiple keys request during rehashing of slot", error_kind::try_again},
      {"READONLY You can't write against a read only replica.", error_kind::read_only},
      {"ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only replica.",
       error_kind::read_only},
      {"LOADING Redis is loading the dataset in memory", error_kind::loading},
      {"MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", error_kind::loading},
      {"NOAUTH Authentication required.", error_kind::no_auth},
      {"WRONGPASS invalid username-password pair or user is disabled.", error_kind::no_auth},
      {"NOPERM this user has no permissions to run the 'get' command", error_kind::no_auth},
      {"NOSCRIPT No matching script. Please use EVAL.", error_kind::no_script},
      {"ERR unknown command `HELLO`, with args beginning with: `3`, ", error_kind::unknown_command},
      {"NOPROTO unsupported protocol version", error_kind::no_proto},
      {"IDONTKNOW I have not enough information to reply.", error_kind::no_master},
      {"OOM command not allowed when used memory > 'maxmemory'.", error_kind::full},
      {"ERR max number of clients reached", error_kind::full},
      {"WRONGTYPE Operation against a key holding the wrong kind of value", error_kind::other},
      {"ERR value is not an integer or out of range", error_kind::other},
      {"MOVEDX", error_kind::other},
      {"", error_kind::other},
  };
  for (const auto& [text, kind] : cases) EXPECT_EQ(kind_of_error(text), kind) << text;
  EXPECT_EQ(error_code("WRONGPASS invalid"), "WRONGPASS");
  EXPECT_EQ(error_code("hush is no code"), "ERR");
  EXPECT_EQ(error_code(std::string(40, 'A')), "ERR");
}

TEST(resp_replies, redirections) {
  const auto moved = parse_redirection("MOVED 3999 127.0.0.1:6381");
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->slot, 3999);
  EXPECT_EQ(moved->to, (host_port{"127.0.0.1", 6381}));
  EXPECT_EQ(parse_redirection("ASK 1 ::1:6381")->to, (host_port{"::1", 6381}));
  EXPECT_EQ(parse_redirection("ASK 1 [::1]:6381")->to, (host_port{"::1", 6381}));
  EXPECT_EQ(parse_redirection("MOVED 16383 :6381")->to, (host_port{"", 6381}));
  EXPECT_EQ(parse_redirection("MOVED 0 ?:6381")->to, (host_port{"", 6381}));
  EXPECT_EQ(parse_redirection("MOVED 0 r-1.example:1")->to.to_string(), "r-1.example:1");
  EXPECT_EQ((host_port{"::1", 1}).to_string(), "[::1]:1");
  for (const char* text : {"MOVED 16384 a:1", "MOVED -1 a:1", "MOVED 1 a", "MOVED 1 a:0", "MOVED 1 a:65536", "MOVED 1",
                           "MOVED", "", "ERR 1 a:1", "MOVED 1 a:1 b", "MOVED x a:1"})
    EXPECT_FALSE(parse_redirection(text)) << text;
}

// As redis-server 7.0 and 3.2 send it: with and without ids and metadata.
TEST(resp_replies, cluster_slots) {
  const auto v = read(
      "*2\r\n*4\r\n:0\r\n:5460\r\n*4\r\n$9\r\n127.0.0.1\r\n:30001\r\n$2\r\nid\r\n*0\r\n*4\r\n$9\r\n127.0.0.1\r\n:"
      "30004\r\n"
      "$2\r\nid\r\n*0\r\n*3\r\n:5461\r\n:16383\r\n*2\r\n$-1\r\n:30002\r\n");
  const auto ranges = parse_cluster_slots(v);
  ASSERT_TRUE(ranges) << ranges.error().text;
  ASSERT_EQ(ranges->size(), 2u);
  EXPECT_EQ(ranges->at(0).last, 5460);
  EXPECT_EQ(ranges->at(0).master, (host_port{"127.0.0.1", 30001}));
  EXPECT_EQ(ranges->at(1).first, 5461);
  EXPECT_EQ(ranges->at(1).master, (host_port{"", 30002}));
  EXPECT_TRUE(parse_cluster_slots(read("*0\r\n"))->empty());
  for (const char* bytes :
       {":1\r\n", "*1\r\n:1\r\n", "*1\r\n*2\r\n:0\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n:2\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n+a\r\n:1\r\n", "*1\r\n*3\r\n:2\r\n:1\r\n*2\r\n+a\r\n:1\r\n",
        "*1\r\n*3\r\n:-1\r\n:1\r\n*2\r\n+a\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n+a\r\n:0\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:5\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n+a\r\n"})
    EXPECT_FALSE(parse_cluster_slots(read(bytes))) << bytes;
}

TEST(resp_replies, sentinel) {
  EXPECT_EQ(parse_master_address(read("*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n")).value(),
            (host_port{"127.0.0.1", 6379}));
  EXPECT_EQ(parse_master_address(read("*-1\r\n")).value(), std::nullopt);
  EXPECT_EQ(parse_master_address(read("_\r\n")).value(), std::nullopt);
  for (const char* bytes :
       {"*1\r\n+a\r\n", "*2\r\n+\r\n+1\r\n", "*2\r\n+a\r\n+0\r\n", "*2\r\n+a\r\n+x\r\n", "-ERR\r\n"})
    EXPECT_FALSE(parse_master_address(read(bytes))) << bytes;
  const auto s = parse_switch_master("mymaster 127.0.0.1 6379 ::1 6380");
  ASSERT_TRUE(s);
  EXPECT_EQ(s->name, "mymaster");
  EXPECT_EQ(s->from, (host_port{"127.0.0.1", 6379}));
  EXPECT_EQ(s->to, (host_port{"::1", 6380}));
  for (const char* text : {"", "mymaster", "m a 1 b", "m a 1 b 2 c", "m a x b 2", "m a 1 b 70000"})
    EXPECT_FALSE(parse_switch_master(text)) << text;
}

TEST(resp_replies, roles) {
  EXPECT_EQ(parse_role(read("*3\r\n$6\r\nmaster\r\n:3129659\r\n*0\r\n")), server_role::master);
  EXPECT_EQ(parse_role(read("*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:9000\r\n$9\r\nconnected\r\n:1\r\n")),
            server_role::replica);
  EXPECT_EQ(parse_role(read("*2\r\n$8\r\nsentinel\r\n*0\r\n")), server_role::sentinel);
  EXPECT_EQ(parse_role(read("-NOPERM x\r\n")), server_role::unknown);
}

}  // namespace
}  // namespace sluice::resp
