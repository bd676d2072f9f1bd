#include "proto/stun/message.hpp"

#include <gtest/gtest.h>

#include "golden/golden.hpp"

namespace sluice::stun {
namespace {

using test::hex;
using bytes = std::vector<uint8_t>;

constexpr std::string_view rfc_password = "VOkJxbRl1RmTxUk/WvJxBt";

/// RFC 5769 §2.1 to §2.4.
constexpr const char* rfc_request =
    "00010058 2112a442 b7e7a701 bc34d686 fa87dfae  80220010 5354554e 20746573 7420636c 69656e74  00240004 6e0001ff"
    "80290008 932ff9b1 51263b36  00060009 6576746a 3a683676 59202020"
    "00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2  80280004 e57a3bcf";
constexpr const char* rfc_response_v4 =
    "0101003c 2112a442 b7e7a701 bc34d686 fa87dfae  8022000b 74657374 20766563 746f7220  00200008 0001a147 e112a643"
    "00080014 2b91f599 fd9e90c3 8c7489f9 2af9ba53 f06be7d7  80280004 c07d4c96";
constexpr const char* rfc_response_v6 =
    "01010048 2112a442 b7e7a701 bc34d686 fa87dfae  8022000b 74657374 20766563 746f7220"
    "00200014 0002a147 0113a9fa a5d3f179 bc25f4b5 bed2b9d9"
    "00080014 a382954e 4be67bf1 1784c97c 8292c275 bfe3ed41  80280004 c8fb0b4c";
constexpr const char* rfc_long_term =
    "00010060 2112a442 78ad3433 c6ad72c0 29da412e  00060012 e3839ee3 8388e383 aae38383 e382afe3 82b90000"
    "0015001c 662f2f34 39396b39 35346436 4f4c3334 6f4c3946 53547679 36347341  0014000b 6578616d 706c652e 6f726700"
    "00080014 f6702465 6dd64a3e 02b8e071 2e85c9a2 8ca89666";

bytes to_bytes(const std::string& text) { return bytes(text.begin(), text.end()); }

/// A message of binding requests' form with these attributes.
bytes with_attributes(const char* attributes) {
  bytes out = hex("00010000 2112a442 0102030405060708090a0b0c");
  const auto more = hex(attributes);
  out[3] = static_cast<uint8_t>(more.size());
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

TEST(stun, reads_the_vectors_of_rfc_5769) {
  const auto request = hex(rfc_request);
  const auto m = parse(request);
  ASSERT_TRUE(m) << m.error().text;
  EXPECT_EQ(m->method, binding);
  EXPECT_EQ(m->cls, message_class::request);
  EXPECT_EQ(m->username, "evtj:h6vY");
  EXPECT_EQ(bytes(m->transaction.begin(), m->transaction.end()), hex("b7e7a701bc34d686fa87dfae"));
  EXPECT_TRUE(m->has_fingerprint);
  EXPECT_FALSE(m->use_candidate);
  EXPECT_TRUE(integrity_holds(request, *m, rfc_password));
  EXPECT_FALSE(integrity_holds(request, *m, "VOkJxbRl1RmTxUk/WvJxBT"));

  for (const char* text : {rfc_response_v4, rfc_response_v6}) {
    const auto response = hex(text);
    const auto r = parse(response);
    ASSERT_TRUE(r) << r.error().text;
    EXPECT_EQ(r->cls, message_class::success);
    EXPECT_TRUE(r->username.empty());
    EXPECT_TRUE(integrity_holds(response, *r, rfc_password));
  }

  const auto long_term = hex(rfc_long_term);
  const auto l = parse(long_term);
  ASSERT_TRUE(l) << l.error().text;
  EXPECT_FALSE(l->has_fingerprint);
  EXPECT_EQ(l->username.size(), 18u);
  EXPECT_FALSE(parse_username(l->username));
}

TEST(stun, one_changed_byte_is_noticed) {
  const auto request = hex(rfc_request);
  for (size_t at = 0; at < request.size(); ++at) {
    auto changed = request;
    changed[at] ^= 0x20;
    const auto m = parse(changed);
    // A change of types and lengths may hide FINGERPRINT itself; MESSAGE-INTEGRITY is left then, or hidden too.
    EXPECT_TRUE(!m || !m->has_fingerprint) << "byte " << at;
    EXPECT_TRUE(!m || at >= 100 || !integrity_holds(changed, *m, rfc_password)) << "byte " << at;
  }
}

TEST(stun, a_cut_message_is_refused_at_every_byte) {
  const auto request = hex(rfc_request);
  for (size_t size = 0; size < request.size(); ++size)
    EXPECT_FALSE(parse(base::bytes_view(request).first(size))) << size;
  auto longer = request;
  longer.insert(longer.end(), 4, 0);
  EXPECT_FALSE(parse(longer));
}

TEST(stun, integrity_is_of_what_stands_before_it) {
  const auto request = to_bytes(write({.username = "local:remote", .key = "secret", .fingerprint = false}));
  const auto m = parse(request);
  ASSERT_TRUE(m);
  ASSERT_TRUE(integrity_holds(request, *m, "secret"));
  // An attacker's attribute behind it changes nothing that is read (§14.5).
  auto longer = request;
  longer[3] = static_cast<uint8_t>(longer[3] + 4);
  const auto use = hex("00250000");
  longer.insert(longer.end(), use.begin(), use.end());
  const auto more = parse(longer);
  ASSERT_TRUE(more);
  EXPECT_FALSE(more->use_candidate);
  EXPECT_TRUE(integrity_holds(longer, *more, "secret"));
  auto changed = request;
  changed[24] ^= 1;
  EXPECT_FALSE(integrity_holds(changed, *parse(changed), "secret"));
}

TEST(stun, what_it_writes_it_reads) {
  const draft d{.username = "abcd:EFGH+/", .key = "a password", .use_candidate = true};
  const auto written = to_bytes(write(d));
  const auto m = parse(written);
  ASSERT_TRUE(m) << m.error().text;
  EXPECT_EQ(m->username, d.username);
  EXPECT_TRUE(m->use_candidate);
  EXPECT_TRUE(m->has_fingerprint);
  EXPECT_TRUE(integrity_holds(written, *m, d.key));
  const auto bare = to_bytes(write({.cls = message_class::error, .fingerprint = false}));
  ASSERT_TRUE(parse(bare));
  EXPECT_EQ(parse(bare)->cls, message_class::error);
  EXPECT_FALSE(integrity_holds(bare, *parse(bare), ""));
}

struct malformed {
  const char* what;
  const char* attributes;
};

TEST(stun, faulty_attributes_are_refused) {
  const malformed cases[] = {
      {"a header that is cut", "0006"},
      {"a length beyond the message", "00060008 61626364"},
      {"padding beyond the message", "00060005 61626364 65"},
      {"an odd length without padding", "00060003 616263"},
      {"an empty USERNAME", "00060000"},
      {"a short MESSAGE-INTEGRITY", "00080010 00000000000000000000000000000000"},
      {"MESSAGE-INTEGRITY-SHA256 of 12", "001c000c 000000000000000000000000"},
      {"USE-CANDIDATE with a value", "00250004 00000000"},
      {"FINGERPRINT that is not last", "80280004 00000000 00250000"},
      {"FINGERPRINT of two bytes", "80280002 00000000"},
      {"a wrong FINGERPRINT", "80280004 12345678"},
  };
  for (const auto& c : cases) {
    const auto m = parse(with_attributes(c.attributes));
    ASSERT_FALSE(m) << c.what;
    EXPECT_EQ(m.error().reason, "bad_stun");
  }
  EXPECT_TRUE(parse(with_attributes("")));
  EXPECT_TRUE(parse(with_attributes("00060003 61626320"))) << "padding has any value";
  EXPECT_TRUE(parse(with_attributes("7fff0001 ffffffff"))) << "unknown attributes are skipped";
}

TEST(stun, bounds) {
  std::string many;
  for (size_t n = 0; n < attributes_max; ++n) many += "80220000";
  EXPECT_TRUE(parse(with_attributes(many.c_str())));
  EXPECT_FALSE(parse(with_attributes((many + "80220000").c_str())));
  EXPECT_TRUE(parse(to_bytes(write({.username = std::string(username_bytes_max, 'a')}))));
  EXPECT_FALSE(parse(to_bytes(write({.username = std::string(username_bytes_max + 1, 'a')}))));
  EXPECT_FALSE(parse(to_bytes(write({.username = std::string(message_bytes_max, 'a')}))));
}

TEST(stun, headers_that_are_none) {
  auto m = with_attributes("");
  m[0] = 0x40;
  EXPECT_FALSE(parse(m)) << "the first two bits";
  m = with_attributes("");
  m[4] = 0x20;
  EXPECT_FALSE(parse(m)) << "the cookie";
  m = with_attributes("");
  m[3] = 4;
  EXPECT_FALSE(parse(m)) << "the length";
  EXPECT_FALSE(parse({}));
}

TEST(stun, usernames) {
  const auto parts = parse_username("abc+/123:Z");
  ASSERT_TRUE(parts);
  EXPECT_EQ(parts->local, "abc+/123");
  EXPECT_EQ(parts->remote, "Z");
  for (const char* bad : {"", ":", "a:", ":b", "ab", "a:b:c", "a b:c", "a:b\n", "a:b{", "ä:b"})
    EXPECT_FALSE(parse_username(bad)) << bad;
  EXPECT_FALSE(parse_username(std::string(257, 'a') + ":b"));
}

TEST(stun, first_byte_tells_the_protocol) {
  const std::pair<uint8_t, packet_kind> cases[] = {
      {0, packet_kind::stun},  {3, packet_kind::stun},  {4, packet_kind::other},  {19, packet_kind::other},
      {20, packet_kind::dtls}, {63, packet_kind::dtls}, {64, packet_kind::other}, {127, packet_kind::other},
      {128, packet_kind::rtp}, {191, packet_kind::rtp}, {192, packet_kind::other}};
  for (const auto& [first, kind] : cases) EXPECT_EQ(kind_of(bytes{first}), kind) << int(first);
  EXPECT_EQ(kind_of({}), packet_kind::other);
}

}  // namespace
}  // namespace sluice::stun
