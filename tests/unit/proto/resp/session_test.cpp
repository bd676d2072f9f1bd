#include "proto/resp/session.hpp"

#include <gtest/gtest.h>

#include "proto/resp/command.hpp"

namespace sluice::resp {
namespace {

using namespace std::chrono_literals;

/// A session under a fake clock, and what was said to it.
class conversation {
 public:
  explicit conversation(session_config config = {}) : session_(std::move(config), now_) {}

  /// What was sent since the last time, one command a word: `SET a 1|GET a`.
  std::string sent() {
    std::string all;
    auto in = session_.output().pending();
    while (!in.empty()) {
      auto v = requests_.read(in);
      EXPECT_TRUE(v);
      if (!v || !*v) break;
      if (!all.empty()) all += '|';
      for (const auto& e : (*v)->elements) all += (&e == (*v)->elements.data() ? "" : " ") + e.text;
    }
    session_.output().consume(session_.output().size());
    return all;
  }
  /// Empty, or the reason of the failure.
  std::string receive(std::string_view bytes) { return reason(session_.receive(base::as_bytes(bytes), now_)); }
  /// Lets time pass, to each deadline on the way.
  std::string pass(base::duration d) {
    const auto end = now_ + d;
    while (session_.deadline() <= end) {
      now_ = std::max(now_, session_.deadline());
      if (auto r = reason(session_.on_timeout(now_)); !r.empty()) return r;
    }
    now_ = end;
    return {};
  }
  std::string call(uint64_t id, std::vector<std::string> command, bool asking = false) {
    return reason(session_.call(id, command, now_ + 500ms, asking));
  }
  /// The events since the last time: `ready`, `1=value`, `2!store_unavailable`, `channel<payload`.
  std::string events() {
    std::string all;
    while (auto e = session_.next_event()) {
      if (!all.empty()) all += ' ';
      if (std::holds_alternative<session_ready>(*e)) all += "ready";
      if (const auto* d = std::get_if<call_done>(&*e))
        all += std::to_string(d->id) +
               (d->reply ? "=" + to_string(*d->reply) : "!" + std::string(d->reply.error().reason));
      if (const auto* m = std::get_if<channel_message>(&*e)) all += m->channel + "<" + m->payload;
    }
    return all;
  }
  session& operator*() { return session_; }
  session* operator->() { return &session_; }
  std::string last_text;  // of a failure

