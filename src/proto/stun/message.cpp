#include "proto/stun/message.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>

#include "base/bytes.hpp"

namespace sluice::stun {
namespace {

constexpr uint32_t magic_cookie = 0x2112A442;
constexpr uint32_t fingerprint_mask = 0x5354554E;  // §14.7
constexpr size_t attribute_header_bytes = 4;
constexpr size_t sha1_bytes = 20;
constexpr size_t ufrag_bytes_max = 256;  // RFC 8839 §5.4

enum attribute : uint16_t {
  username = 0x0006,
  message_integrity = 0x0008,
  message_integrity_sha256 = 0x001C,
  use_candidate = 0x0025,
  fingerprint = 0x8028,
};

constexpr auto crc_table = [] {
  std::array<uint32_t, 256> table{};
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t c = n;
    for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? 0xEDB88320 ^ (c >> 1) : c >> 1;
    table[n] = c;
  }
  return table;
}();

uint32_t crc32(base::bytes_view bytes) {
  uint32_t c = 0xFFFFFFFF;
  for (const uint8_t b : bytes) c = crc_table[(c ^ b) & 0xFF] ^ (c >> 8);
  return ~c;
}

size_t padded(size_t n) { return (n + 3) & ~size_t{3}; }

bool is_ufrag_char(char c) {
  // ice-char of RFC 8839 §5.4, and what libwebrtc lets pass beside them for older agents.
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         std::string_view("+/-_=#").find(c) != std::string_view::npos;
}

bool is_ufrag(std::string_view text) {
  return !text.empty() && text.size() <= ufrag_bytes_max && std::all_of(text.begin(), text.end(), is_ufrag_char);
}

tl::unexpected<base::error> bad(std::string_view what) { return base::fail("bad_stun", std::string(what)); }

/// HMAC-SHA1 of the message up to MESSAGE-INTEGRITY, whose header says that it ends there (§14.5).
std::array<uint8_t, sha1_bytes> integrity_of(base::bytes_view before, std::string_view key) {
  std::array<uint8_t, sha1_bytes> out{};
  std::array<uint8_t, message_bytes_max> text;
  if (before.size() > text.size()) return out;
  std::copy(before.begin(), before.end(), text.begin());
  const size_t length = before.size() - header_bytes + attribute_header_bytes + sha1_bytes;
  text[2] = static_cast<uint8_t>(length >> 8);
  text[3] = static_cast<uint8_t>(length);
  unsigned size = 0;
  HMAC(EVP_sha1(), key.data(), static_cast<int>(key.size()), text.data(), before.size(), out.data(), &size);
  return out;
}

/// Takes note of one attribute; what is wrong with it, or empty.
std::string_view take(message& m, uint16_t type, base::bytes_view value, base::bytes_view datagram, size_t at) {
  switch (type) {
    case username:
      if (m.integrity_at != 0 || !m.username.empty()) return {};  // the first counts (§14)
      if (value.empty() || value.size() > username_bytes_max) return "the size of USERNAME";
      m.username = base::as_text(value);
      return {};
    case message_integrity:
      if (value.size() != sha1_bytes) return "the size of MESSAGE-INTEGRITY";
      if (m.integrity_at == 0) m.integrity_at = at;
      return {};
    case message_integrity_sha256:
      if (value.size() < 16 || value.size() > 32 || value.size() % 4 != 0)
        return "the size of MESSAGE-INTEGRITY-SHA256";
      return {};
    case use_candidate:
      if (!value.empty()) return "the size of USE-CANDIDATE";
      if (m.integrity_at == 0) m.use_candidate = true;
      return {};
    case fingerprint: {
      if (value.size() != 4 || at + attribute_header_bytes + 4 != datagram.size()) return "the place of FINGERPRINT";
      base::byte_reader in(value);
      if (in.u32() != (crc32(datagram.first(at)) ^ fingerprint_mask)) return "a wrong FINGERPRINT";
      m.has_fingerprint = true;
      return {};
    }
    default:
      return {};
  }
}

}  // namespace

