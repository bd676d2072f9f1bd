#include "roles/operate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "app/command_line.hpp"
#include "runtime/http_server.hpp"
#include "runtime/process.hpp"
#include "runtime/shard.hpp"

// `sluice explain` and `sluice drain`: what the user writes, what is asked, what is printed.
namespace sluice::app {
namespace {

using roles::operate_config;
using testing::HasSubstr;
using testing::Not;

invocation ask(const std::vector<std::string>& arguments, variables environment = {}) {
  return parse_command_line(arguments, {std::move(environment), [](const std::string&) -> base::result<std::string> {
                                          return base::fail("no_such_file", "not there");
                                        }});
}

TEST(operator_commands, say_what_to_do) {
  auto asked = ask({"explain", "live/a"});
  ASSERT_EQ(asked.what, command::operate) << asked.err;
  EXPECT_EQ(asked.operation.what, operate_config::what_to_do::explain);
  EXPECT_EQ(asked.operation.subject, "live/a");
  EXPECT_EQ(asked.operation.api, "http://127.0.0.1:12025");
  EXPECT_EQ(asked.operation.token, "");
  EXPECT_FALSE(asked.operation.json);

  asked = ask({"drain", "--undo", "origin-1", "--api", "[::1]:9/", "--token", "t", "--json"},
              {{"PROXY_HTTP_API_AUTH_TOKEN", "of the environment"}});
  ASSERT_EQ(asked.what, command::operate) << asked.err;
  EXPECT_EQ(asked.operation.what, operate_config::what_to_do::undo_drain);
  EXPECT_EQ(asked.operation.subject, "origin-1");
  EXPECT_EQ(asked.operation.api, "http://[::1]:9");
  EXPECT_EQ(asked.operation.token, "t");
  EXPECT_TRUE(asked.operation.json);

  asked = ask({"drain", "origin-1"}, {{"PROXY_HTTP_API_AUTH_TOKEN", "of the environment"}});
  EXPECT_EQ(asked.operation.what, operate_config::what_to_do::drain);
  EXPECT_EQ(asked.operation.token, "of the environment");
}

TEST(operator_commands, refuse_what_they_do_not_understand_and_say_what_they_want) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"explain"}, "want a STREAM"},
      {{"drain"}, "want a SERVER_ID"},
      {{"drain", ""}, "want a SERVER_ID"},
      {{"explain", "a"}, "\"a\": want APP/STREAM"},
      {{"explain", "live/.."}, "want APP/STREAM"},
      {{"explain", "live/a\n"}, "want APP/STREAM"},
      {{"drain", "a b"}, "want an origin's server id"},
      {{"drain", std::string(300, 'a')}, "want an origin's server id"},
      {{"explain", "live/a", "live/b"}, "unexpected argument live/b"},
      {{"explain", "live/a", "--undo"}, "unknown flag --undo"},
      {{"explain", "live/a", "--jsno"}, "did you mean --json?"},
      {{"explain", "live/a", "--api", "https://x:1"}, "want http://HOST:PORT"},
      {{"explain", "live/a", "--api", "http://x:1/path"}, "want http://HOST:PORT"},
      {{"explain", "live/a", "--api", "http://u:p@x:1"}, "want http://HOST:PORT"},
      {{"explain", "live/a", "--api", "http://:1"}, "want http://HOST:PORT"},
      {{"explian", "live/a"}, "did you mean explain?"},
  };
  for (const auto& [arguments, text] : cases) {
    const auto asked = ask(arguments);
    EXPECT_EQ(asked.exit_code, 1) << text;
    EXPECT_EQ(asked.what, command::none);
    EXPECT_THAT(asked.err, HasSubstr(text));
  }
}

TEST(operator_commands, have_help) {
  const auto asked = ask({"drain", "--help"});
  EXPECT_EQ(asked.exit_code, 0);
  for (const char* text : {"SERVER_ID", "--undo", "--api", "--token", "--json", "Exit code"})
    EXPECT_THAT(asked.out, HasSubstr(text));
}

/// A system API on a thread of its own that gives one answer and keeps what it was asked.
class operations : public ::testing::Test {
 protected:
  operations() {
    thread_.start();
    std::promise<void> open;
    thread_.loop().post([&] {
      server_ = *runtime::http_server::open(thread_.loop(), {base::ip_address::v4({127, 0, 0, 1}), 0}, {}, *log_,
                                            [this](const runtime::http_request& r, const auto& respond) {
                                              asked = r.method + " " + r.target;
                                              authorization = std::string(r.header("Authorization"));
                                              respond(answer);
                                            });
      open.set_value();
    });
    open.get_future().wait();
  }
  ~operations() override {
    std::promise<void> closed;
    thread_.loop().post([&] {
      server_.reset();
      closed.set_value();
    });
    closed.get_future().wait();
    thread_.stop();
  }
  operate_config make(operate_config::what_to_do what, std::string subject) {
    return {what, std::move(subject), "http://" + server_->local().to_string(), "", false};
  }
  runtime::http_response answer;
  std::string asked, authorization;

