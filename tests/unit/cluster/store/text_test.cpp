#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cluster/store/cluster_message.hpp"
#include "cluster/store/owner_text.hpp"
#include "cluster/store/redis_keys.hpp"
#include "cluster/store/server_text.hpp"

namespace sluice::cluster {
namespace {

const owner_record owner{"origin1-svc-77", {1'795'643'213'422, UINT64_MAX}, "p9", 1'795'643'000'000, true};

TEST(RedisKeys, AreThoseOfSrsAndOneOfOursInTheSameSlot) {
  const stream_key key{"__defaultVhost__", "live", "a"};
  const redis_keys plain(""), with("p");
  EXPECT_EQ(plain.url(key), "srs-proxy-url:__defaultVhost__/live/a");
  EXPECT_EQ(plain.owner(key), "sluice-own:{srs-proxy-url:__defaultVhost__/live/a}");
  EXPECT_EQ(with.url(key), "p:srs-proxy-url:__defaultVhost__/live/a");
  EXPECT_EQ(with.owner(key), "p:sluice-own:{p:srs-proxy-url:__defaultVhost__/live/a}");
  EXPECT_EQ(with.server("s-1-2"), "p:srs-proxy-server:s-1-2");
  EXPECT_EQ(with.all_servers(), "p:srs-proxy-all-servers");
  EXPECT_EQ(with.id_of_server("p:srs-proxy-server:s-1-2"), "s-1-2");
  for (const char* other : {"srs-proxy-server:s-1-2", "p:srs-proxy-server:", "p:srs-proxy-url:x", ""})
    EXPECT_EQ(with.id_of_server(other), std::nullopt) << other;
}

TEST(OwnerText, EpochsSortAsTheirTextsDo) {
  const epoch ascending[] = {{0, 0}, {0, 9}, {0, 10}, {9, UINT64_MAX}, {10, 0}, {epoch_counter_max, 1}};
  for (size_t i = 0; i < std::size(ascending); ++i) {
    EXPECT_EQ(parse_sortable(sortable_text(ascending[i])), ascending[i]);
    if (i > 0) EXPECT_LT(sortable_text(ascending[i - 1]), sortable_text(ascending[i]));
  }
  for (const char* bad :
       {"", "1.2", "0000000000000000000a.00000000000000000001", "00000000000000000001-00000000000000000001",
        "18446744073709551615.00000000000000000001", "00000000000000000001.99999999999999999999"})
    EXPECT_EQ(parse_sortable(bad), std::nullopt) << bad;
}

TEST(OwnerText, ARecordComesBackAsItWas) {
  EXPECT_EQ(parse_owner_json(owner_json(owner, "srs-proxy-server:x")).value(), owner);
  owner_record least;
  least.origin_id = "o";
  EXPECT_EQ(parse_owner_json(owner_json(least, "")).value(), least);
}

TEST(OwnerText, WhatIsNoRecordIsRefused) {
  namespace json = boost::json;
  const json::object good = json::parse(owner_json(owner, "k")).as_object();
  ASSERT_TRUE(parse_owner_json(json::serialize(good)));
  for (const char* text : {"", "null", "[]", "\"x\"", "{", "{}"})
    EXPECT_EQ(parse_owner_json(text).error().reason, "bad_record");
  for (const char* name : {"origin", "epoch", "started_ms", "published"}) {
    json::object without = good, wrong = good;
    without.erase(name);
    wrong[name] = json::array{1};
    EXPECT_FALSE(parse_owner_json(json::serialize(without))) << name;
    EXPECT_FALSE(parse_owner_json(json::serialize(wrong))) << name;
  }
  json::object endless = good;
  endless["origin"] = std::string(1000, 'x');
  EXPECT_FALSE(parse_owner_json(json::serialize(endless)));
}

origin_registration an_origin() {
  origin_registration r;
  r.server = "vid-1";
  r.service = "svc";
  r.pid = "42";
  r.device_id = "dev";
  r.address = *base::ip_address::parse("10.0.0.7");
  r.ip = r.address.to_string();
  r.rtmp = {{r.address, 19352}};
  r.http = {{r.address, 8082}};
  r.rtc_udp = {{r.address, 8000}};
  return r;
}

TEST(ServerText, GoProxiesReadIt) {
  namespace json = boost::json;
  const auto got = json::parse(server_json(an_origin(), "here", 1'795'643'213'422)).as_object();
  EXPECT_EQ(got.at("ip"), "10.0.0.7");
  EXPECT_EQ(got.at("device_id"), "dev");
  EXPECT_EQ(got.at("server_id"), "vid-1");
  EXPECT_EQ(got.at("service_id"), "svc");
  EXPECT_EQ(got.at("pid"), "42");
  EXPECT_EQ(got.at("rtmp"), json::array{"19352"});
  EXPECT_EQ(got.at("http"), json::array{"8082"});
  EXPECT_EQ(got.at("rtc"), json::array{"udp://0.0.0.0:8000"});
  EXPECT_EQ(got.at("update_at"), "2026-11-25T21:46:53.422000000Z");
  EXPECT_FALSE(got.contains("server"));
}

TEST(ServerText, AndWhatTheyWriteIsRead) {
  const auto got = parse_server_json(
      R"({"ip":"10.78.122.184","device_id":"origin2","server_id":"vid-46p14mm","service_id":"z2s3w865","pid":"42583",)"
      R"("rtmp":["19352"],"http":["8082"],"api":["19853"],"srt":["10082"],"rtc":["udp://0.0.0.0:8001"],)"
      R"("update_at":"2024-09-10T20:41:32.629078+08:00"})",
      {});
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->registration.id(), "vid-46p14mm-z2s3w865-42583");
  EXPECT_EQ(got->registration.rtmp.at(0).to_string(), "10.78.122.184:19352");
  EXPECT_FALSE(got->registration.sluice);
  EXPECT_EQ(got->host, "");
  EXPECT_EQ(got->wall_ms, 1'725'972'092'629u);
}

TEST(ServerText, TheTimeOfARecordIsReadInAnyZone) {
  const auto wall_of = [](const std::string& time) {
    const auto got = parse_server_json(
        R"({"ip":"10.0.0.1","server_id":"a","service_id":"b","pid":"1","rtmp":["1935"],"update_at":)" + time + "}", {});
    EXPECT_TRUE(got) << time;
    return got ? got->wall_ms : 0;
  };
  EXPECT_EQ(wall_of(R"("1970-01-01T00:00:01Z")"), 1000u);
  EXPECT_EQ(wall_of(R"("2026-11-25T21:46:53.422000000Z")"), 1'795'643'213'422u);
  EXPECT_EQ(wall_of(R"("2026-11-25T18:16:53.4-03:30")"), 1'795'643'213'400u);
  EXPECT_EQ(wall_of(R"("2026-11-26T00:46:53.4229+03:00")"), 1'795'643'213'422u);
  EXPECT_EQ(wall_of(R"("1969-12-31T23:59:59Z")"), 0u);
  for (const char* other : {"7", "null", R"("")", R"("yesterday")", R"("2026-11-25")", R"("2026-11-25T21:46:53")",
                            R"("9999-12-31T23:59:59Z")", R"("2026-13-25T21:46:53Z")", R"("2026-02-30T21:46:53Z")",
                            R"("2026-11-25T21:46:53+1")", R"("-026-11-25T21:46:53Z")", R"("2026-11-25 21:46:53Z")",
                            R"("2026-11-25T21:46:5")"})
    EXPECT_EQ(wall_of(other), 0u) << other;
}

TEST(ServerText, KeepsWhatSluiceKnowsButNoStreams) {
  auto origin = an_origin();
  origin.sluice.emplace();
  origin.sluice->version = "1.2.3";
  origin.sluice->weight = 2;
  origin.sluice->capacity = 50;
  origin.sluice->whole = true;
  origin.sluice->streams = {{"v/live/a", {1, 2}, true}};
  const auto got = parse_server_json(server_json(origin, "here", 1), {});
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->host, "here");
  ASSERT_TRUE(got->registration.sluice);
  EXPECT_EQ(got->registration.sluice->capacity, 50u);
  EXPECT_TRUE(got->registration.sluice->streams.empty());
  EXPECT_FALSE(got->registration.sluice->whole);
}

