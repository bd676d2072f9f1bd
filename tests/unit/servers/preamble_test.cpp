#include <gtest/gtest.h>

#include "proto/proxy/address_prefix.hpp"
#include "unit/servers/support.hpp"

// What stands in front of RTMP: a load balancer's PROXY header, a proxy's address prefix. Byte by byte, so that each
// arrives by itself.
namespace sluice::servers::test {
namespace {

const bytes v1 = [] {
  const std::string_view text = "PROXY TCP4 203.0.113.7 10.0.0.1 4711 1935\r\n";
  return bytes(text.begin(), text.end());
}();

const bytes v2 = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, 0x21, 0x11,
                  0x00, 0x0C, 203,  0,    113,  8,    10,   0,    0,    1,    0x12, 0x67, 0x07, 0x8F};

const bytes v2_local = {0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A, 0x20, 0x00, 0x00, 0x00};

bytes prefix(std::string_view address) { return address_prefix::build(*base::ip_address::parse(address)); }

bytes operator+(bytes a, const bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct preamble_case {
  const char* name;
  bytes preamble;
  std::string peer;  ///< as it is logged; empty: the socket's own
};

class preamble : public origin_test, public ::testing::WithParamInterface<preamble_case> {
 protected:
  preamble() { limits.proxy_protocol = true; }
  void trust() { limits.trusted = {*base::network::parse("127.0.0.0/8")}; }
  /// Each byte of the preamble, and the first of the handshake, is read before the next is sent.
  void drip(rtmp_client& c, size_t count) {
    for (size_t i = 1; i <= count && !c.ended; ++i) {
      const auto before = origin().bytes_in();
      c.drip();
      run_until(loop, [&] { return c.ended || origin().bytes_in() > before; });
    }
  }
  void expect_peer(const std::string& expected) {
    const auto starts = log.of("session_start");
    ASSERT_EQ(starts.size(), 1u);
    const auto peer = starts[0].field("peer");
    if (expected.empty()) {
      EXPECT_TRUE(peer.starts_with("127.0.0.1:")) << peer;
    } else {
      EXPECT_EQ(peer, expected);
    }
  }
};

TEST_P(preamble, of_a_trusted_peer_names_the_client) {
  trust();
  auto& c = client(ask_for(rtmp::client_intent::play, "a"), {.preamble = GetParam().preamble, .drip = true});
  drip(c, GetParam().preamble.size() + 3);
  c.stop_dripping();
  run_until(loop, [&] { return c.started; });
  expect_peer(GetParam().peer);
}

TEST_P(preamble, may_come_with_the_handshake_in_one_piece) {
  trust();
  player("a", {.preamble = GetParam().preamble});
  expect_peer(GetParam().peer);
}

TEST_P(preamble, of_anybody_else_is_not_believed) {
  if (GetParam().preamble[0] == address_prefix::marker) {
    player("a", {.preamble = GetParam().preamble});
    expect_peer("");
    return;
  }
  auto& c = client(ask_for(rtmp::client_intent::play, "a"), {.preamble = GetParam().preamble, .drip = true});
  drip(c, GetParam().preamble.size());
  run_until(loop, [&] { return c.ended; });
  EXPECT_FALSE(c.started);
  EXPECT_EQ(origin().refusals("untrusted_proxy_protocol"), 1);
  EXPECT_EQ(log.of("session_start").size(), 0u);
}

INSTANTIATE_TEST_SUITE_P(forms, preamble,
                         ::testing::Values(preamble_case{"v1", v1, "203.0.113.7:4711"},
                                           preamble_case{"v2", v2, "203.0.113.8:4711"},
                                           preamble_case{"v2_local", v2_local, ""},
                                           preamble_case{"prefix_v4", prefix("198.51.100.9"), "198.51.100.9"},
                                           preamble_case{"prefix_v6", prefix("2001:db8::9"), "2001:db8::9"},
                                           preamble_case{"both", v1 + prefix("198.51.100.9"), "198.51.100.9"},
                                           preamble_case{"v2_and_prefix", v2 + prefix("198.51.100.9"), "198.51.100.9"}),
                         [](const auto& test) { return test.param.name; });

TEST_F(preamble, none_is_needed) {
  trust();
  player("a");
  expect_peer("");
}

TEST_F(preamble, proxy_protocol_has_to_be_switched_on) {
  trust();
  limits.proxy_protocol = false;
  auto& c = client(ask_for(rtmp::client_intent::play, "a"), {.preamble = v1});
  run_until(loop, [&] { return c.ended; });
  EXPECT_FALSE(c.started);
}

TEST_F(preamble, a_broken_one_ends_the_connection) {
  trust();
  const std::vector<std::pair<bytes, std::string_view>> broken = {
      {{'P', 'R', 'O', 'X', 'Y', ' ', 'U', 'D', 'P', '\r', '\n'}, "bad_proxy_protocol"},
      {{0x0D, 0x0A, 0x0D, 0x0A, 0x01}, "bad_proxy_protocol"},
      {{0xF3, 0, 5, 1, 2, 3, 4, 5}, "bad_address_prefix"},
  };
  for (const auto& [sent, reason] : broken) {
    const auto before = origin().refusals(reason);
    auto& c = client(ask_for(rtmp::client_intent::play, "a"), {.preamble = sent, .drip = true});
    drip(c, sent.size());
    run_until(loop, [&] { return c.ended; });
    EXPECT_EQ(origin().refusals(reason), before + 1);
  }
}

TEST_F(preamble, one_that_never_ends_is_timed_out) {
  trust();
  limits.session.handshake_timeout = milliseconds(50);
  auto& c = client(ask_for(rtmp::client_intent::play, "a"), {.preamble = v1, .drip = true});
  drip(c, 10);
  run_until(loop, [&] { return c.ended; });
  EXPECT_EQ(origin().refusals("handshake_timeout"), 1);
}

TEST_F(preamble, a_session_id_is_adopted_from_trusted_peers_only) {
  auto ask = ask_for(rtmp::client_intent::play, "a");
  ask.command_object = amf0::object{{"sluice", amf0::object{{"session", "the-proxys-id"}, {"epoch", "1.2"}}}};
  auto& stranger = client(ask);
  run_until(loop, [&] { return stranger.started; });
  EXPECT_NE(log.of("session_start")[0].field("session"), "the-proxys-id");
}

TEST_F(preamble, a_session_id_of_a_trusted_peer_is_adopted) {
  trust();
  auto ask = ask_for(rtmp::client_intent::play, "a");
  ask.command_object = amf0::object{{"sluice", amf0::object{{"session", "the-proxys-id"}, {"epoch", "1.2"}}}};
  auto& proxy = client(ask);
  run_until(loop, [&] { return proxy.started; });
  EXPECT_EQ(log.of("session_start")[0].field("session"), "the-proxys-id");
}

}  // namespace
}  // namespace sluice::servers::test
