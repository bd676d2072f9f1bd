#include "proto/proxy/proxy_protocol.hpp"

#include <gtest/gtest.h>

#include "golden/golden.hpp"

namespace sluice::proxy_protocol {
namespace {

using test::hex;

std::vector<uint8_t> text(std::string_view s) {
  const auto b = base::as_bytes(s);
  return {b.begin(), b.end()};
}

constexpr std::string_view signature = "0d0a0d0a000d0a515549540a ";
std::vector<uint8_t> v2(std::string_view rest) { return hex(std::string(signature) + std::string(rest)); }

std::string describe(const header& h) {
  std::string s = h.local ? "local" : "proxy";
  if (h.source) s += " " + h.source->to_string();
  if (h.destination) s += " > " + h.destination->to_string();
  return s;
}

struct good_case {
  std::vector<uint8_t> bytes;
  const char* expected;
};

std::vector<good_case> good_cases() {
  return {
      {text("PROXY TCP4 192.0.2.1 198.51.100.7 56324 1935\r\n"), "proxy 192.0.2.1:56324 > 198.51.100.7:1935"},
      {text("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
       "proxy 255.255.255.255:65535 > 255.255.255.255:65535"},
      {text("PROXY TCP6 2001:db8::1 ::1 1 0\r\n"), "proxy [2001:db8::1]:1 > [::1]:0"},
      {text("PROXY UNKNOWN\r\n"), "proxy"},
      {text("PROXY UNKNOWN ffff:f...f:ffff whatever 1 2\r\n"), "proxy"},
      {v2("20 00 0000"), "local"},
      {v2("20 11 000c c0000201 c6336407 dc04 078f"), "local"},
      {v2("21 11 000c c0000201 c6336407 dc04 078f"), "proxy 192.0.2.1:56324 > 198.51.100.7:1935"},
      {v2("21 12 000c c0000201 c6336407 dc04 078f"), "proxy 192.0.2.1:56324 > 198.51.100.7:1935"},
      {v2("21 21 0024 20010db8000000000000000000000001 00000000000000000000000000000001 0001 0002"),
       "proxy [2001:db8::1]:1 > [::1]:2"},
      // TLVs behind the addresses (PP2_TYPE_AUTHORITY, NOOP).
      {v2("21 11 0016 c0000201 c6336407 dc04 078f 02 0004 686f7374 04 0000"),
       "proxy 192.0.2.1:56324 > 198.51.100.7:1935"},
      {v2("21 00 0003 aabbcc"), "proxy"},
      {v2("21 10 0000"), "proxy"},
      {v2("21 31 0002 aabb"), "proxy"},
  };
}

TEST(proxy_protocol, reads_headers_and_leaves_what_follows) {
  for (const auto& c : good_cases()) {
    auto bytes = c.bytes;
    bytes.insert(bytes.end(), {3, 'x', '\r', '\n'});  // the client's own bytes
    const auto h = parse(bytes);
    ASSERT_TRUE(h) << c.expected << ": " << h.error().text;
    ASSERT_TRUE(*h) << c.expected;
    EXPECT_EQ(describe(**h), c.expected);
    EXPECT_EQ((*h)->consumed, c.bytes.size()) << c.expected;
  }
}

TEST(proxy_protocol, waits_for_the_rest_of_every_prefix) {
  for (const auto& c : good_cases()) {
    for (size_t size = 0; size < c.bytes.size(); ++size) {
      const std::vector<uint8_t> cut(c.bytes.begin(), c.bytes.begin() + static_cast<std::ptrdiff_t>(size));
      const auto h = parse(cut);
      ASSERT_TRUE(h) << c.expected << " cut at " << size;
      EXPECT_FALSE(*h) << c.expected << " cut at " << size;
    }
  }
}

TEST(proxy_protocol, is_told_from_what_begins_alike) {
  for (const auto& c : good_cases()) {
    const size_t needed = c.bytes[0] == 'P' ? 6 : 12;
    for (size_t size = 0; size <= c.bytes.size(); ++size) {
      const auto there = has_header(base::bytes_view(c.bytes).first(size));
      EXPECT_EQ(there, size < needed ? std::nullopt : std::optional(true)) << c.expected << " cut at " << size;
    }
  }
  for (const auto* other : {"GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PROPFIND / HTTP/1.1\r\n",
                            "PROXYING / HTTP/1.1\r\n", "\r\nGET / HTTP/1.1\r\n", "\r\n\r\nGET"})
    EXPECT_EQ(has_header(text(other)), false) << other;
}

TEST(proxy_protocol, refuses_what_is_no_header) {
  const std::vector<std::vector<uint8_t>> cases{
      text("G"),
      text("PROXX"),
      hex("03"),
      hex("0d0a0d0b"),
      text("PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n"),
      text("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n"),
      text("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"),
      text("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"),
      text("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"),
      text("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"),
      text("PROXY TCP4 ::1 ::1 1 2\r\n"),
      text("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"),
      text("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"),
      text("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"),
      text("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"),
      text("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n"),
      text("PROXY \r\n"),
      v2("11 11 000c"),
      v2("22 11 000c"),
      v2("21 41 0000"),
      v2("21 13 000c"),
      v2("21 11 000b c0000201 c6336407 dc04 07"),
      v2("21 21 000c c0000201 c6336407 dc04 078f"),
      v2("21 11 0801"),
  };
  for (const auto& bytes : cases) {
    const auto h = parse(bytes);
    ASSERT_FALSE(h) << base::as_text(bytes);
    EXPECT_EQ(h.error().reason, "bad_proxy_protocol");
  }
}

TEST(proxy_protocol, a_version_1_line_has_at_most_107_bytes) {
  std::string line = "PROXY UNKNOWN ";
  line.append(105 - line.size(), 'x');
  EXPECT_EQ((*parse(text(line + "\r\n")))->consumed, 107u);
  EXPECT_FALSE(*parse(text(line + "x")));  // 106 bytes: the rule is not broken yet
  EXPECT_FALSE(parse(text(line + "x\r")));
  EXPECT_FALSE(parse(text(line + "x\r\n")));
}

TEST(proxy_protocol, a_version_2_header_has_at_most_its_limit) {
  auto bytes = v2("21 00 0800");
  bytes.resize(header_bytes_max);
  EXPECT_EQ((*parse(bytes))->consumed, header_bytes_max);
}

}  // namespace
}  // namespace sluice::proxy_protocol
