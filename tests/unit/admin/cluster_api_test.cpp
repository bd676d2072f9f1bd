#include "admin/cluster_api.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace sluice::admin {
namespace {

using runtime::http_request;
using runtime::http_response;
using std::chrono::milliseconds;
namespace json = boost::json;

http_request make(std::string method, std::string path, std::string query = {}) {
  http_request r;
  r.method = std::move(method);
  r.path = r.target = std::move(path);
  r.query = std::move(query);
  r.peer = *base::endpoint::parse("127.0.0.1:5000");
  return r;
}

http_response ask(const router& api, const http_request& request) {
  http_response got;
  int answers = 0;
  api(request, [&](http_response response) {
    ++answers;
    got = std::move(response);
  });
  EXPECT_EQ(answers, 1);
  return got;
}

json::object body_of(const http_response& r) {
  EXPECT_EQ(r.content_type, "application/json");
  return json::parse(r.body).as_object();
}

cluster::stream_key key(std::string stream) { return {"__defaultVhost__", "live", std::move(stream)}; }

struct cluster_api : testing::Test {
  cluster_api() {
    report.proxies = {{"p1", "0.1", "7", milliseconds(1500), 3}};
    report.now = base::time_point(std::chrono::seconds(100));
    cluster::cluster_snapshot::origin o;
    o.id = "o-s-9";
    o.server_id = "o";
    o.service = "s";
    o.pid = "9";
    o.rtmp = {*base::endpoint::parse("127.0.0.1:1936")};
    o.health = cluster::origin_health::suspect;
    o.is_sluice = true;
    o.streams = 4;
    o.weight = 2;
    o.capacity = 50;
    o.draining = true;
    o.to_move = 2;
    o.move_refused = {std::string("live/a: \xff\x01 ") + std::string(1000, 'x')};
    o.heard_at = report.now - milliseconds(250);
    report.snapshot.origins = {o};
    report.snapshot.streams = 2;
    report.snapshot.degraded = 1;
    report.streams = {{key("b"), "o-s-9", {17, 5}, "sess\"1", false, true}, {key("a"), "", {}, "s2", true, false}};
    report.figures[key("b").str()] = {7, 1024};
    report.figures[key("only-watched").str()] = {1, 0};
  }
  router api(std::string token = {}) {
    router r(std::move(token));
    add_cluster_routes(r, {[this](const auto& done) { done(report); },
                           [this](const cluster::stream_key& k, const auto& done) {
                             asked.push_back(k.str());
                             stream_story story{report, k == key("b") ? events : std::vector<cluster::history_event>{}};
                             std::erase_if(story.report.streams, [&](const auto& s) { return s.key != k; });
                             done(std::move(story));
                           },
                           [this](const std::string& server, bool on) -> base::result<size_t> {
                             if (server != "o/1 x") return base::fail("unknown_origin");
                             drains.emplace_back(on);
                             return 5;
                           }});
    return r;
  }
  cluster_report report;
  std::vector<cluster::history_event> events{{1'700'000'000'123, "owner", "o-s-9", {17, 5}, "claim"},
                                             {1'700'000'001'000, "lost", "o-s-9", {}, "gone"}};
  std::vector<std::string> asked;
  std::vector<bool> drains;
};

TEST_F(cluster_api, shows_proxies_origins_and_streams) {
  const auto got = body_of(ask(api(), make("GET", "/api/v1/sluice/cluster")));
  EXPECT_EQ(got.at("proxies"),
            json::parse(R"([{"id":"p1","version":"0.1","pid":"7","answered":true,"uptime_ms":1500,"sessions":3}])"));
  auto origin = got.at("origins").as_array().at(0).as_object();
  const auto refused = std::string(origin.at("move_refused").as_array().at(0).as_string());
  EXPECT_TRUE(refused.starts_with("live/a: ?? xxx")) << refused;
  EXPECT_EQ(refused.size(), 300u);
  origin.erase("move_refused");
  EXPECT_EQ(origin, json::parse(R"({"id":"o-s-9","server":"o","service":"s","pid":"9","device":"",
      "rtmp":["127.0.0.1:1936"],"sluice":true,"state":"suspect","last_answer_ms":250,"load":4,"weight":2.0E0,
      "capacity":50,"breaker":"closed","draining":true,"to_move":2})"));
  EXPECT_EQ(got.at("total"), 3);
  EXPECT_EQ(got.at("degraded"), 1);
  EXPECT_EQ(got.at("streams"), json::parse(R"([
      {"name":"__defaultVhost__/live/a","owner":null,"epoch":null,"publisher":"s2","held":false,"degraded":true,
       "viewers":0,"retained_bytes":0},
      {"name":"__defaultVhost__/live/b","owner":"o-s-9","epoch":"17.5","publisher":"sess\"1","held":true,
       "degraded":false,"viewers":7,"retained_bytes":1024},
      {"name":"__defaultVhost__/live/only-watched","owner":null,"epoch":null,"publisher":null,"held":false,
       "degraded":false,"viewers":1,"retained_bytes":0}])"));
}

TEST_F(cluster_api, pages_through_the_streams) {
  const auto names = [&](std::string query) {
    std::string all;
    const auto got = body_of(ask(api(), make("GET", "/api/v1/sluice/cluster", std::move(query))));
    for (const auto& s : got.at("streams").as_array())
      all += std::string(s.as_object().at("name").as_string()).substr(22) + " ";
    return all;
  };
  EXPECT_EQ(names("count=2"), "a b ");
  EXPECT_EQ(names("start=1&count=1"), "b ");
  EXPECT_EQ(names("start=2"), "only-watched ");
  EXPECT_EQ(names("start=3"), "");
  EXPECT_EQ(names("start=18446744073709551615"), "");
  EXPECT_EQ(names("count=0"), "");
  for (const char* bad : {"count=-1", "count=x", "start=1e3", "count=10001", "start=18446744073709551616"})
    EXPECT_EQ(ask(api(), make("GET", "/api/v1/sluice/cluster", bad)).status, 400) << bad;
}

TEST_F(cluster_api, explains_a_stream) {
  const auto got = body_of(ask(api(), make("GET", "/api/v1/sluice/explain", "stream=live%2Fb")));
  EXPECT_EQ(got.at("stream").as_object().at("name"), "__defaultVhost__/live/b");
  EXPECT_EQ(got.at("events"), json::parse(R"([
      {"at":"2023-11-14T22:13:20.123Z","at_ms":1700000000123,"what":"owner","origin":"o-s-9","epoch":"17.5","reason":"claim"},
      {"at":"2023-11-14T22:13:21.000Z","at_ms":1700000001000,"what":"lost","origin":"o-s-9","epoch":null,"reason":"gone"}])"));
  EXPECT_EQ(body_of(ask(api(), make("GET", "/api/v1/sluice/explain", "stream=__defaultVhost__/live/b"))), got);
  EXPECT_EQ(body_of(ask(api(), make("GET", "/api/v1/sluice/explain", "stream=live/a"))).at("events").as_array().size(),
            0u)
      << "known, though nothing has happened to it";
}

TEST_F(cluster_api, names_of_three_parts_may_have_a_nested_app) {
  EXPECT_EQ(ask(api(), make("GET", "/api/v1/sluice/explain", "stream=a/b/c")).status, 404);
  EXPECT_EQ(asked, (std::vector<std::string>{"a/b/c", "__defaultVhost__/a/b/c"}));
}

TEST_F(cluster_api, bad_and_unknown_names) {
  for (const char* bad : {"", "stream=", "stream=a", "stream=a/..", "stream=a/%7Bb", "stream=a%2Fb%0A"})
    EXPECT_EQ(ask(api(), make("GET", "/api/v1/sluice/explain", bad)).status, 400) << bad;
  const auto unknown = ask(api(), make("GET", "/api/v1/sluice/explain", "stream=live/%22x"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(body_of(unknown).at("error"), "nobody knows live/\"x; names: /api/v1/sluice/cluster");
}

TEST_F(cluster_api, drains_an_origin_and_undoes_it) {
  const auto done = ask(api(), make("POST", "/api/v1/sluice/origins/o/1 x/drain"));
  EXPECT_EQ(body_of(done), json::parse(R"({"code":0,"server":"o/1 x","draining":true,"to_move":5,"shared":false})"));
  EXPECT_EQ(ask(api(), make("DELETE", "/api/v1/sluice/origins/o/1 x/drain/")).status, 200);
  EXPECT_EQ(drains, (std::vector<bool>{true, false}));
  const auto unknown = ask(api(), make("POST", "/api/v1/sluice/origins/nobody/drain"));
  EXPECT_EQ(unknown.status, 404);
  EXPECT_NE(unknown.body.find("no origin has the server id nobody"), std::string::npos);
  EXPECT_EQ(ask(api(), make("GET", "/api/v1/sluice/origins/o/1 x/drain")).status, 405);
  EXPECT_EQ(ask(api(), make("POST", "/api/v1/sluice/origins//drain")).status, 404);
  EXPECT_EQ(ask(api(), make("POST", "/api/v1/sluice/origins/drain")).status, 404);
}

TEST_F(cluster_api, is_for_this_host_when_there_is_no_token) {
  struct {
    const char* peer;
    std::vector<std::pair<std::string, std::string>> headers;
    int status;
  } const cases[] = {
      {"127.0.0.1:9", {}, 200},
      {"[::1]:9", {{"Host", "[::1]:12025"}}, 200},
      {"127.0.0.1:9", {{"Host", "localhost:12025"}}, 200},
      {"127.0.0.1:9", {{"Host", "127.0.0.1:12025"}, {"Origin", "http://127.0.0.1:12025"}}, 200},
      {"10.0.0.1:9", {}, 403},
      {"10.0.0.1:9", {{"Authorization", "Bearer x"}}, 403},
      // A server on this host that passes on what comes from elsewhere.
      {"127.0.0.1:9", {{"X-Forwarded-For", "127.0.0.1"}}, 403},
      {"127.0.0.1:9", {{"Via", "1.1 nginx"}}, 403},
      // A page of another site, in a browser on this host.
      {"127.0.0.1:9", {{"Host", "127.0.0.1:12025"}, {"Origin", "https://evil.example"}}, 403},
      {"127.0.0.1:9", {{"Host", "127.0.0.1:12025"}, {"Origin", "http://x127.0.0.1:12025"}}, 403},
      {"127.0.0.1:9", {{"Host", "127.0.0.1:12025"}, {"Origin", "null"}}, 403},
      {"127.0.0.1:9", {{"Host", "rebound.example:12025"}, {"Origin", "http://rebound.example:12025"}}, 403},
  };
  for (const auto& c : cases) {
    auto request = make("POST", "/api/v1/sluice/origins/o/1 x/drain");
    request.peer = *base::endpoint::parse(c.peer);
    request.headers = c.headers;
    const auto got = ask(api(), request);
    EXPECT_EQ(got.status, c.status) << c.peer << " " << (c.headers.empty() ? "" : c.headers.back().second);
    if (c.status == 403) EXPECT_NE(got.body.find("PROXY_HTTP_API_AUTH_ENABLED"), std::string::npos);
  }
}

TEST_F(cluster_api, is_for_who_has_the_token_when_there_is_one) {
  auto request = make("GET", "/api/v1/sluice/cluster");
  EXPECT_EQ(ask(api("t"), request).status, 401) << "also on this host";
  request.peer = *base::endpoint::parse("10.0.0.1:9");
  request.headers = {{"Authorization", "Bearer t"}, {"Origin", "https://console.example"}};
  EXPECT_EQ(ask(api("t"), request).status, 200);
}

}  // namespace
}  // namespace sluice::admin