 private:
  std::string reason(const base::result<void>& r) {
    if (r) return {};
    last_text = r.error().text;
    return std::string(r.error().reason);
  }
  base::time_point now_{1h};
  session session_;
  parser requests_;
};

constexpr std::string_view hello_reply =
    "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:5\r\n"
    "$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";

conversation& greeted(conversation& c) {
  EXPECT_EQ(c.receive(hello_reply), "");
  EXPECT_EQ(c.receive("+PONG\r\n"), "");
  EXPECT_EQ(c.events(), "ready");
  c.sent();
  return c;
}

TEST(resp_session, greets_and_is_ready) {
  conversation c;
  EXPECT_EQ(c.sent(), "HELLO 3");
  EXPECT_FALSE(c->ready());
  EXPECT_EQ(c.receive(hello_reply), "");
  EXPECT_EQ(c.sent(), "PING");
  EXPECT_FALSE(c->ready());
  EXPECT_EQ(c.call(1, {"GET", "a"}), "store_unavailable");
  EXPECT_EQ(c.receive("+PONG\r\n"), "");
  EXPECT_EQ(c.events(), "ready");
  EXPECT_TRUE(c->ready());
  EXPECT_TRUE(c->speaks_resp3());
  EXPECT_EQ(c->role(), server_role::master);
}

TEST(resp_session, says_who_it_is_and_what_it_wants) {
  conversation c({.username = "u", .password = "hush", .client_name = "sluice", .db = 3, .master_wanted = true});
  EXPECT_EQ(c.sent(), "HELLO 3 AUTH u hush");
  c.receive(hello_reply);
  EXPECT_EQ(c.sent(), "CLIENT SETNAME sluice|SELECT 3|ROLE|PING");
  EXPECT_EQ(c.receive("-ERR no such thing\r\n+OK\r\n*3\r\n$6\r\nmaster\r\n:1\r\n*0\r\n+PONG\r\n"), "");
  EXPECT_EQ(c.events(), "ready");
  conversation without_user({.password = "hush"});
  EXPECT_EQ(without_user.sent(), "HELLO 3 AUTH default hush");
}

TEST(resp_session, falls_back_to_auth_and_resp2) {
  for (const std::string_view refusal :
       {"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `u`, `hush`, \r\n",
        "-NOPROTO unsupported protocol version\r\n", "-ERR unsupported command\r\n"}) {
    conversation c({.username = "u", .password = "hush", .db = 1});
    c.sent();
    EXPECT_EQ(c.receive(refusal), "");
    EXPECT_EQ(c.sent(), "AUTH u hush|SELECT 1|PING");
    EXPECT_EQ(c.receive("+OK\r\n+OK\r\n+PONG\r\n"), "");
    EXPECT_EQ(c.events(), "ready");
    EXPECT_FALSE(c->speaks_resp3());
    EXPECT_EQ(c.call(1, {"GET", "a"}), "");
    EXPECT_EQ(c.receive("$-1\r\n"), "");
    EXPECT_EQ(c.events(), "1=null");
  }
  conversation old({.password = "hush"});
  old.sent();
  old.receive("-ERR unknown command 'HELLO'\r\n");
  EXPECT_EQ(old.sent(), "AUTH hush|PING");
}

TEST(resp_session, a_refused_handshake_is_said_without_the_password) {
  struct refusal {
    const char *bytes, *reason;
  };
  for (const auto& r : {refusal{"-WRONGPASS invalid username-password pair hush\r\n", "redis_auth"},
                        refusal{"-NOAUTH HELLO must be called with the client already authenticated\r\n", "redis_auth"},
                        refusal{"-LOADING Redis is loading the dataset in memory\r\n", "redis_loading"},
                        refusal{"-ERR max number of clients reached\r\n", "redis_refused"}}) {
    conversation c({.password = "hush"});
    EXPECT_EQ(c.receive(r.bytes), r.reason);
    EXPECT_EQ(c.last_text.find("hush"), std::string::npos) << c.last_text;
    EXPECT_EQ(c.events(), "");
  }
  conversation c({.password = "hush"});
  c.receive("-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 'hush'\r\n");
  EXPECT_EQ(c.receive("-ERR invalid password hush\r\n"), "redis_refused");
  EXPECT_EQ(c.last_text.find("hush"), std::string::npos);
}

TEST(resp_session, a_server_that_is_not_fit_is_refused) {
  conversation wrong_db({.db = 99});
  wrong_db.receive(hello_reply);
  EXPECT_EQ(wrong_db.receive("-ERR DB index is out of range\r\n"), "redis_refused");
  conversation loading;
  loading.receive(hello_reply);
  EXPECT_EQ(loading.receive("-LOADING Redis is loading the dataset in memory\r\n"), "redis_loading");
  conversation replica({.master_wanted = true});
  replica.receive(hello_reply);
  EXPECT_EQ(replica.receive("*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$9\r\nconnected\r\n:1\r\n+PONG\r\n"),
            "redis_not_master");
  // Who may not ask ROLE or PING is believed HELLO's word.
  conversation no_right({.master_wanted = true});
  no_right.receive(hello_reply);
  EXPECT_EQ(no_right.receive("-NOPERM no\r\n-NOPERM no\r\n"), "");
  EXPECT_EQ(no_right.events(), "ready");
  conversation no_password;
  no_password.receive("-ERR unknown command 'HELLO'\r\n");
  EXPECT_EQ(no_password.receive("-NOAUTH Authentication required.\r\n"), "redis_auth");
  conversation not_redis;
  EXPECT_EQ(not_redis.receive("HTTP/1.1 400 Bad Request\r\n"), "bad_resp");
}

TEST(resp_session, a_handshake_has_a_deadline) {
  conversation c;
  EXPECT_EQ(c.pass(999ms), "");
  EXPECT_EQ(c.pass(1ms), "redis_silent");
  conversation halfway;
  halfway.receive(hello_reply);
  EXPECT_EQ(halfway.pass(1s), "redis_silent");
}

TEST(resp_session, pipelines_calls_and_answers_in_order) {
  conversation c;
  greeted(c);
  EXPECT_EQ(c.call(7, {"SET", "a", "1"}), "");
  EXPECT_EQ(c.call(8, {"GET", "a"}), "");
  EXPECT_EQ(c.call(9, {"NOPE"}, true), "");
  EXPECT_EQ(c.sent(), "SET a 1|GET a|ASKING|NOPE");
  EXPECT_EQ(c->unanswered(), 4u);
  const std::string answers = "+OK\r\n$1\r\n1\r\n+OK\r\n-ERR nope\r\n";
  for (const char byte : answers) EXPECT_EQ(c.receive(std::string_view(&byte, 1)), "");
  EXPECT_EQ(c.events(), R"(7="OK" 8="1" 9=error(ERR nope))");
  EXPECT_EQ(c->unanswered(), 0u);
}

TEST(resp_session, an_overdue_call_fails_at_once_and_its_late_answer_is_dropped) {
  conversation c;
  greeted(c);
  c.call(1, {"GET", "a"});
  EXPECT_EQ(c.pass(300ms), "");
  c.call(2, {"GET", "b"});
  EXPECT_EQ(c.events(), "");
  EXPECT_EQ(c.pass(200ms), "");
  EXPECT_EQ(c.events(), "1!store_unavailable");
  // Nothing stands in line behind a frozen server.
  EXPECT_TRUE(c->overdue());
  EXPECT_EQ(c.call(3, {"GET", "c"}), "store_unavailable");
  c.sent();
  EXPECT_EQ(c.receive("$1\r\na\r\n"), "");
  EXPECT_EQ(c.events(), "");
  EXPECT_FALSE(c->overdue());
  EXPECT_EQ(c.call(4, {"GET", "d"}), "");
  EXPECT_EQ(c.receive("$1\r\nb\r\n$1\r\nd\r\n"), "");
  EXPECT_EQ(c.events(), R"(2="b" 4="d")");
}

TEST(resp_session, a_server_that_stays_silent_is_given_up) {
  conversation c;
  greeted(c);
  c.call(1, {"GET", "a"}, true);
  EXPECT_EQ(c.pass(2499ms), "");
  EXPECT_EQ(c.events(), "1!store_unavailable");
  EXPECT_EQ(c.pass(1ms), "redis_silent");
}

TEST(resp_session, a_call_with_a_nearer_deadline_does_not_wait_for_those_before_it) {
  conversation c;
  greeted(c);
  const std::vector<std::string> get{"GET", "a"};
  c.call(1, get);
  ASSERT_TRUE(c->call(2, get, base::time_point(1h) + 100ms));
  EXPECT_EQ(c.pass(100ms), "");
  EXPECT_EQ(c.events(), "2!store_unavailable");
  EXPECT_FALSE(c->overdue());
  EXPECT_EQ(c.receive("+a\r\n+b\r\n"), "");
  EXPECT_EQ(c.events(), R"(1="a")");
}

TEST(resp_session, an_idle_connection_is_pinged_and_a_dead_one_given_up) {
  conversation c;
  greeted(c);
  EXPECT_EQ(c.pass(999ms), "");
  EXPECT_EQ(c.sent(), "");
  EXPECT_EQ(c.pass(1ms), "");
  EXPECT_EQ(c.sent(), "PING");
  EXPECT_EQ(c.receive("+PONG\r\n"), "");
  EXPECT_EQ(c.events(), "");
  EXPECT_EQ(c.pass(1s), "");
  EXPECT_EQ(c.sent(), "PING");
  EXPECT_EQ(c.pass(600ms), "");
  EXPECT_EQ(c.call(1, {"GET", "a"}), "store_unavailable");
  EXPECT_EQ(c.pass(2s), "redis_silent");
}

TEST(resp_session, unanswered_calls_are_bounded_in_number_and_bytes) {
  conversation few({.calls_max = 2});
  greeted(few);
  EXPECT_EQ(few.call(1, {"GET", "a"}), "");
  EXPECT_EQ(few.call(2, {"GET", "a"}), "");
  EXPECT_EQ(few.call(3, {"GET", "a"}), "store_unavailable");
  few.receive("+a\r\n");
  EXPECT_EQ(few.call(4, {"GET", "a"}), "");
  const std::vector<std::string> command{"SET", "a", std::string(1000, 'x')};
  conversation light({.call_bytes_max = 2 * command_bytes(command)});
  greeted(light);
  EXPECT_EQ(light.call(1, command), "");
  EXPECT_EQ(light.call(2, command), "");
  EXPECT_EQ(light.call(3, {"GET", "a"}), "store_unavailable");
  light.receive("+OK\r\n");
  EXPECT_EQ(light.call(4, command), "");
}

TEST(resp_session, subscribes_with_pushes) {
  conversation c({.channels = {"news", "weather"}});
  c.receive(hello_reply);
  c.sent();
  EXPECT_EQ(c.receive("+PONG\r\n"), "");
  EXPECT_EQ(c.sent(), "SUBSCRIBE news weather");
  EXPECT_EQ(c.receive(">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"), "");
  EXPECT_EQ(c.events(), "");
  EXPECT_EQ(c.receive(">3\r\n$9\r\nsubscribe\r\n$7\r\nweather\r\n:2\r\n"), "");
  EXPECT_EQ(c.events(), "ready");
  EXPECT_EQ(c.call(1, {"GET", "a"}), "store_unavailable");
  EXPECT_EQ(c.receive(">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n>2\r\n+other\r\n+x\r\n"), "");
  EXPECT_EQ(c.events(), "news<hi");
  EXPECT_EQ(c.pass(1s), "");
  EXPECT_EQ(c.sent(), "PING");
  EXPECT_EQ(c.receive("+PONG\r\n"), "");
}

TEST(resp_session, subscribes_in_resp2) {
  conversation c({.channels = {"news"}});
  c.receive("-ERR unknown command 'HELLO'\r\n");
  EXPECT_EQ(c.receive("+PONG\r\n"), "");
  EXPECT_EQ(c.receive("*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"), "");
  EXPECT_EQ(c.events(), "ready");
  c.sent();
  EXPECT_EQ(c.receive("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n"), "");
  EXPECT_EQ(c.events(), "news<hi");
  EXPECT_EQ(c.pass(1s), "");
  EXPECT_EQ(c.sent(), "PING");
  EXPECT_EQ(c.receive("*2\r\n$4\r\npong\r\n$0\r\n\r\n"), "");
  EXPECT_EQ(c->unanswered(), 0u);
}

TEST(resp_session, a_refused_subscription_ends_the_connection) {
  conversation c({.channels = {"news"}});
  c.receive(hello_reply);
  c.receive("+PONG\r\n");
  EXPECT_EQ(c.receive("-NOPERM this user has no permissions to access one of the channels\r\n"), "redis_auth");
}

TEST(resp_session, refuses_what_nobody_asked_for) {
  conversation c;
  greeted(c);
  EXPECT_EQ(c.receive(">2\r\n+invalidate\r\n*1\r\n+a\r\n"), "");
  EXPECT_EQ(c.receive("+OK\r\n"), "bad_resp");
}

}  // namespace
}  // namespace sluice::resp