TEST(ServerText, FollowsThePolicyForAddresses) {
  EXPECT_EQ(
      parse_server_json(server_json(an_origin(), "", 1), {{*base::network::parse("192.168.0.0/16")}}).error().reason,
      "forbidden_address");
  EXPECT_EQ(parse_server_json("{}", {}).error().reason, "bad_registration");
  EXPECT_EQ(parse_server_json("[", {}).error().reason, "bad_registration");
}

template <typename T>
T through_text(T message) {
  auto got = parse_message(message_text("p1", message));
  EXPECT_TRUE(got);
  EXPECT_EQ(got->from, "p1");
  return std::get<T>(got->what);
}

TEST(ClusterMessage, EachKindComesBackAsItWas) {
  const auto o = through_text(message::owner{{"v", "live", "a\"b"}, owner});
  EXPECT_EQ(o.key, (stream_key{"v", "live", "a\"b"}));
  EXPECT_EQ(o.record, owner);
  EXPECT_EQ(through_text(message::origin{"{\"x\":1}", "h"}).body, "{\"x\":1}");
  through_text(message::hello{});
  EXPECT_FALSE(through_text(message::drain{"o1", false, 7}).on);
  EXPECT_EQ(through_text(message::drain{"o1", false, 7}).at_ms, 7u);
  const auto old = parse_message(R"({"from":"p","what":"drain","server":"o1","on":true})");
  ASSERT_TRUE(old);
  EXPECT_EQ(std::get<message::drain>(old->what).at_ms, 0u) << "of a version that did not tell";
  EXPECT_EQ(through_text(message::question{"7", "cluster"}).text, "cluster");
  EXPECT_EQ(through_text(message::session_end{"srs-proxy-ufrag:a:b"}).key, "srs-proxy-ufrag:a:b");
  const auto a = through_text(message::answer{"p2", "7", std::string(100'000, 'x')});
  EXPECT_EQ(a.to + a.id, "p27");
  EXPECT_EQ(a.text.size(), 100'000u);
}

TEST(ClusterMessage, WhatIsNoneIsRefused) {
  for (const char* bad : {"", "[]", "{}", R"({"from":"p"})", R"({"what":"hello"})", R"({"from":"p","what":"bye"})",
                          R"({"from":1,"what":"hello"})", R"({"from":"p","what":"drain","server":"x"})",
                          R"({"from":"p","what":"drain","server":"x","on":"yes"})",
                          R"({"from":"p","what":"owner","stream":"x","record":"{}"})",
                          R"({"from":"p","what":"answer","to":"x","id":"1"})"})
    EXPECT_EQ(parse_message(bad).error().reason, "bad_message") << bad;
  const auto bad_key = message_text("p", message::owner{{"v", "a/../b", "s"}, owner});
  EXPECT_FALSE(parse_message(bad_key));
}

}  // namespace
}  // namespace sluice::cluster
