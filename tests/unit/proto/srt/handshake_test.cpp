#include "proto/srt/handshake.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/bytes.hpp"
#include "capture.hpp"
#include "proto/srt/cookie.hpp"

namespace sluice::srt {
namespace {

using namespace std::chrono_literals;

const capture plain("plain.txt"), encrypted("encrypted.txt"), badsecret("badsecret.txt");
const base::ip_address loopback = *base::ip_address::parse("127.0.0.1");

handshake read(const std::vector<uint8_t>& datagram) {
  auto h = parse_handshake(datagram);
  EXPECT_TRUE(h) << h.error().text;
  return h.value_or(handshake{});
}

void put32(std::vector<uint8_t>& datagram, size_t at, uint32_t v) {
  for (size_t i = 0; i < 4; ++i) datagram[at + i] = static_cast<uint8_t>(v >> (24 - 8 * i));
}

std::string reason(const std::vector<uint8_t>& datagram) {
  const auto h = parse_handshake(datagram);
  if (!h) return std::string(h.error().reason);
  const auto id = check_conclusion(*h);
  return id ? "" : std::string(id.error().reason);
}

TEST(srt_handshake, reads_what_libsrt_says) {
  const auto induction = read(plain.induction());
  EXPECT_EQ(induction.version, version_4);
  EXPECT_TRUE(induction.is(request_type::induction));
  EXPECT_EQ(induction.extension, 2);
  EXPECT_EQ(induction.mss, 1500u);
  EXPECT_EQ(induction.flow_window, 8192u);
  EXPECT_EQ(induction.socket_id, 0x3b70f3aau);
  EXPECT_EQ(induction.cookie, 0u);
  EXPECT_EQ(induction.peer, peer_field(loopback));

  const auto conclusion = read(plain.conclusion());
  EXPECT_EQ(conclusion.version, version_5);
  EXPECT_TRUE(conclusion.is(request_type::conclusion));
  EXPECT_EQ(conclusion.cookie, read(plain.cookie()).cookie);
  const auto said = read_extensions(conclusion);
  ASSERT_TRUE(said);
  EXPECT_EQ(said->srt_version, 0x010501u);
  EXPECT_EQ(said->stream_id, "#!::r=live/cam1,m=publish");
  EXPECT_FALSE(said->key);
  EXPECT_EQ(*check_conclusion(conclusion), "#!::r=live/cam1,m=publish");

  const auto secret = read(encrypted.conclusion());
  EXPECT_EQ(secret.encryption, 2);
  EXPECT_TRUE(read_extensions(secret)->key);
  EXPECT_EQ(*check_conclusion(secret), "#!::r=live/cam2,m=publish,k=v");

  EXPECT_EQ(read(badsecret.answer()).request, reject_base + 10);
  EXPECT_EQ(*check_conclusion(read(badsecret.conclusion())), "live/cam3");
}

TEST(srt_handshake, writes_what_it_reads) {
  for (const auto* c : {&plain, &encrypted, &badsecret})
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(write_handshake(read(c->lines[i].bytes)), c->lines[i].bytes);
}

TEST(srt_handshake, answers_an_induction_as_libsrt_does) {
  const auto theirs = read(plain.cookie());
  auto expected = plain.cookie();
  put32(expected, 8, 0);  // the time since its start
  EXPECT_EQ(answer_induction(read(plain.induction()), theirs.cookie, loopback), expected);
  EXPECT_EQ(expected.size(), plain.induction().size());  // no amplification
}

TEST(srt_handshake, an_answer_to_an_induction_may_advertise_a_length_of_key) {
  const auto asked = read(plain.induction());
  const std::pair<uint16_t, uint16_t> fields[] = {{0, 0}, {16, 2}, {24, 3}, {32, 4}};
  for (const auto& [bytes, field] : fields)
    EXPECT_EQ(read(answer_induction(asked, 1, loopback, bytes)).encryption, field);
}

TEST(srt_handshake, refuses_as_libsrt_does) {
  auto expected = badsecret.answer();
  put32(expected, 8, 0);
  put32(expected, header_bytes + 24, 0);  // a socket of the listener: we have none
  EXPECT_EQ(refuse_conclusion(read(badsecret.conclusion()), static_cast<reject>(10), loopback), expected);
}

TEST(srt_handshake, ipv6_addresses_stand_in_words) {
  const auto field = peer_field(*base::ip_address::parse("2001:db8::1:2"));
  const auto expected = test::hex("b80d0120 00000000 00000000 02000100");
  EXPECT_THAT(field, ::testing::ElementsAreArray(expected));
}

TEST(srt_handshake, every_cut_is_refused) {
  for (const auto* c : {&plain, &encrypted}) {
    const auto whole = c->conclusion();
    for (size_t size = 0; size < whole.size(); ++size)
      EXPECT_NE(reason({whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size)}), "") << size;
  }
}

TEST(srt_handshake, oversized_ones_are_refused) {
  auto datagram = plain.conclusion();
  datagram.resize(handshake_datagram_bytes_max + 4);
  EXPECT_EQ(reason(datagram), "malformed");
}

/// A conclusion like the captured one, with other extensions.
std::vector<uint8_t> with_extensions(const std::vector<uint8_t>& extensions, uint16_t field = has_handshake) {
  auto h = read(plain.conclusion());
  h.extensions = extensions;
  h.extension = field;
  return write_handshake(h);
}

std::vector<uint8_t> extension(extension_type type, size_t words, uint8_t fill = 'x') {
  std::vector<uint8_t> out;
  base::byte_writer w(out);
  w.u16(static_cast<uint16_t>(type));
  w.u16(static_cast<uint16_t>(words));
  for (size_t i = 0; i < 4 * words; ++i) w.u8(fill);
  return out;
}

std::vector<uint8_t> operator+(std::vector<uint8_t> a, const std::vector<uint8_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(srt_handshake, what_extensions_may_not_say) {
  using enum extension_type;
  const auto hello = test::hex("00010003 00010501 000000bf 00780000");
  const auto id = extension(stream_id, 3);
  EXPECT_EQ(reason(with_extensions(hello + id)), "");
  EXPECT_EQ(reason(with_extensions(hello + id + extension(congestion, 1) + extension(group, 2))), "");
  EXPECT_EQ(reason(with_extensions(hello)), "no_stream_id");
  EXPECT_EQ(reason(with_extensions(hello + extension(stream_id, 2, 0))), "no_stream_id");
  EXPECT_EQ(reason(with_extensions(id)), "missing_extension");
  EXPECT_EQ(reason(with_extensions(hello + id, has_handshake | has_key)), "missing_extension");
  EXPECT_EQ(reason(with_extensions(hello + id, has_config)), "missing_extension");
  EXPECT_EQ(reason(with_extensions(hello + extension(key_request, 4) + id)), "missing_extension");
  EXPECT_EQ(reason(with_extensions(hello + hello + id)), "malformed");
  EXPECT_EQ(reason(with_extensions(hello + id + id)), "malformed");
  EXPECT_EQ(reason(with_extensions(hello + id + test::hex("0005 0100"))), "malformed");
  EXPECT_EQ(reason(with_extensions(hello + id + test::hex("0005"))), "malformed");
  EXPECT_EQ(reason(with_extensions(test::hex("00010002 00010501 000000bf") + id)), "malformed");
  EXPECT_EQ(reason(with_extensions(hello + extension(stream_id, 128))), "");
  EXPECT_EQ(reason(with_extensions(hello + extension(stream_id, 129))), "too_long");
  EXPECT_EQ(reason(with_extensions(hello + id + extension(key_request, 26), has_handshake | has_key)), "");
  EXPECT_EQ(reason(with_extensions(hello + id + extension(key_request, 27), has_handshake | has_key)), "too_long");
  EXPECT_EQ(reason(with_extensions(test::hex("00010003 00010204 000000bf 00780000") + id)), "old_version");
}

TEST(srt_handshake, what_fields_may_not_say) {
  const size_t body = header_bytes;
  const auto with = [&](size_t at, uint32_t value) {
    auto d = plain.conclusion();
    put32(d, body + at, value);
    return reason(d);
  };
  EXPECT_EQ(with(0, 4), "old_version");
  EXPECT_EQ(with(0, 6), "old_version");
  EXPECT_EQ(with(8, 0x8000'0000), "bad_sequence");
  EXPECT_EQ(with(12, 0), "bad_mss");
  EXPECT_EQ(with(12, 100), "bad_mss");
  EXPECT_EQ(with(12, mss_min), "");
  EXPECT_EQ(with(12, 65'536), "bad_mss");
  EXPECT_EQ(with(16, 0), "bad_sequence");
  EXPECT_EQ(with(24, 0), "bad_socket_id");
}

TEST(srt_handshake, refusals_say_why) {
  EXPECT_EQ(reject_of({"old_version", ""}), reject::version);
  EXPECT_EQ(reject_of({"no_stream_id", ""}), reject::bad_request);
  EXPECT_EQ(reject_of({"malformed", ""}), reject::rogue);
}

TEST(srt_cookie, siphash_is_that_of_its_authors) {
  std::array<uint8_t, 16> key;
  std::vector<uint8_t> bytes;
  for (uint8_t i = 0; i < 16; ++i) key[i] = i;
  // Appendix A of the paper, and the first of the reference vectors.
  EXPECT_EQ(siphash(key, bytes), 0x726fdb47dd0e0e31u);
  for (uint8_t i = 0; i < 15; ++i) bytes.push_back(i);
  EXPECT_EQ(siphash(key, bytes), 0xa129ca6149be45e5u);
}

TEST(srt_cookie, lasts_for_a_minute_or_two) {
  const cookie_jar jar({1, 2, 3}), other({1, 2, 4});
  const base::endpoint caller = *base::endpoint::parse("192.0.2.1:5000");
  const base::time_point now(601s);
  const uint32_t cookie = jar.make(caller, now);
  EXPECT_NE(cookie, 0u);
  EXPECT_TRUE(jar.accepts(cookie, caller, now));
  EXPECT_TRUE(jar.accepts(cookie, caller, now + 60s));
  EXPECT_FALSE(jar.accepts(cookie, caller, now + 120s));
  EXPECT_FALSE(jar.accepts(cookie, caller, now - 60s));
  EXPECT_FALSE(jar.accepts(cookie, *base::endpoint::parse("192.0.2.1:5001"), now));
  EXPECT_FALSE(jar.accepts(cookie, *base::endpoint::parse("192.0.2.2:5000"), now));
  EXPECT_FALSE(other.accepts(cookie, caller, now));
  EXPECT_FALSE(jar.accepts(0, caller, now));
  EXPECT_FALSE(jar.accepts(cookie + 1, caller, now));
}

}  // namespace
}  // namespace sluice::srt
