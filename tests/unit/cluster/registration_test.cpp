#include "cluster/core/registration.hpp"

#include <gtest/gtest.h>

namespace sluice::cluster {
namespace {

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return text.replace(at, what.size(), with);
}

/// As SRS 6 sends it (compat.md, "Registration of an origin").
const std::string srs_body =
    R"({"device_id":"origin2","ip":"10.78.122.184","server":"vid-46p14mm","service":"z2s3w865","pid":"42583",)"
    R"("rtmp":["19352"],"http":["8082"],"api":["19853"],"srt":["10082"],"rtc":["udp://0.0.0.0:8001","tcp://0.0.0.0:8002"],)"
    R"("summaries":{"ok":true,"self":{"cpu_percent":0.1}}})";

std::vector<std::string> texts(const std::vector<base::endpoint>& endpoints) {
  std::vector<std::string> out;
  for (const auto& at : endpoints) out.push_back(at.to_string());
  return out;
}

using list = std::vector<std::string>;

TEST(registration, what_srs_sends) {
  const auto got = parse_registration(srs_body, {});
  ASSERT_TRUE(got) << got.error().text;
  EXPECT_EQ(got->id(), "vid-46p14mm-z2s3w865-42583");
  EXPECT_EQ(got->device_id, "origin2");
  EXPECT_EQ(texts(got->rtmp), list{"10.78.122.184:19352"});
  EXPECT_EQ(texts(got->http), list{"10.78.122.184:8082"});
  EXPECT_EQ(texts(got->api), list{"10.78.122.184:19853"});
  EXPECT_EQ(texts(got->srt), list{"10.78.122.184:10082"});
  EXPECT_EQ(texts(got->rtc_udp), list{"10.78.122.184:8001"});
  EXPECT_EQ(texts(got->rtc_tcp), list{"10.78.122.184:8002"});
  EXPECT_FALSE(got->sluice);
}

TEST(registration, endpoint_forms) {
  const std::vector<std::pair<std::string, std::string>> forms = {
      {"\"1935\"", "10.78.122.184:1935"},
      {"1935", "10.78.122.184:1935"},
      {"\":1935\"", "10.78.122.184:1935"},
      {"\"0.0.0.0:1935\"", "10.78.122.184:1935"},
      {"\"[::]:1935\"", "10.78.122.184:1935"},
      {"\"192.168.3.10:1935\"", "192.168.3.10:1935"},
      {"\"tcp://:1935\"", "10.78.122.184:1935"},
      {"\"tcp://1935\"", "10.78.122.184:1935"},
      {"\"tcp://0.0.0.0:1935\"", "10.78.122.184:1935"},
      {"\"tcp://192.168.3.10:1935\"", "192.168.3.10:1935"},
      {"\"[2001:db8::1]:1935\"", "[2001:db8::1]:1935"},
      {"\"127.0.0.1:1935\"", "127.0.0.1:1935"},
  };
  for (const auto& [form, expected] : forms) {
    const auto got = parse_registration(replaced(srs_body, "\"19352\"", form), {});
    ASSERT_TRUE(got) << form << ": " << got.error().text;
    EXPECT_EQ(texts(got->rtmp), list{expected}) << form;
  }
  for (const char* form :
       {"\"\"", "\"x\"", "0", "70000", "-1", "1.5", "true", "{}", "\"udp://:1935\"", "\"http://:1935\"", "\":\"",
        "\"1935x\"", "\"10.0.0.1:\"", "\"10.0.0.1:0\"", "\"tcp://\"", "\"999999999999999999999\"", "[\"1\"]"}) {
    const auto got = parse_registration(replaced(srs_body, "\"19352\"", form), {});
    ASSERT_FALSE(got) << form;
    EXPECT_EQ(got.error().reason, "bad_registration") << form;
    EXPECT_EQ(got.error().text, "bad rtmp endpoint") << form;
  }
}

TEST(registration, errors_name_the_field) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {replaced(srs_body, "10.78.122.184", ""), "empty ip"},
      {replaced(srs_body, "\"ip\"", "\"no\""), "empty ip"},
      {replaced(srs_body, "vid-46p14mm", ""), "empty server"},
      {replaced(srs_body, "z2s3w865", ""), "empty service"},
      {replaced(srs_body, "42583", ""), "empty pid"},
      {replaced(srs_body, "[\"19352\"]", "[]"), "empty rtmp"},
      {replaced(srs_body, "\"rtmp\"", "\"no\""), "empty rtmp"},
      {replaced(srs_body, "10.78.122.184", "origin.example"), "bad ip"},
      {replaced(srs_body, "vid-46p14mm", "a b"), "bad server"},
      {replaced(srs_body, "vid-46p14mm", "{a}"), "bad server"},
      {replaced(srs_body, "vid-46p14mm", "a\\r\\nb"), "bad server"},
      {replaced(srs_body, "vid-46p14mm", std::string(129, 'x')), "bad server"},
      {replaced(srs_body, "origin2", "a\\u0000"), "bad device_id"},
      {replaced(srs_body, "[\"19352\"]", "[" + std::string("1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1") + "]"),
       "too many rtmp endpoints"},
      {replaced(srs_body, "\"8082\"", "\"x\""), "bad http endpoint"},
      {replaced(srs_body, "\"10082\"", "\"tcp://:1\""), "bad srt endpoint"},
      {"[]", "bad JSON: not an object"},
  };
  for (const auto& [body, text] : cases) {
    const auto got = parse_registration(body, {});
    ASSERT_FALSE(got) << body;
    EXPECT_EQ(got.error().text, text);
    EXPECT_EQ(http_status_of(got.error()), 400);
  }
}

