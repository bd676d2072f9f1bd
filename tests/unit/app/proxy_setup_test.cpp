#include "roles/proxy_setup.hpp"

#include <gtest/gtest.h>

namespace sluice::roles {
namespace {

base::ip_address address(std::string_view text) { return *base::ip_address::parse(text); }

struct proxy_protocol_on_http : testing::Test {
  proxy_protocol_on_http() {
    config.proxy_protocol = true;
    config.trusted_networks = {*base::network::parse("10.0.0.0/8")};
  }
  base::result<std::optional<runtime::http_introduction::word>> read(std::string_view peer, std::string_view bytes) {
    return introduction_of(config).read(address(peer), base::as_bytes(bytes));
  }
  proxy_config config;
  static constexpr std::string_view header = "PROXY TCP4 203.0.113.7 10.0.0.1 4711 80\r\n";
};

TEST_F(proxy_protocol_on_http, has_to_be_switched_on) {
  config.proxy_protocol = false;
  const auto none = introduction_of(config);
  EXPECT_FALSE(none.read);
  EXPECT_FALSE(none.speaks_for_others);
}

TEST_F(proxy_protocol_on_http, is_believed_from_trusted_networks) {
  EXPECT_TRUE(introduction_of(config).speaks_for_others(address("10.1.2.3")));
  const auto word = read("10.1.2.3", std::string(header) + "GET / HTTP/1.1\r\n");
  ASSERT_TRUE(word);
  ASSERT_TRUE(*word);
  EXPECT_EQ((*word)->bytes, header.size());
  ASSERT_TRUE((*word)->client);
  EXPECT_EQ((*word)->client->to_string(), "203.0.113.7:4711");
  for (size_t size = 0; size < header.size(); ++size) {
    const auto part = read("10.1.2.3", header.substr(0, size));
    ASSERT_TRUE(part) << size;
    EXPECT_FALSE(*part) << size;
  }
}

TEST_F(proxy_protocol_on_http, of_the_balancer_itself_names_nobody) {
  const auto word = read("10.1.2.3", "PROXY UNKNOWN\r\nGET");
  ASSERT_TRUE(word && *word);
  EXPECT_EQ((*word)->bytes, 15u);
  EXPECT_FALSE((*word)->client);
}

TEST_F(proxy_protocol_on_http, is_refused_from_others) {
  EXPECT_FALSE(introduction_of(config).speaks_for_others(address("192.0.2.1")));
  const auto word = read("192.0.2.1", header);
  ASSERT_FALSE(word);
  EXPECT_EQ(word.error().reason, "untrusted_proxy_protocol");
}

TEST_F(proxy_protocol_on_http, is_refused_if_broken) {
  const auto word = read("10.1.2.3", "PROXY TCP4 nonsense\r\n");
  ASSERT_FALSE(word);
  EXPECT_EQ(word.error().reason, "bad_proxy_protocol");
}

TEST_F(proxy_protocol_on_http, need_not_be_there) {
  for (const std::string_view peer : {"10.1.2.3", "192.0.2.1"})
    for (const std::string_view request : {"GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PROPFIND / HTTP/1.1\r\n"}) {
      const auto word = read(peer, request);
      ASSERT_TRUE(word && *word) << request;
      EXPECT_EQ((*word)->bytes, 0u);
      EXPECT_FALSE((*word)->client);
    }
}

}  // namespace
}  // namespace sluice::roles