 private:
  std::unique_ptr<base::log_sink> log_ = runtime::make_log(runtime::log_format::text, base::log_level::error, {});
  runtime::shard thread_{0};
  std::unique_ptr<runtime::http_server> server_;
};

constexpr auto explain = operate_config::what_to_do::explain;
constexpr auto drain = operate_config::what_to_do::drain;

TEST_F(operations, explain_prints_a_table) {
  answer.body = R"({"code":0,"stream":{"name":"v/live/a","owner":"o-s-1","epoch":"17.5","publisher":null,"viewers":3,
      "retained_bytes":0,"degraded":true},"events":[
      {"at":"2023-11-14T22:13:20.123Z","what":"owner","origin":"o-s-1","epoch":"17.5","reason":"claim"},
      {"at":"2023-11-14T22:13:20.200Z","what":"published","origin":"o-s-1","epoch":"17.5","reason":"abc-1"},
      {"at":"2023-11-14T22:13:21.000Z","what":"lost","origin":"","epoch":null,"reason":"\u001b[31mgone"}]})";
  auto c = make(explain, "live/a b");
  c.token = "t";
  const auto text = roles::run_operation(c);
  ASSERT_TRUE(text) << text.error().text;
  EXPECT_EQ(asked, "GET /api/v1/sluice/explain?stream=live%2Fa%20b");
  EXPECT_EQ(authorization, "Bearer t");
  EXPECT_EQ(*text,
            "stream     v/live/a\n"
            "owner      o-s-1, epoch 17.5\n"
            "publisher  none through this proxy\n"
            "viewers    3 here; 0 bytes retained\n"
            "state      degraded: published here, and without an origin now\n"
            "\n"
            "time                      what       origin  epoch  reason\n"
            "2023-11-14T22:13:20.123Z  owner      o-s-1   17.5   claim\n"
            "2023-11-14T22:13:20.200Z  published  o-s-1   17.5   session abc-1\n"
            "2023-11-14T22:13:21.000Z  lost       -       -      ?[31mgone\n");
  c.json = true;
  EXPECT_EQ(*roles::run_operation(c), answer.body + "\n");
}

TEST_F(operations, drain_and_undo) {
  answer.body = R"({"code":0,"server":"o/1","draining":true,"to_move":5})";
  auto text = roles::run_operation(make(drain, "o/1"));
  ASSERT_TRUE(text) << text.error().text;
  EXPECT_EQ(asked, "POST /api/v1/sluice/origins/o%2F1/drain");
  EXPECT_THAT(*text, HasSubstr("o/1 gets no new streams. Streams published through this proxy that are to move: 5."));
  EXPECT_THAT(*text, HasSubstr("Tell every proxy."));
  answer.body = R"({"code":0,"server":"o/1","draining":true,"to_move":5,"shared":true})";
  text = roles::run_operation(make(drain, "o/1"));
  EXPECT_THAT(*text, HasSubstr("All proxies that share its store do the same."));
  EXPECT_THAT(*text, Not(HasSubstr("Tell every proxy.")));
  answer.body = R"({"code":0,"server":"o/1","draining":false,"to_move":0})";
  text = roles::run_operation(make(operate_config::what_to_do::undo_drain, "o/1"));
  EXPECT_EQ(asked, "DELETE /api/v1/sluice/origins/o%2F1/drain");
  EXPECT_EQ(*text, "o/1 takes new streams again. Tell every proxy.\n");
}

TEST_F(operations, refusals_say_why) {
  answer.status = 404;
  answer.body = R"({"code":404,"error":"this proxy knows nothing of live/a"})";
  EXPECT_EQ(roles::run_operation(make(explain, "live/a")).error().text, "this proxy knows nothing of live/a");
  answer.status = 401;
  answer.body = R"({"code":401,"error":"a valid bearer token is required"})";
  EXPECT_THAT(roles::run_operation(make(drain, "o")).error().text, HasSubstr("PROXY_HTTP_API_AUTH_TOKEN"));
  answer.status = 500;
  answer.body = "oops";
  EXPECT_EQ(roles::run_operation(make(drain, "o")).error().text, "status 500");
  answer.status = 200;
  for (const char* nonsense : {"", "[]", "{}", R"({"stream":1,"events":2})", R"({"stream":{},"events":[1]})"}) {
    answer.body = nonsense;
    EXPECT_THAT(roles::run_operation(make(explain, "live/a")).error().text, HasSubstr("is --api right?"));
    EXPECT_THAT(roles::run_operation(make(drain, "o")).error().text, HasSubstr("is --api right?"));
  }
}

TEST(operations_without_a_server, say_where_they_asked) {
  const auto text = roles::run_operation({explain, "live/a", "http://127.0.0.1:1", "", false}).error().text;
  EXPECT_THAT(text, HasSubstr("--api http://127.0.0.1:1"));
}

}  // namespace
}  // namespace sluice::app
