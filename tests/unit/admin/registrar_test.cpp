#include "admin/registrar.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <optional>

#include "runtime/http_server.hpp"

namespace sluice::admin {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class silent_log final : public base::log_sink {
 public:
  bool enabled(base::log_level) const override { return true; }
  void write(base::log_level, std::string_view event, std::span<const base::log_field>) override {
    events.emplace_back(event);
  }
  std::vector<std::string> events;
};

/// An origin that registers at one proxy, whose answers the test gives.
class registrar_test : public ::testing::Test {
 protected:
  registrar_test() {
    proxy = *runtime::http_server::open(
        loop, {base::ip_address::v4({127, 0, 0, 1}), 0}, {}, log,
        [this](const runtime::http_request& request, runtime::http_server::respond respond) {
          const auto parsed = cluster::parse_registration(request.body, {});
          ASSERT_TRUE(parsed) << parsed.error().text;
          got.push_back(*parsed);
          if (hold) {
            held_answers.push_back(std::move(respond));
          } else {
            respond(answer());
          }
        });
  }
  runtime::http_response answer() const {
    runtime::http_response response;
    response.status = status;
    response.body = reply;
    return response;
  }
  void start(base::duration interval = milliseconds(20)) {
    registrar_parts parts;
    parts.describe = [] {
      cluster::origin_registration me;
      me.server = "o";
      me.service = "s";
      me.pid = "1";
      me.rtmp = {*base::endpoint::parse("127.0.0.1:1935")};
      me.sluice.emplace().version = "1";
      return me;
    };
    parts.held = [this] { return streams; };
    parts.on_fenced = [this](const cluster::stream_key& key, const cluster::epoch& e) {
      EXPECT_TRUE(taken.empty()) << "what is fenced is told first";
      fenced.push_back(key.str() + " " + cluster::text_of(e));
    };
    parts.on_whole_taken = [this](base::time_point at) { taken.push_back(at); };
    const auto url = "http://" + proxy->local().to_string() + "/api/v1/srs/register";
    r.emplace(loop, registrar_config{{url}, "", interval, base::ip_address::v4({127, 0, 0, 1})}, std::move(parts), log,
              metrics);
  }
  bool run_until(const std::function<bool()>& done) {
    const auto deadline = runtime::loop::monotonic_now() + seconds(10);
    bool held = false;
    std::function<void()> look;
    runtime::timer again(loop, [&] { look(); });
    look = [&] {
      held = done();
      if (held || runtime::loop::monotonic_now() >= deadline) return loop.stop();
      again.arm_after(milliseconds(1));
    };
    again.arm_after(base::duration(1));
    loop.run();
    EXPECT_TRUE(held) << "did not happen in time";
    return held;
  }
  static std::string told(const cluster::origin_registration& r) {
    std::string text = r.sluice->whole ? "whole" : "";
    for (const auto& h : r.sluice->streams) text += " " + h.name + (h.published ? "+" : "-");
    return text;
  }

  runtime::loop loop;
  silent_log log;
  base::metrics metrics;
  std::unique_ptr<runtime::http_server> proxy;
  std::vector<cluster::origin_registration> got;
  std::deque<runtime::http_server::respond> held_answers;
  bool hold = false;
  int status = 200;
  std::string reply = R"({"code":0,"pid":"7","sluice":{"proxy":"p1","want_whole":false,"fenced":{}}})";
  std::vector<cluster::held_stream> streams{{"v/a/s1", {5, 1}, true}};
  std::vector<std::string> fenced;
  std::vector<base::time_point> taken;
  std::optional<registrar> r;
};

TEST_F(registrar_test, tells_all_first_and_then_changes) {
  start();
  ASSERT_TRUE(run_until([&] { return got.size() == 2; }));
  EXPECT_EQ(told(got[0]), "whole v/a/s1+");
  EXPECT_EQ(got[0].sluice->streams[0].epoch, (cluster::epoch{5, 1}));
  EXPECT_EQ(told(got[1]), "");
  streams = {{"v/a/s2", {6, 1}, true}};
  const auto before = got.size();
  ASSERT_TRUE(run_until([&] { return got.size() > before; }));
  EXPECT_EQ(told(got[before]), " v/a/s2+ v/a/s1-");
  EXPECT_EQ(got[0].sluice->beat, 1u);
  EXPECT_EQ(got[0].sluice->since, 0u);
  EXPECT_EQ(got[before].sluice->beat, before + 1);
  EXPECT_EQ(got[before].sluice->since, before);
  EXPECT_EQ(taken.size(), 1u);
}

TEST_F(registrar_test, hears_what_is_fenced_and_passes_over_nonsense) {
  reply = R"({"code":0,"sluice":{"proxy":"p1","want_whole":false,
              "fenced":{"v/a/s1":"9.18446744073709551615","bad":"9.1","v/a/..":"9.1","v/a/s2":"x","v/a/s3":7}}})";
  start();
  ASSERT_TRUE(run_until([&] { return !taken.empty(); }));
  EXPECT_EQ(fenced, std::vector<std::string>{"v/a/s1 9.18446744073709551615"});
}

TEST_F(registrar_test, a_proxy_that_wants_all_or_is_another_gets_all) {
  reply = R"({"code":0,"sluice":{"proxy":"p1","want_whole":true}})";
  start();
  ASSERT_TRUE(run_until([&] { return got.size() == 2; }));
  EXPECT_EQ(told(got[1]), "whole v/a/s1+");
  reply = R"({"code":0,"sluice":{"proxy":"p1"}})";
  ASSERT_TRUE(run_until([&] { return got.size() == 4; }));
  EXPECT_EQ(told(got[3]), "");
  reply = R"({"code":0,"sluice":{"proxy":"p2"}})";
  ASSERT_TRUE(run_until([&] { return got.size() == 6; }));
  EXPECT_EQ(told(got[5]), "whole v/a/s1+") << "another process in its place";
}

TEST_F(registrar_test, proxies_that_are_no_sluice_are_fine) {
  for (const char* text : {"", "not JSON", "[]", R"({"code":0})", R"({"sluice":7})", R"({"sluice":{"fenced":[]}})"}) {
    reply = text;
    got.clear();
    start();
    EXPECT_TRUE(run_until([&] { return got.size() == 2; })) << text;
  }
  EXPECT_TRUE(fenced.empty());
}

TEST_F(registrar_test, what_was_refused_is_told_again) {
  status = 503;
  start();
  ASSERT_TRUE(run_until([&] { return got.size() == 2; }));
  EXPECT_EQ(told(got[1]), "whole v/a/s1+");
  EXPECT_TRUE(taken.empty());
}

TEST_F(registrar_test, all_now_is_sent_at_once_or_behind_the_call_under_way) {
  start(seconds(100));
  ASSERT_TRUE(run_until([&] { return taken.size() == 1; }));
  const auto asked_at = loop.refresh();
  r->tell_all_now();
  ASSERT_TRUE(run_until([&] { return taken.size() == 2; }));
  EXPECT_GE(taken[1], asked_at);

  hold = true;
  r->tell_all_now();
  ASSERT_TRUE(run_until([&] { return held_answers.size() == 1; }));
  r->tell_all_now();
  hold = false;
  held_answers.front()(answer());
  ASSERT_TRUE(run_until([&] { return got.size() == 4; }));
  EXPECT_EQ(told(got[3]), "whole v/a/s1+");
  ASSERT_TRUE(run_until([&] { return taken.size() == 3; })) << "the one that was sent before does not count";
}

}  // namespace
}  // namespace sluice::admin
