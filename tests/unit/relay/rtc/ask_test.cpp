#include "relay/rtc/ask.hpp"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "cluster/core/handed_state.hpp"
#include "proto/stun/message.hpp"
#include "relay/rtc/record.hpp"
#include "unit/relay/rtc/requests.hpp"

namespace sluice::relay {
namespace {

namespace json = boost::json;

const base::endpoint placeholder = *base::endpoint::parse("192.0.2.9:9");

runtime::http_request json_call(std::string url, std::string sdp = sdp_of("firefox_offer")) {
  auto r = whip("", "application/json");
  r.body = json::serialize(json::object{{"sdp", std::move(sdp)}, {"streamurl", std::move(url)}, {"tid", "7"}});
  return r;
}

base::result<rtc_ask> parse(const runtime::http_request& r, rtc_form form = rtc_form::sdp) {
  return parse_rtc_ask(r, form, placeholder, {});
}

TEST(rtc_ask_test, an_offer_goes_on_without_the_clients_addresses) {
  const auto ask = parse(whip("app=live&stream=s&token=x&eip=198.51.100.1", "Application/SDP; charset=utf-8"));
  ASSERT_TRUE(ask) << ask.error().text;
  EXPECT_EQ(ask->address.key.str(), "example.com/live/s");
  EXPECT_EQ(ask->ufrag, "xGbC");
  EXPECT_EQ(ask->body.find(".local"), std::string::npos);
  EXPECT_NE(ask->body.find("192.0.2.9 9 typ host"), std::string::npos);
  EXPECT_EQ(sdp::drop_candidates(ask->body), sdp::drop_candidates(sdp_of("chromium_offer")));
  EXPECT_EQ(ask->external, (base::endpoint{*base::ip_address::parse("198.51.100.1"), 0}));
  EXPECT_EQ(parse(whip("app=live&stream=s&eip=198.51.100.1:4000"))->external->port, 4000);
  EXPECT_FALSE(parse(whip("app=live&stream=s&eip=name"))->external);
}

TEST(rtc_ask_test, requests_that_are_refused) {
  struct {
    runtime::http_request request;
    rtc_form form;
    const char* reason;
    int status;
  } cases[] = {
      {whip("app=live&stream=s", "application/json"), rtc_form::sdp, "unsupported_media_type", 415},
      {whip("app=live&stream=s", ""), rtc_form::sdp, "unsupported_media_type", 415},
      {whip("app=live"), rtc_form::sdp, "bad_stream_name", 400},
      {whip(""), rtc_form::sdp, "bad_stream_name", 400},
      {whip("app=live&stream=%7B"), rtc_form::sdp, "bad_stream_name", 400},
      {json_call("webrtc://a/live"), rtc_form::json, "bad_stream_name", 400},
      {json_call("live/s"), rtc_form::json, "bad_stream_name", 400},
      {json_call("webrtc://a/live/s", ""), rtc_form::json, "bad_sdp", 400},
      {whip(), rtc_form::json, "bad_body", 400},
  };
  for (const auto& c : cases) {
    const auto ask = parse(c.request, c.form);
    ASSERT_FALSE(ask) << c.request.target;
    EXPECT_EQ(ask.error().reason, c.reason) << c.request.target;
    EXPECT_EQ(rtc_status_of(ask.error()), c.status);
  }
  auto r = whip();
  r.body.clear();
  EXPECT_EQ(rtc_status_of(parse(r).error()), 400);
  r.body = "v=0\r\nm=audio 9 RTP/AVP 0\r\n";
  EXPECT_EQ(rtc_status_of(parse(r).error()), 406);
  r.body = std::string(sdp::bytes_max + 1, 'v');
  EXPECT_EQ(rtc_status_of(parse(r).error()), 413);
}

TEST(rtc_ask_test, the_older_calls) {
  const auto ask = parse(json_call("webrtc://example.com:1990/live/s?token=x"), rtc_form::json);
  ASSERT_TRUE(ask) << ask.error().text;
  EXPECT_EQ(ask->address.key.str(), "example.com/live/s");
  EXPECT_EQ(ask->ufrag, "4f7d2c90");
  const auto body = json::parse(ask->body).as_object();
  EXPECT_EQ(body.at("tid").as_string(), "7") << "what else is in it goes on";
  EXPECT_EQ(body.at("sdp").as_string().find("198.51.100.7"), std::string::npos);
}

TEST(rtc_ask_test, an_answer_names_this_proxy) {
  const base::endpoint ours[] = {*base::endpoint::parse("203.0.113.1:8000")};
  const auto answer = parse_rtc_answer(sdp_of("srs_answer"), rtc_form::sdp, ours);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->ufrag, "88sw3219");
  EXPECT_EQ(answer->candidate, *base::endpoint::parse("10.78.122.184:8000"));
  EXPECT_EQ(answer->body.find("10.78.122.184"), std::string::npos);

