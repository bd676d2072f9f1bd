#include "proto/proxy/proxy_protocol.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace sluice::proxy_protocol {
namespace {

using namespace std::string_view_literals;
constexpr auto v1_signature = "PROXY "sv;
constexpr auto v2_signature = "\r\n\r\n\0\r\nQUIT\n"sv;

tl::unexpected<base::error> bad(const char* what) { return base::fail("bad_proxy_protocol", what); }

// True if `bytes` begin with `signature` or, while shorter, may yet.
bool may_begin_with(base::bytes_view bytes, std::string_view signature) {
  const auto size = std::min(bytes.size(), signature.size());
  return base::as_text(bytes.first(size)) == signature.substr(0, size);
}

// The text up to the next single space, which is taken too.
std::string_view take_field(std::string_view& line) {
  const auto field = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(line.size(), field.size() + 1));
  return field;
}

// §2.1: decimal, 0 to 65535, no leading zero.
std::optional<uint16_t> parse_port(std::string_view text) {
  uint16_t port = 0;
  const auto* end = text.data() + text.size();
  const auto [stop, code] = std::from_chars(text.data(), end, port);
  if (text.empty() || code != std::errc() || stop != end || (text.size() > 1 && text.front() == '0'))
    return std::nullopt;
  return port;
}

std::optional<base::endpoint> parse_v1_endpoint(std::string_view address, std::string_view port, bool six) {
  if ((address.find(':') != address.npos) != six) return std::nullopt;
  const auto a = base::ip_address::parse(address);
  const auto p = parse_port(port);
  if (!a || !p) return std::nullopt;
  return base::endpoint{*a, *p};
}

base::result<std::optional<header>> parse_v1(base::bytes_view bytes) {
  const auto text = base::as_text(bytes.first(std::min(bytes.size(), v1_bytes_max)));
  const auto end = text.find("\r\n");
  if (end == text.npos) {
    if (bytes.size() >= v1_bytes_max) return bad("version 1 line longer than 107 bytes");
    return std::nullopt;
  }
  header h;
  h.consumed = end + 2;
  auto line = text.substr(v1_signature.size(), end - v1_signature.size());
  const auto family = take_field(line);
  if (family == "UNKNOWN") return h;  // the rest of the line is to be ignored
  if (family != "TCP4" && family != "TCP6") return bad("version 1 line of an unknown family");
  const bool six = family == "TCP6";
  const auto source = take_field(line), destination = take_field(line);
  const auto source_port = take_field(line);
  h.source = parse_v1_endpoint(source, source_port, six);
  h.destination = parse_v1_endpoint(destination, line, six);
  if (!h.source || !h.destination) return bad("version 1 line with a bad address or port");
  return h;
}

template <size_t n>
std::array<uint8_t, n> read_array(base::byte_reader& in) {
  std::array<uint8_t, n> a{};
  std::ranges::copy(in.bytes(n), a.begin());
  return a;
}

base::result<std::optional<header>> parse_v2(base::bytes_view bytes) {
  base::byte_reader in(bytes);
  in.skip(v2_signature.size());
  const uint8_t version_command = in.u8(), family_protocol = in.u8();
  const uint16_t length = in.u16();
  if (in.failed()) return std::nullopt;
  const unsigned command = version_command & 0x0F, family = family_protocol >> 4, protocol = family_protocol & 0x0F;
  if (version_command >> 4 != 2 || command > 1) return bad("version 2 header with an unknown version or command");
  if (family > 3 || protocol > 2) return bad("version 2 header with an unknown family or protocol");
  if (length > v2_length_max) return bad("version 2 header longer than the limit");
  base::byte_reader body(in.bytes(length));
  if (in.failed()) return std::nullopt;
  header h;
  h.consumed = bytes.size() - in.remaining();
  h.local = command == 0;
  if (h.local || protocol == 0 || family == 0 || family == 3) return h;
  const bool six = family == 2;
  const auto read_address = [&] {
    return six ? base::ip_address::v6(read_array<16>(body)) : base::ip_address::v4(read_array<4>(body));
  };
  h.source.emplace().address = read_address();
  h.destination.emplace().address = read_address();
  h.source->port = body.u16();
  h.destination->port = body.u16();
  if (body.failed()) return bad("version 2 header shorter than its addresses");
  return h;  // what is left of the body are TLVs that we do not use
}

}  // namespace

std::optional<bool> has_header(base::bytes_view bytes) {
  for (const auto signature : {v1_signature, v2_signature}) {
    if (!may_begin_with(bytes, signature)) continue;
    if (bytes.size() < signature.size()) return std::nullopt;
    return true;
  }
  return false;
}

base::result<std::optional<header>> parse(base::bytes_view bytes) {
  if (may_begin_with(bytes, v2_signature)) {
    if (bytes.size() < v2_signature.size()) return std::nullopt;
    return parse_v2(bytes);
  }
  if (!may_begin_with(bytes, v1_signature)) return bad("neither signature");
  if (bytes.size() < v1_signature.size()) return std::nullopt;
  return parse_v1(bytes);
}

}  // namespace sluice::proxy_protocol
