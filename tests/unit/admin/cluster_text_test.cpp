#include "admin/cluster_text.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace sluice::admin {
namespace {

using cluster::origin_health;
using std::chrono::milliseconds;
namespace json = boost::json;

const base::time_point now{std::chrono::seconds(100)};

cluster::stream_key key(std::string stream) { return {"__defaultVhost__", "live", std::move(stream)}; }

cluster::cluster_snapshot::origin origin(std::string server, origin_health health, size_t to_move = 0) {
  cluster::cluster_snapshot::origin o;
  o.id = server + "-s-1";
  o.server_id = std::move(server);
  o.service = "s";
  o.pid = "1";
  o.rtmp = {*base::endpoint::parse("10.0.0.1:1935")};
  o.health = health;
  o.is_sluice = true;
  o.weight = 1.5;
  o.capacity = 9;
  o.streams = 3;
  o.to_move = to_move;
  o.draining = to_move > 0;
  if (to_move > 0) o.move_refused = {"live/x: full"};
  o.heard_at = now - milliseconds(200);
  return o;
}

/// What proxy p1 sees: it publishes a, and has viewers of a and b.
cluster_report first() {
  cluster_report r;
  r.proxies = {{"p1", "1.0", "11", milliseconds(5000), 4}};
  r.now = now;
  r.snapshot.origins = {origin("o1", origin_health::alive), origin("o2", origin_health::alive, 2)};
  r.snapshot.streams = 1;
  r.streams = {{key("a"), "o1-s-1", {7, 1}, "s-a", false, true}, {key("b"), "o1-s-1", {3, 1}, "", false, false}};
  r.figures[key("a").str()] = {2, 1000};
  r.figures[key("b").str()] = {1, 0};
  return r;
}

/// What proxy p2 sees: it publishes b, which has moved meanwhile, and knows one more origin.
cluster_report second() {
  cluster_report r;
  r.proxies = {{"p2", "1.1", "22", milliseconds(9000), 6}};
  r.now = now;
  r.snapshot.origins = {origin("o2", origin_health::suspect, 1), origin("o3", origin_health::dead)};
  r.snapshot.streams = 1;
  r.snapshot.degraded = 1;
  r.snapshot.mass_silence = true;
  r.streams = {{key("b"), "o2-s-1", {8, 1}, "s-b", true, false}};
  r.figures[key("a").str()] = {5, 0};
  r.figures[key("watched").str()] = {1, 0};
  return r;
}

TEST(ClusterText, AllProxiesTogetherShowTheSameWhoeverIsAsked) {
  auto one = first(), other = second();
  ASSERT_TRUE(merge_cluster(one, cluster_body(second(), 0, 100)));
  ASSERT_TRUE(merge_cluster(other, cluster_body(first(), 0, 100)));
  const auto sorted = [](const cluster_report& r) {
    auto body = json::parse(cluster_body(r, 0, 100)).as_object();
    for (const char* list : {"proxies", "origins"}) {
      auto& entries = body.at(list).as_array();
      std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
        return a.as_object().at("id").as_string() < b.as_object().at("id").as_string();
      });
    }
    return body;
  };
  EXPECT_EQ(sorted(one), sorted(other));
  const auto got = sorted(one);
  EXPECT_EQ(got.at("published"), 2);
  EXPECT_EQ(got.at("degraded"), 1);
  EXPECT_EQ(got.at("mass_silence"), true);
  EXPECT_EQ(got.at("total"), 3);
  ASSERT_EQ(got.at("proxies").as_array().size(), 2u);
  EXPECT_EQ(got.at("proxies").as_array().at(1),
            json::parse(R"({"id":"p2","version":"1.1","pid":"22","answered":true,"uptime_ms":9000,"sessions":6})"));
  const auto& origins = got.at("origins").as_array();
  ASSERT_EQ(origins.size(), 3u);
  EXPECT_EQ(origins.at(1).as_object().at("state"), "suspect") << "the worse of the two";
  EXPECT_EQ(origins.at(1).as_object().at("to_move"), 3);
  EXPECT_EQ(origins.at(1).as_object().at("move_refused").as_array().size(), 2u);
  EXPECT_EQ(origins.at(2).as_object().at("rtmp"), json::parse(R"(["10.0.0.1:1935"])"));
  EXPECT_EQ(origins.at(2).as_object().at("last_answer_ms"), 200);
  const auto stream = [&](size_t n) { return got.at("streams").as_array().at(n).as_object(); };
  EXPECT_EQ(stream(0).at("viewers"), 7);
  EXPECT_EQ(stream(0).at("retained_bytes"), 1000);
  EXPECT_EQ(stream(0).at("publisher"), "s-a");
  EXPECT_EQ(stream(1).at("owner"), "o2-s-1") << "of the higher epoch";
  EXPECT_EQ(stream(1).at("epoch"), "8.1");
  EXPECT_EQ(stream(1).at("publisher"), "s-b");
  EXPECT_EQ(stream(1).at("degraded"), true);
  EXPECT_EQ(stream(2).at("viewers"), 1);
}

TEST(ClusterText, AProxyThatDidNotAnswerCountsOnceItDid) {
  auto one = first();
  one.proxies.push_back({"p2", "1.1", "22", {}, 0, false});
  ASSERT_TRUE(merge_cluster(one, cluster_body(second(), 0, 100)));
  ASSERT_EQ(one.proxies.size(), 2u);
  EXPECT_TRUE(one.proxies[1].answered);
  EXPECT_EQ(one.proxies[1].sessions, 6u);
}

TEST(ClusterText, WhatIsNoReportIsRefusedAndWhatIsOddIsLeftOut) {
  for (const char* bad : {"", "[]", "null", "{"}) {
    auto one = first();
    EXPECT_EQ(merge_cluster(one, bad).error().reason, "bad_report") << bad;
  }
  auto one = first();
  ASSERT_TRUE(merge_cluster(one, R"({"proxies":7,"origins":[1,{"rtmp":["x",3],"state":"odd","last_answer_ms":-5}],
      "streams":[{"name":"../x","viewers":3},{"name":"__defaultVhost__/live/z","owner":"o","epoch":"y"},null]})"));
  EXPECT_EQ(one.proxies.size(), 1u);
  EXPECT_EQ(one.streams.size(), 3u);
  EXPECT_EQ(one.streams.back().epoch, cluster::epoch());
}

TEST(ClusterText, AStoryIsToldOnceAndInOrder) {
  stream_story ours{first(), {{1000, "owner", "o1-s-1", {7, 1}, "placed"}, {9000, "lost", "o1-s-1", {7, 1}, "gone"}}};
  const stream_story theirs{second(),
                            {{900, "owner", "o1-s-1", {7, 1}, "heard"},
                             {5000, "gap", "o1-s-1", {7, 1}, "12"},
                             {9001, "owner", "o2-s-1", {8, 1}, "gone"},
                             {30000, "owner", "o1-s-1", {7, 1}, "again, much later"}}};
  ASSERT_TRUE(merge_story(ours, story_text(theirs)));
  std::vector<std::string> what;
  for (const auto& e : ours.events) what.push_back(std::to_string(e.wall_ms) + " " + e.what);
  EXPECT_EQ(what, (std::vector<std::string>{"900 owner", "5000 gap", "9000 lost", "9001 owner", "30000 owner"}));
  EXPECT_EQ(merge_story(ours, "{}").error().reason, "bad_report");
}

}  // namespace
}  // namespace sluice::admin
