#include "proto/sdp/description.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "golden/golden.hpp"

namespace sluice::sdp {
namespace {

std::string text_of(const std::string& name) {
  const auto bytes = test::golden("sdp/" + name + ".sdp");
  return {bytes.begin(), bytes.end()};
}

size_t count(std::string_view text, std::string_view part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + part.size())) ++n;
  return n;
}

base::endpoint at(std::string_view text) { return *base::endpoint::parse(text); }

/// A small offer, in which `from` is replaced by `to`.
std::string offer_with(std::string_view from = {}, std::string_view to = {}) {
  std::string text =
      "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
      "a=fingerprint:sha-256 00:11\r\n"
      "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"
      "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
  if (const auto found = text.find(from); !from.empty() && found != text.npos) text.replace(found, from.size(), to);
  return text;
}

TEST(sdp, offers_of_clients_may_come_in) {
  struct {
    const char* name;
    const char* ufrag;
  } const cases[] = {{"chromium_offer", "xGbC"}, {"firefox_offer", "4f7d2c90"}};
  for (const auto& c : cases) {
    const auto text = text_of(c.name);
    const auto d = parse(text);
    ASSERT_TRUE(d) << c.name << ": " << d.error().text;
    EXPECT_TRUE(check_offer(*d)) << c.name;
    ASSERT_EQ(d->sections.size(), 2u);
    EXPECT_EQ(d->sections[0].kind, "audio");
    EXPECT_EQ(d->sections[1].kind, "video");
    EXPECT_TRUE(d->sections[1].is_used()) << "port 9, or bundle-only";
    EXPECT_EQ(d->first_ufrag(), c.ufrag);
    EXPECT_GE(d->first_password().size(), 22u);
  }
  const auto aiortc = text_of("aiortc_offer");
  const auto d = parse(aiortc);
  ASSERT_TRUE(d) << d.error().text;
  EXPECT_TRUE(check_offer(*d));
  EXPECT_NE(d->sections[0].ufrag, d->sections[1].ufrag) << "of a section each, until they are bundled";
  EXPECT_EQ(d->first_ufrag(), d->sections[0].ufrag);
}

TEST(sdp, answers_of_origins_are_read) {
  const auto srs = text_of("srs_answer");
  const auto d = parse(srs);
  ASSERT_TRUE(d);
  EXPECT_EQ(d->first_ufrag(), "88sw3219");
  EXPECT_EQ(d->first_password(), "1n6z0t52ks3o91x8q0d7b4ha5yf2e86j");
  EXPECT_EQ(d->candidate, at("10.78.122.184:8000"));
  const auto aiortc = text_of("aiortc_answer");
  ASSERT_TRUE(parse(aiortc));
  EXPECT_EQ(parse(aiortc)->first_ufrag(), "w6Z7");
  EXPECT_EQ(parse(aiortc)->candidate, at("192.0.2.2:43453"));
  // A name is no address, TCP is not served.
  const auto firefox = text_of("firefox_offer");
  EXPECT_EQ(parse(firefox)->candidate, at("198.51.100.7:52613"));
}

TEST(sdp, a_rejected_first_section_does_not_count) {
  const auto text = std::string(
      "v=0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=ice-ufrag:dead\r\n"
      "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:live\r\na=ice-pwd:0123456789012345678901\r\n");
  ASSERT_TRUE(parse(text));
  EXPECT_EQ(parse(text)->first_ufrag(), "live");
}

