#include "base/endpoint.hpp"

#include <gtest/gtest.h>

namespace sluice::base {
namespace {

ip_address ip(std::string_view text) {
  const auto a = ip_address::parse(text);
  EXPECT_TRUE(a) << text;
  return a.value_or(ip_address());
}

TEST(ip_address, text_round_trip) {
  for (const char* text : {"0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "::1", "2001:db8::1", "fe80::1"}) {
    EXPECT_EQ(ip(text).to_string(), text);
  }
  EXPECT_EQ(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
  EXPECT_EQ(ip("::ffff:192.0.2.1").to_string(), "192.0.2.1");
  EXPECT_EQ(ip("2001:DB8:0:0:0:0:0:1").to_string(), "2001:db8::1");
}

TEST(ip_address, refuses_what_is_no_address) {
  for (const std::string_view text :
       {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ", " 1.2.3.4", "01.2.3.4x", "[::1]", "fe80::1%eth0", "::1::2",
        "localhost", "1.2.3.4:80", "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"}) {
    EXPECT_FALSE(ip_address::parse(text)) << text;
  }
  EXPECT_FALSE(ip_address::parse(std::string_view("1.2.3.4\0", 8)));
}

TEST(ip_address, v4_and_v6_from_bytes) {
  EXPECT_TRUE(ip_address::v4({1, 2, 3, 4}).is_v4());
  EXPECT_EQ(ip_address::v4({1, 2, 3, 4}).v4_bytes(), (std::array<uint8_t, 4>{1, 2, 3, 4}));
  EXPECT_EQ(ip_address::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4}), ip("1.2.3.4"));
  EXPECT_FALSE(ip("::1.2.3.4").is_v4());
  EXPECT_EQ(ip_address(), ip("::"));
}

TEST(ip_address, classes) {
  struct {
    const char* text;
    bool loopback, unspecified, link_local, multicast;
  } constexpr cases[] = {
      {"127.0.0.1", true, false, false, false},   {"127.255.0.9", true, false, false, false},
      {"128.0.0.1", false, false, false, false},  {"::1", true, false, false, false},
      {"::2", false, false, false, false},        {"0.0.0.0", false, true, false, false},
      {"::", false, true, false, false},          {"0.0.0.1", false, false, false, false},
      {"169.254.0.1", false, false, true, false}, {"169.255.0.1", false, false, false, false},
      {"fe80::1", false, false, true, false},     {"febf::1", false, false, true, false},
      {"fec0::1", false, false, false, false},    {"223.255.255.255", false, false, false, false},
      {"224.0.0.1", false, false, false, true},   {"239.255.255.255", false, false, false, true},
      {"240.0.0.1", false, false, false, false},  {"255.255.255.255", false, false, false, true},
      {"ff02::1", false, false, false, true},     {"fd00::1", false, false, false, false},
      {"10.0.0.1", false, false, false, false},   {"100::1", false, false, false, false},
  };
  for (const auto& c : cases) {
    const auto a = ip(c.text);
    EXPECT_EQ(a.is_loopback(), c.loopback) << c.text;
    EXPECT_EQ(a.is_unspecified(), c.unspecified) << c.text;
    EXPECT_EQ(a.is_link_local(), c.link_local) << c.text;
    EXPECT_EQ(a.is_multicast(), c.multicast) << c.text;
  }
}

TEST(endpoint, text_round_trip) {
  for (const char* text : {"1.2.3.4:80", "0.0.0.0:0", "[::1]:65535", "[2001:db8::1]:1935"}) {
    const auto e = endpoint::parse(text);
    ASSERT_TRUE(e) << text;
    EXPECT_EQ(e->to_string(), text);
  }
}

TEST(endpoint, refuses_what_is_no_endpoint) {
  for (const char* text :
       {"", ":80", "80", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:+1", "1.2.3.4:80 ",
        "1.2.3.4:8x", "::1:80", "[::1]", "[::1]80", "[1.2.3.4]:80", "[::1:80", "::1]:80", "[]:80", "host:80"}) {
    EXPECT_FALSE(endpoint::parse(text)) << text;
  }
}

TEST(network, contains) {
  struct {
    const char *network, *address;
    bool inside;
  } constexpr cases[] = {
      {"10.0.0.0/8", "10.255.1.2", true},
      {"10.0.0.0/8", "11.0.0.0", false},
      {"192.168.4.0/22", "192.168.7.9", true},
      {"192.168.4.0/22", "192.168.8.0", false},
      {"0.0.0.0/0", "1.2.3.4", true},
      {"0.0.0.0/0", "::1", false},
      {"::/0", "1.2.3.4", true},
      {"::/0", "fd00::1", true},
      {"127.0.0.1", "127.0.0.1", true},
      {"127.0.0.1", "127.0.0.2", false},
      {"192.0.2.1/32", "192.0.2.1", true},
      {"::1", "::1", true},
      {"::1", "::2", false},
      {"fd00::/8", "fdff::1", true},
      {"fd00::/8", "fc00::1", false},
      {"2001:db8::/33", "2001:db8:7fff::", true},
      {"2001:db8::/33", "2001:db8:8000::", false},
      {"10.1.2.3/8", "10.9.9.9", true},
      {"fe80::/128", "fe80::", true},
  };
  for (const auto& c : cases) {
    const auto n = network::parse(c.network);
    ASSERT_TRUE(n) << c.network;
    EXPECT_EQ(n->contains(ip(c.address)), c.inside) << c.network << " " << c.address;
  }
}

TEST(network, refuses_what_is_no_range) {
  for (const char* text :
       {"", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/8x", "10/8"}) {
    EXPECT_FALSE(network::parse(text)) << text;
  }
}

}  // namespace
}  // namespace sluice::base
