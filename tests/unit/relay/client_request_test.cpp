#include "relay/client_request.hpp"

#include <gtest/gtest.h>

#include "proto/proxy/address_prefix.hpp"
#include "servers/rtmp/capabilities.hpp"

namespace sluice::relay {
namespace {

client_ask ask() {
  rtmp::connect_request connect;
  connect.app = "live?vhost=tv.example.com";
  connect.tc_url = "rtmp://203.0.113.1:1935/live?vhost=tv.example.com";
  connect.command_object = amf0::object{{"app", "live?vhost=tv.example.com"},
                                        {"flashVer", "FMLE/3.0"},
                                        {"tcUrl", "rtmp://203.0.113.1:1935/live?vhost=tv.example.com"},
                                        {"capsEx", 15},
                                        {"sluice", amf0::object{{"session", "forged"}, {"epoch", "99.9"}}}};
  connect.arguments = amf0::value("extra");
  client_ask a;
  a.connect = std::make_shared<const rtmp::connect_request>(std::move(connect));
  a.name = "show?token=abc";
  a.address = {{"tv.example.com", "live", "show"}, "vhost=tv.example.com&token=abc"};
  a.session = "s-1";
  a.peer = {*base::ip_address::parse("198.51.100.9"), 4711};
  return a;
}

cluster::assignment sluice_origin() {
  cluster::assignment to;
  to.is_sluice = true;
  to.epoch = {123, 45};
  return to;
}

cluster::assignment stock_origin() { return {}; }

std::vector<std::string> names(const amf0::value& object) {
  std::vector<std::string> all;
  for (const auto& [name, v] : object.members()) all.push_back(name);
  return all;
}

TEST(client_request, a_sluice_origin_gets_the_canonical_form) {
  const auto r = request_for(ask(), rtmp::client_intent::publish, sluice_origin(), {}, {});
  EXPECT_EQ(r.intent, rtmp::client_intent::publish);
  EXPECT_EQ(r.app, "live");
  EXPECT_EQ(r.tc_url, "rtmp://tv.example.com/live");
  EXPECT_EQ(r.name, "show?vhost=tv.example.com&token=abc");
  const auto there = cluster::parse_rtmp(r.tc_url, r.app, r.name, {});
  ASSERT_TRUE(there);
  EXPECT_EQ(there->key, ask().address.key) << "the origin understands what the proxy understood";
}

// The key is the proxy's whatever the origin would make of the words.
TEST(client_request, the_canonical_form_means_the_same_key_everywhere) {
  const std::vector<cluster::stream_key> keys = {
      {"__defaultVhost__", "live", "a"}, {"tv.example.com", "live/sports", "b"}, {"tv.example.com", "vhost", "vhost"}};
  for (const auto& key : keys) {
    auto a = ask();
    a.address = {key, ""};
    for (const auto& r : {request_for(a, rtmp::client_intent::play, sluice_origin(), {}, {}),
                          shared_request_for(a, sluice_origin(), {})}) {
      const auto there = cluster::parse_rtmp(r.tc_url, r.app, r.name, {});
      ASSERT_TRUE(there) << key.str();
      EXPECT_EQ(there->key, key) << r.tc_url << " " << r.name;
    }
  }
}

TEST(client_request, another_origin_gets_the_words_of_the_client) {
  const auto r = request_for(ask(), rtmp::client_intent::play, stock_origin(), {}, {});
  EXPECT_EQ(r.intent, rtmp::client_intent::play);
  EXPECT_EQ(r.app, "live?vhost=tv.example.com");
  EXPECT_EQ(r.tc_url, "rtmp://203.0.113.1:1935/live?vhost=tv.example.com");
  EXPECT_EQ(r.name, "show?token=abc");
  EXPECT_EQ(r.arguments.string_or(""), "extra");
  EXPECT_EQ(names(r.command_object), (std::vector<std::string>{"flashVer", "capsEx"}));
}

TEST(client_request, a_client_cannot_speak_as_a_proxy) {
  const auto r = request_for(ask(), rtmp::client_intent::publish, sluice_origin(), {}, {});
  EXPECT_EQ(names(r.command_object), (std::vector<std::string>{"flashVer", "capsEx", "sluice"}));
  const auto note = servers::peer_note::from(r.command_object);
  EXPECT_EQ(note.session, "s-1");
  EXPECT_EQ(note.epoch, (cluster::epoch{123, 45}));
  EXPECT_TRUE(note.numbered);
}

TEST(client_request, a_link_to_one_of_ours_says_where_it_goes_on) {
  const auto r = request_for(ask(), rtmp::client_intent::play, sluice_origin(), {"pub-1", 1234}, {});
  const auto note = servers::peer_note::from(r.command_object);
  EXPECT_EQ(note.source, "pub-1");
  EXPECT_EQ(note.next, 1234u);
  EXPECT_EQ(names(request_for(ask(), rtmp::client_intent::play, stock_origin(), {"pub-1", 1234}, {}).command_object),
            (std::vector<std::string>{"flashVer", "capsEx"}));
}

TEST(client_request, the_prefix_goes_where_it_is_understood) {
  const auto v4 = sluice::address_prefix::build(ask().peer.address);
  auto v6_ask = ask();
  v6_ask.peer.address = *base::ip_address::parse("2001:db8::1");
  const auto v6 = sluice::address_prefix::build(v6_ask.peer.address);
  const std::vector<uint8_t> none;
  struct {
    relay::address_prefix mode;
    bool is_sluice, is_v6;
    const std::vector<uint8_t>& expected;
  } const cases[] = {
      {address_prefix::sluice_only, true, false, v4},    {address_prefix::sluice_only, true, true, v6},
      {address_prefix::sluice_only, false, false, none}, {address_prefix::sluice_only, false, true, none},
      {address_prefix::always, true, false, v4},         {address_prefix::always, true, true, v6},
      {address_prefix::always, false, false, v4},        {address_prefix::always, false, true, none},
      {address_prefix::never, true, false, none},        {address_prefix::never, false, true, none},
  };
  for (const auto& c : cases) {
    relay_config config;
    config.prefix = c.mode;
    const auto r = request_for(c.is_v6 ? v6_ask : ask(), rtmp::client_intent::play,
                               c.is_sluice ? sluice_origin() : stock_origin(), {}, config);
    EXPECT_EQ(r.prefix, c.expected) << int{static_cast<uint8_t>(c.mode)} << c.is_sluice << c.is_v6;
  }
}

TEST(client_request, a_shared_pull_carries_nothing_of_one_viewer) {
  const auto r = shared_request_for(ask(), sluice_origin(), {});
  EXPECT_EQ(r.intent, rtmp::client_intent::play);
  EXPECT_EQ(r.name, "show") << "no token";
  EXPECT_TRUE(r.prefix.empty());
  EXPECT_TRUE(r.arguments.is_null());
  EXPECT_EQ(names(r.command_object), std::vector<std::string>{"sluice"});
}

}  // namespace
}  // namespace sluice::relay