TEST(registration, broken_json_is_refused) {
  for (size_t cut = 0; cut < srs_body.size(); ++cut) {
    EXPECT_FALSE(parse_registration(std::string_view(srs_body).substr(0, cut), {})) << cut;
  }
  EXPECT_FALSE(parse_registration(std::string(100'000, '['), {}));
  EXPECT_FALSE(parse_registration(replaced(srs_body, "{\"ok\":true", "{\"ok\":" + std::string(70'000, '[')), {}));
  EXPECT_FALSE(parse_registration(std::string(registration_body_bytes_max + 1, ' '), {}));
}

TEST(registration, addresses) {
  auto reason = [](const std::string& from, const std::string& to, const address_policy& policy) -> std::string {
    const auto got = parse_registration(replaced(srs_body, from, to), policy);
    if (got) return "";
    if (got.error().reason == "forbidden_address") {
      EXPECT_EQ(http_status_of(got.error()), 403);
    }
    return std::string(got.error().reason);
  };
  const std::string ip = "10.78.122.184";
  for (const char* bad : {"0.0.0.0", "::", "169.254.169.254", "fe80::1", "224.0.0.1", "ff02::1", "255.255.255.255",
                          "::ffff:169.254.169.254"}) {
    EXPECT_EQ(reason(ip, bad, {}), "forbidden_address") << bad;
  }
  for (const char* fine : {"127.0.0.1", "::1", "10.0.0.1", "2001:db8::1"}) EXPECT_EQ(reason(ip, fine, {}), "") << fine;
  EXPECT_EQ(reason("\"19352\"", "\"169.254.169.254:80\"", {}), "forbidden_address");
  EXPECT_EQ(reason("\"19853\"", "\"169.254.169.254:80\"", {}), "forbidden_address");

  const address_policy own{{*base::network::parse("10.0.0.0/8")}};
  EXPECT_EQ(reason(ip, "10.1.2.3", own), "");
  EXPECT_EQ(reason(ip, "127.0.0.1", own), "");
  EXPECT_EQ(reason(ip, "192.168.0.1", own), "forbidden_address");
  EXPECT_EQ(reason("\"19352\"", "\"192.168.0.1:1935\"", own), "forbidden_address");
}

TEST(registration, sluice_object) {
  auto with = [](const std::string& object) {
    return parse_registration(replaced(srs_body, "\"summaries\"", "\"sluice\":" + object + ",\"summaries\""), {});
  };
  const auto got = with(R"({"version":"0.1.0","period_ms":1000,"weight":2.5,"capacity":500,"epochs":[1],)"
                        R"("load":{"streams":7,"sessions":90,"cpu":0.5}})");
  ASSERT_TRUE(got) << got.error().text;
  ASSERT_TRUE(got->sluice);
  EXPECT_EQ(got->sluice->version, "0.1.0");
  EXPECT_EQ(got->sluice->period_ms, 1000u);
  EXPECT_EQ(got->sluice->weight, 2.5);
  EXPECT_EQ(got->sluice->capacity, 500u);
  EXPECT_EQ(got->sluice->load.streams, 7u);
  EXPECT_EQ(got->sluice->load.sessions, 90u);
  EXPECT_EQ(got->sluice->load.cpu, 0.5);
  EXPECT_TRUE(with("{}")->sluice);
  EXPECT_EQ(with("{}")->sluice->weight, 1);
  for (const char* bad :
       {"[]", "1", "null", R"({"weight":0})", R"({"weight":-1})", R"({"weight":"1"})", R"({"weight":1e300})",
        R"({"period_ms":-1})", R"({"capacity":1e12})", R"({"load":[]})", R"({"load":{"streams":-1}})"}) {
    const auto refused = with(bad);
    ASSERT_FALSE(refused) << bad;
    EXPECT_EQ(refused.error().reason, "bad_registration");
  }
}

TEST(registration, body_round_trip) {
  origin_registration reg;
  for (const char* ip : {"10.0.0.5", "2001:db8::5"}) {
    reg = {};
    reg.ip = ip;
    reg.address = *base::ip_address::parse(ip);
    reg.device_id = "d\"1";
    reg.server = "host-1935";
    reg.service = "s1";
    reg.pid = "7";
    reg.rtmp = {{reg.address, 1935}, *base::endpoint::parse("127.0.0.1:1936")};
    reg.api = {{reg.address, 1985}};
    reg.srt = {{reg.address, 10080}};
    reg.rtc_udp = {{reg.address, 8000}};
    reg.rtc_tcp = {*base::endpoint::parse("127.0.0.1:8001")};
    reg.sluice = sluice_info{"0.1.0", 1000, {3, 4, 0.25}, 2, 100, {}, true};
    reg.sluice->streams = {{"__defaultVhost__/live/a", {1'700'000'000'000, UINT64_MAX}, true},
                           {"v.example/nested/app/\"b\" \u00e9", {}, false}};
    reg.sluice->beat = 7;
    reg.sluice->since = 5;
    const auto got = parse_registration(make_registration_body(reg), {});
    ASSERT_TRUE(got) << got.error().text;
    EXPECT_EQ(got->sluice->beat, 7u);
    EXPECT_EQ(got->sluice->since, 5u);
    EXPECT_EQ(got->sluice->streams, reg.sluice->streams);
    EXPECT_TRUE(got->sluice->whole);
    EXPECT_EQ(got->id(), reg.id());
    EXPECT_EQ(got->device_id, reg.device_id);
    EXPECT_EQ(got->rtmp, reg.rtmp);
    EXPECT_EQ(got->http, reg.http);
    EXPECT_EQ(got->api, reg.api);
    EXPECT_EQ(got->srt, reg.srt);
    EXPECT_EQ(got->rtc_udp, reg.rtc_udp);
    EXPECT_EQ(got->rtc_tcp, reg.rtc_tcp);
    ASSERT_TRUE(got->sluice);
    EXPECT_EQ(got->sluice->load.streams, 3u);
    EXPECT_EQ(got->sluice->load.cpu, 0.25);
    EXPECT_EQ(got->sluice->capacity, 100u);
  }
  // The Go proxy reads plain ports only.
  EXPECT_NE(make_registration_body(reg).find(R"("rtmp":["1935",)"), std::string::npos);
}

TEST(registration, streams_that_do_not_fit_are_left_out) {
  origin_registration reg;
  reg.ip = "10.0.0.5";
  reg.address = *base::ip_address::parse(reg.ip);
  reg.server = reg.service = reg.pid = "1";
  reg.rtmp = {{reg.address, 1935}};
  for (const size_t name_bytes : {size_t{8}, size_t{250}}) {
    reg.sluice.emplace();
    reg.sluice->whole = true;
    for (size_t i = 0; i < held_streams_max; ++i) {
      const std::string tail = std::to_string(100'000 + i);
      reg.sluice->streams.push_back({"__defaultVhost__/" + std::string(name_bytes, 'a') + "/" + tail, {1, 1}, true});
    }
    const std::string body = make_registration_body(reg);
    EXPECT_LE(body.size(), registration_body_bytes_max);
    const auto got = parse_registration(body, {});
    ASSERT_TRUE(got) << got.error().text;
    EXPECT_EQ(got->sluice->whole, name_bytes == 8);
    EXPECT_EQ(got->sluice->streams.size() == held_streams_max, name_bytes == 8);
    EXPECT_GT(got->sluice->streams.size(), 2000u);
  }
}

TEST(registration, malformed_streams_are_named) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"streams":1})", "bad sluice streams"},
      {R"({"streams":[1]})", "bad sluice streams"},
      {R"({"whole":1})", "bad sluice whole"},
      {R"({"streams":[{}]})", "bad name in sluice streams"},
      {R"({"streams":[{"name":"a/b"}]})", "bad name in sluice streams"},
      {R"({"streams":[{"name":"v/a/../b"}]})", "bad name in sluice streams"},
      {R"({"streams":[{"name":"v//b"}]})", "bad name in sluice streams"},
      {R"({"streams":[{"name":"v/a/b\r"}]})", "bad name in sluice streams"},
      {R"({"streams":[{"name":"v/a/b","epoch":"1"}]})", "bad epoch in sluice streams"},
      {R"({"streams":[{"name":"v/a/b","epoch":"1.2.3"}]})", "bad epoch in sluice streams"},
      {R"({"streams":[{"name":"v/a/b","epoch":"-1.2"}]})", "bad epoch in sluice streams"},
      {R"({"streams":[{"name":"v/a/b","epoch":"18446744073709551615.2"}]})", "bad epoch in sluice streams"},
      {R"({"streams":[{"name":"v/a/b","epoch":null}]})", "bad epoch in sluice streams"},
      {R"({"streams":[{"name":"v/a/b","published":1}]})", "bad published in sluice streams"},
  };
  for (const auto& [object, text] : cases) {
    const auto got = parse_registration(
        replaced(srs_body, "\"summaries\"", "\"sluice\":" + std::string(object) + ",\"summaries\""), {});
    ASSERT_FALSE(got) << object;
    EXPECT_EQ(got.error().text, text);
  }
}

}  // namespace
}  // namespace sluice::cluster