  const auto text = json::serialize(json::object{{"code", 0}, {"sessionid", "a:b"}, {"sdp", sdp_of("srs_answer")}});
  const auto from_json = parse_rtc_answer(text, rtc_form::json, ours);
  ASSERT_TRUE(from_json);
  EXPECT_EQ(json::parse(from_json->body).as_object().at("sessionid").as_string(), "a:b");
  EXPECT_EQ(json::parse(from_json->body).as_object().at("sdp").as_string(), answer->body);

  EXPECT_EQ(parse_rtc_answer(R"({"code":400})", rtc_form::json, ours).error().reason, "origin_refused");
  for (const char* bad : {"", "v=0\r\n", "<html>", "{}"}) {
    EXPECT_EQ(parse_rtc_answer(bad, rtc_form::sdp, ours).error().reason, "bad_answer") << bad;
    EXPECT_FALSE(parse_rtc_answer(bad, rtc_form::json, ours)) << bad;
  }
}

TEST(rtc_ask_test, locations) {
  struct {
    const char *location, *resource;
  } const cases[] = {
      {"/rtc/v1/whip/?action=delete&token=t&app=live&stream=s&session=a:b",
       "/rtc/v1/whip/?action=delete&token=t&app=live&stream=s&session=a:b"},
      {"http://10.0.0.1:1985/rtc/v1/whip/?action=delete", "/rtc/v1/whip/?action=delete"},
      {"https://origin/x#y", "/x"},
      {"//origin:1985/x?u=http://a/b", "/x?u=http://a/b"},
      {"http://origin", "/"},
      {"?id=7", "/rtc/v1/whip/?id=7"},
      {"sessions/7", "/rtc/v1/whip/sessions/7"},
      {"?u=http://a/b", "/rtc/v1/whip/?u=http://a/b"},
  };
  for (const auto& c : cases) EXPECT_EQ(resource_of(c.location, "/rtc/v1/whip/"), c.resource) << c.location;
  EXPECT_FALSE(resource_of("", "/"));
  EXPECT_FALSE(resource_of("/a\r\nX: y", "/"));
}

runtime::http_request patch(std::string type, std::string body, std::string path = "/rtc/v1/whep/") {
  runtime::http_request r;
  r.method = "PATCH";
  r.path = r.target = std::move(path);
  r.headers = {{"Content-Type", std::move(type)}};
  r.body = std::move(body);
  return r;
}

TEST(rtc_ask_test, a_patch_is_a_fragment_or_an_answer) {
  const std::string fragment =
      "a=ice-ufrag:abcd\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=candidate:1 1 udp 1 192.168.77.1 5 typ host\r\n";
  const std::string fragment_type = "application/trickle-ice-sdpfrag";
  const auto trickled = parse_rtc_patch(patch("Application/Trickle-ICE-sdpfrag; x=y", fragment), placeholder);
  ASSERT_TRUE(trickled);
  EXPECT_FALSE(trickled->is_answer);
  EXPECT_EQ(trickled->ufrag, "abcd");
  EXPECT_EQ(trickled->body, "a=ice-ufrag:abcd\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n");

  const auto answered = parse_rtc_patch(patch("application/sdp", sdp_of("chromium_offer")), placeholder);
  ASSERT_TRUE(answered);
  EXPECT_TRUE(answered->is_answer);
  EXPECT_EQ(answered->ufrag, "xGbC");
  EXPECT_EQ(answered->body.find(".local"), std::string::npos);
  EXPECT_NE(answered->body.find("192.0.2.9 9 typ host"), std::string::npos);

  const struct {
    runtime::http_request request;
    const char* reason;
  } refused[] = {
      {patch("", fragment), "unsupported_media_type"},
      {patch("application/json", fragment), "unsupported_media_type"},
      {patch("application/sdp", sdp_of("chromium_offer"), "/rtc/v1/whip/"), "unsupported_media_type"},
      {patch("application/sdp", fragment), "bad_sdp"},
      {patch("application/sdp", "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"), "bad_sdp"},
      {patch(fragment_type, std::string(sdp::bytes_max + 1, 'a')), "body_too_large"},
      {patch(fragment_type, "hello"), "bad_sdp"},
  };
  for (const auto& c : refused) {
    const auto parsed = parse_rtc_patch(c.request, placeholder);
    ASSERT_FALSE(parsed) << c.request.body;
    EXPECT_EQ(parsed.error().reason, c.reason) << c.request.body;
  }
}

TEST(rtc_ask_test, an_offer_of_the_origins_own) {
  runtime::http_response r;
  r.status = 406;
  r.content_type = "application/sdp; charset=utf-8";
  EXPECT_TRUE(is_counter_offer(r));
  r.content_type = "text/plain";
  EXPECT_FALSE(is_counter_offer(r));
  r.headers = {{"Location", ""}, {"location", "a"}, {"Location", "/b"}};
  EXPECT_EQ(resource_of(r, "/rtc/v1/whep/"), "/b");
  r.headers.clear();
  EXPECT_EQ(resource_of(r, "/rtc/v1/whep/"), "");
}

TEST(rtc_ask_test, a_client_is_told_no_address_at_which_nobody_listens) {
  const auto address = [](const char* text) { return *base::ip_address::parse(text); };
  const std::vector<base::ip_address> advertised{address("203.0.113.1"), address("2001:db8::1")};
  int asked = 0;
  std::optional<base::ip_address> beside = address("192.0.2.7");
  const auto told = [&](const char* media, const char* api, std::optional<base::endpoint> wanted = {},
                        std::span<const base::ip_address> of_operator = {}) {
    std::string out;
    for (const auto& at : rtc_candidates(
             {of_operator, wanted, *base::endpoint::parse(media), address(api), [&](const base::ip_address& a) {
                ++asked;
                EXPECT_EQ(a, address(api));
                return beside;
              }}))
      out += at.to_string() + " ";
    return out;
  };
  const base::endpoint wanted{address("198.51.100.4"), 0};
  EXPECT_EQ(told("0.0.0.0:8000", "10.0.0.1", wanted, advertised), "203.0.113.1:8000 [2001:db8::1]:8000 ");
  EXPECT_EQ(told("0.0.0.0:8000", "10.0.0.1", wanted), "198.51.100.4:8000 ");
  EXPECT_EQ(told("0.0.0.0:8000", "10.0.0.1", base::endpoint{wanted.address, 9000}), "198.51.100.4:9000 ");
  EXPECT_EQ(told("10.0.0.2:8000", "::1"), "10.0.0.2:8000 ");
  EXPECT_EQ(told("0.0.0.0:8000", "10.0.0.1"), "10.0.0.1:8000 ");
  EXPECT_EQ(told("[::]:8000", "10.0.0.1"), "10.0.0.1:8000 ") << "it serves both";
  EXPECT_EQ(told("[::]:8000", "2001:db8::5"), "[2001:db8::5]:8000 ");
  EXPECT_EQ(asked, 0);
  EXPECT_EQ(told("0.0.0.0:8000", "2001:db8::5"), "192.0.2.7:8000 ");
  beside.reset();
  EXPECT_EQ(told("0.0.0.0:8000", "2001:db8::5"), "");
  EXPECT_EQ(asked, 2);
}

TEST(rtc_ask_test, headers_that_go_back) {
  const auto headers = returned_rtc_headers({{"Link", "<stun:a>; rel=\"ice-server\""},
                                             {"ETag", "\"x\""},
                                             {"Connection", "close, x-hop"},
                                             {"X-Hop", "1"},
                                             {"Content-Length", "7"},
                                             {"Location", "/x"},
                                             {"Access-Control-Allow-Origin", "http://a"}});
  ASSERT_EQ(headers.size(), 2u);
  EXPECT_EQ(headers[0].first, "Link");
  EXPECT_EQ(headers[1].first, "ETag");
}

TEST(rtc_record_test, a_key_tells_its_username) {
  EXPECT_EQ(rtc_username_of(rtc_username_key("a:b")), "a:b");
  EXPECT_EQ(rtc_username_of("srs-proxy-rtc:v/live/s"), "");
}

TEST(rtc_record_test, is_read_by_both_kinds_of_proxy) {
  const rtc_record r{"__defaultVhost__/live/s", "a:b", "o-1-2", "password", "10.0.0.1:8000", rtc_kind::publish};
  const auto text = text_of(r);
  const auto o = json::parse(text).as_object();
  EXPECT_EQ(o.at("stream_url").as_string(), r.stream_url);
  EXPECT_EQ(o.at("ufrag").as_string(), "a:b");
  const auto back = parse_rtc_record(text);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->origin, r.origin);
  EXPECT_EQ(back->password, r.password);
  EXPECT_EQ(back->rtc, r.rtc);
  EXPECT_EQ(back->kind, rtc_kind::publish);
  const auto theirs = parse_rtc_record(R"({"stream_url":"v/live/s","ufrag":"a:b"})");
  ASSERT_TRUE(theirs);
  EXPECT_EQ(theirs->kind, rtc_kind::play);
  EXPECT_TRUE(theirs->password.empty());
  for (const char* bad : {"", "[]", "{}", R"({"stream_url":7})", "{"}) EXPECT_FALSE(parse_rtc_record(bad)) << bad;
}

}  // namespace
}  // namespace sluice::relay