TEST(sdp, offers_that_are_refused) {
  struct {
    const char *from, *to, *reason;
  } const cases[] = {
      {"UDP/TLS/RTP/SAVPF", "RTP/AVP", "no_secure_media"},
      {"UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "no_secure_media"},
      {"m=audio 9", "m=audio 0", "no_secure_media"},
      {"m=audio", "m=text", "no_secure_media"},
      {"a=ice-ufrag:abcd\r\n", "", "bad_sdp"},
      {"a=ice-ufrag:abcd", "a=ice-ufrag:abc", "bad_sdp"},
      {"a=ice-ufrag:abcd", "a=ice-ufrag:ab:d", "bad_sdp"},
      {"a=ice-ufrag:abcd", "a=ice-ufrag:ab\xc3\xa4", "bad_sdp"},
      {"a=ice-pwd:0123456789012345678901\r\n", "", "bad_sdp"},
      {"a=ice-pwd:0", "a=ice-pwd:", "bad_sdp"},
      {"a=fingerprint:sha-256 00:11\r\n", "", "bad_sdp"},
      {"a=fingerprint:sha-256 ", "a=fingerprint:sha-256", "bad_sdp"},
      {"v=0", "v=1", "bad_sdp"},
      {"v=0\r\n", "", "bad_sdp"},
      {"s=-\r\n", "s\r\n", "bad_sdp"},
      {"s=-", "s=a\tb\x01", "bad_sdp"},
      {"m=audio 9 ", "m=audio 99999 ", "bad_sdp"},
      {"m=audio 9 ", "m=audio -1 ", "bad_sdp"},
      {"m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9 UDP/TLS/RTP/SAVPF", "bad_sdp"},
      {"m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=", "bad_sdp"},
  };
  ASSERT_TRUE(check_offer(*parse(offer_with())));
  for (const auto& c : cases) {
    const auto text = offer_with(c.from, c.to);
    const auto d = parse(text);
    const auto verdict = d ? check_offer(*d) : tl::unexpected(d.error());
    ASSERT_FALSE(verdict) << c.from << " -> " << c.to;
    EXPECT_EQ(verdict.error().reason, c.reason) << c.from << " -> " << c.to;
  }
  EXPECT_FALSE(parse(""));
  EXPECT_FALSE(parse(std::string("v=0\r\na=x:\0\r\n", 12)));
  EXPECT_FALSE(parse("v=0\r\na=" + std::string(bytes_max, 'x')));
  std::string many = "v=0\r\n";
  for (size_t n = 0; n <= sections_max; ++n) many += "m=audio 9 RTP/SAVPF 0\r\n";
  EXPECT_FALSE(parse(many));
}

TEST(sdp, a_cut_description_is_never_taken_for_more_than_it_is) {
  const auto whole = text_of("chromium_offer");
  for (size_t size = 0; size < whole.size(); ++size) {
    const auto text = whole.substr(0, size);
    if (const auto d = parse(text)) {
      EXPECT_LE(d->sections.size(), 2u);
      if (check_offer(*d)) {
        EXPECT_EQ(d->first_ufrag(), "xGbC");
      }
    }
  }
}

TEST(sdp, our_candidates_stand_in_the_place_of_all_others) {
  const auto srs = text_of("srs_answer");
  const base::endpoint ours[] = {at("203.0.113.9:18000"), at("[2001:db8::9]:18000")};
  const auto text = replace_candidates(srs, ours, true);
  EXPECT_EQ(count(text, "a=candidate:"), 4u);
  EXPECT_EQ(count(text, "a=candidate:1 1 udp 2130706431 203.0.113.9 18000 typ host\r\n"), 2u);
  EXPECT_EQ(count(text, "a=candidate:2 1 udp 2130706175 2001:db8::9 18000 typ host\r\n"), 2u);
  EXPECT_EQ(text.find("10.78."), text.npos);
  EXPECT_EQ(text.find("tcptype"), text.npos);
  // All else is as it was.
  EXPECT_EQ(drop_candidates(text), drop_candidates(srs));
  EXPECT_TRUE(parse(text));
}

TEST(sdp, default_addresses_are_replaced_too) {
  const base::endpoint v6[] = {at("[2001:db8::9]:18000")};
  const auto text = replace_candidates(text_of("aiortc_answer"), v6, true);
  EXPECT_EQ(text.find("192.0.2.2"), text.npos);
  EXPECT_EQ(text.find("fd00::2"), text.npos);
  EXPECT_EQ(text.find("43453"), text.npos);
  EXPECT_EQ(count(text, "m=audio 18000 UDP/TLS/RTP/SAVPF 96 0 8\r\nc=IN IP6 2001:db8::9\r\n"), 1u);
  EXPECT_EQ(count(text, "a=rtcp:9 IN IP4 0.0.0.0\r\n"), 2u) << "tells nothing, stays";
  const base::endpoint v4[] = {at("203.0.113.9:18000")};
  EXPECT_EQ(replace_candidates("a=rtcp:4000 IN IP4 10.0.0.1\n", v4, false), "a=rtcp:18000 IN IP4 203.0.113.9\n");
  EXPECT_EQ(replace_candidates("a=rtcp:4000\nm=audio 0 x y\n", v4, false), "a=rtcp:4000\nm=audio 0 x y\n");
}

TEST(sdp, candidates_are_added_where_an_answer_has_none) {
  const base::endpoint ours[] = {at("203.0.113.9:18000")};
  const auto bare = std::string(
      "v=0\nm=audio 0 UDP/TLS/RTP/SAVPF 0\na=mid:0\nm=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:1\n"
      "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:2");
  const auto text = replace_candidates(bare, ours, true);
  EXPECT_EQ(count(text, "a=candidate:"), 1u);
  EXPECT_GT(text.find("a=candidate:"), text.find("a=mid:1"));
  EXPECT_LT(text.find("a=candidate:"), text.find("m=audio 9"));
  EXPECT_EQ(replace_candidates(bare, ours, false), bare);
  const auto last = replace_candidates("v=0\r\nm=audio 9 x 0", ours, true);
  EXPECT_EQ(last, "v=0\r\nm=audio 9 x 0\r\na=candidate:1 1 udp 2130706431 203.0.113.9 18000 typ host\r\n");
}

TEST(sdp, fragments_of_trickled_candidates) {
  const std::string fragment =
      "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
      "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0\r\na=end-of-candidates\r\n";
  EXPECT_FALSE(parse(fragment));
  const auto d = parse_fragment(fragment);
  ASSERT_TRUE(d) << d.error().text;
  EXPECT_EQ(d->first_ufrag(), "EsAw") << "the session's count in its sections";
  EXPECT_EQ(drop_candidates(fragment).find("192.0.2.1"), std::string::npos);
  EXPECT_NE(drop_candidates(fragment).find("a=end-of-candidates"), std::string::npos);
  EXPECT_EQ(parse_fragment("a=ice-ufrag:EsAw\r\n")->first_ufrag(), "EsAw");
}

}  // namespace
}  // namespace sluice::sdp