packet_kind kind_of(base::bytes_view datagram) {
  if (datagram.empty()) return packet_kind::other;
  const uint8_t first = datagram[0];
  if (first <= 3) return packet_kind::stun;
  if (first >= 20 && first <= 63) return packet_kind::dtls;
  if (first >= 128 && first <= 191) return packet_kind::rtp;
  return packet_kind::other;
}

base::result<message> parse(base::bytes_view datagram) {
  if (datagram.size() < header_bytes || datagram.size() > message_bytes_max) return bad("the size of the message");
  base::byte_reader in(datagram);
  const uint16_t type = in.u16();
  const size_t length = in.u16();
  if (type > 0x03FF) return bad("the type");  // more would be no STUN by its first byte
  if (in.u32() != magic_cookie) return bad("no magic cookie");
  if (length % 4 != 0 || length != datagram.size() - header_bytes) return bad("the length of the message");

  message m;
  // §5: M11 … M7, C1, M6 … M4, C0, M3 … M0.
  m.method = static_cast<uint16_t>((type & 0x000F) | (type & 0x00E0) >> 1 | (type & 0x3E00) >> 2);
  m.cls = static_cast<message_class>((type & 0x0010) >> 4 | (type & 0x0100) >> 7);
  m.transaction = in.bytes(transaction_bytes);
  for (size_t count = 0; in.remaining() > 0; ++count) {
    if (count >= attributes_max) return bad("too many attributes");
    const size_t at = datagram.size() - in.remaining();
    const uint16_t attribute_type = in.u16();
    const size_t size = in.u16();
    const auto value = in.bytes(size);
    in.skip(padded(size) - size);
    if (in.failed()) return bad("a cut attribute");
    if (const auto wrong = take(m, attribute_type, value, datagram, at); !wrong.empty()) return bad(wrong);
  }
  return m;
}

bool integrity_holds(base::bytes_view datagram, const message& m, std::string_view key) {
  if (m.integrity_at == 0) return false;
  const auto expected = integrity_of(datagram.first(m.integrity_at), key);
  const auto given = datagram.subspan(m.integrity_at + attribute_header_bytes, sha1_bytes);
  return CRYPTO_memcmp(expected.data(), given.data(), sha1_bytes) == 0;
}

std::optional<username_parts> parse_username(std::string_view username) {
  const auto colon = username.find(':');
  if (colon == username.npos) return std::nullopt;
  const username_parts parts{username.substr(0, colon), username.substr(colon + 1)};
  if (!is_ufrag(parts.local) || !is_ufrag(parts.remote)) return std::nullopt;
  return parts;
}

std::string write(const draft& d) {
  std::vector<uint8_t> bytes;
  base::byte_writer out(bytes);
  const auto cls = static_cast<uint16_t>(d.cls);
  out.u16(static_cast<uint16_t>(binding | (cls & 1) << 4 | (cls & 2) << 7));
  out.u16(0);
  out.u32(magic_cookie);
  out.text(d.transaction);
  const auto begin_attribute = [&](uint16_t type, size_t size) {
    out.u16(type);
    out.u16(static_cast<uint16_t>(size));
  };
  const auto set_length = [&](size_t attributes) {
    bytes[2] = static_cast<uint8_t>(attributes >> 8);
    bytes[3] = static_cast<uint8_t>(attributes);
  };
  if (!d.username.empty()) {
    begin_attribute(username, d.username.size());
    out.text(d.username);
    for (size_t n = d.username.size(); n % 4 != 0; ++n) out.u8(0);
  }
  if (d.use_candidate) begin_attribute(use_candidate, 0);
  if (!d.key.empty()) {
    const auto mac = integrity_of(bytes, d.key);
    begin_attribute(message_integrity, mac.size());
    out.bytes(mac);
  }
  if (d.fingerprint) {
    set_length(bytes.size() - header_bytes + attribute_header_bytes + 4);
    const uint32_t crc = crc32(bytes) ^ fingerprint_mask;
    begin_attribute(fingerprint, 4);
    out.u32(crc);
  }
  set_length(bytes.size() - header_bytes);
  return std::string(base::as_text(bytes));
}

}  // namespace sluice::stun
