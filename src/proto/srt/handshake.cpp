#include "proto/srt/handshake.hpp"

#include <algorithm>

#include "base/bytes.hpp"

namespace sluice::srt {
namespace {

constexpr uint32_t first_version_of_handshake_5 = 0x010300;
constexpr size_t handshake_extension_bytes = 12;
constexpr uint32_t sequence_max = 0x7fff'ffff;

/// The stream id stands in words, each with its bytes the other way round, filled up with zeros.
std::string text_of_words(base::bytes_view words) {
  std::string text;
  text.reserve(words.size());
  for (size_t i = 0; i + 4 <= words.size(); i += 4)
    for (size_t k = 4; k-- > 0;) text += static_cast<char>(words[i + k]);
  text.erase(std::find_if(text.rbegin(), text.rend(), [](char c) { return c != '\0'; }).base(), text.end());
  return text;
}

tl::unexpected<base::error> malformed(std::string_view what) { return base::fail("malformed", std::string(what)); }

}  // namespace

std::array<uint8_t, 16> peer_field(const base::ip_address& a) {
  std::array<uint8_t, 16> field{};
  const auto& bytes = a.bytes();
  if (a.is_v4()) {
    for (size_t k = 0; k < 4; ++k) field[k] = bytes[15 - k];
    return field;
  }
  for (size_t i = 0; i < 16; i += 4)
    for (size_t k = 0; k < 4; ++k) field[i + k] = bytes[i + 3 - k];
  return field;
}

bool is_handshake(const packet& p) { return p.control && p.type == control_type::handshake; }

base::result<handshake> parse_handshake(base::bytes_view datagram) {
  const auto p = parse_packet(datagram);
  if (!p || !is_handshake(*p)) return malformed("no handshake packet");
  if (datagram.size() > handshake_datagram_bytes_max) return malformed("too long a packet");
  base::byte_reader in(p->body);
  handshake h;
  h.version = in.u32();
  h.encryption = in.u16();
  h.extension = in.u16();
  h.initial_sequence = in.u32();
  h.mss = in.u32();
  h.flow_window = in.u32();
  h.request = in.u32();
  h.socket_id = in.u32();
  h.cookie = in.u32();
  const auto peer = in.bytes(h.peer.size());
  if (in.failed()) return malformed("too short a packet");
  std::copy(peer.begin(), peer.end(), h.peer.begin());
  h.timestamp = p->timestamp;
  h.destination = p->destination;
  h.extensions = in.rest();
  return h;
}

std::vector<uint8_t> write_handshake(const handshake& h) {
  std::vector<uint8_t> out;
  out.reserve(induction_bytes + h.extensions.size());
  base::byte_writer w(out);
  w.u32(1u << 31);
  w.u32(0);
  w.u32(h.timestamp);
  w.u32(h.destination);
  w.u32(h.version);
  w.u16(h.encryption);
  w.u16(h.extension);
  w.u32(h.initial_sequence);
  w.u32(h.mss);
  w.u32(h.flow_window);
  w.u32(h.request);
  w.u32(h.socket_id);
  w.u32(h.cookie);
  w.bytes(h.peer);
  w.bytes(h.extensions);
  return out;
}

base::result<extensions> read_extensions(const handshake& h) {
  extensions found;
  bool has_id = false;
  base::byte_reader in(h.extensions);
  while (in.remaining() > 0) {
    const uint16_t type = in.u16();
    const size_t size = size_t{in.u16()} * 4;
    const auto contents = in.bytes(size);
    if (in.failed()) return malformed("an extension is longer than the packet");
    switch (static_cast<extension_type>(type)) {
      case extension_type::handshake_request:
      case extension_type::handshake_response:
        if (std::exchange(found.handshake, true) || size < handshake_extension_bytes)
          return malformed("a bad handshake extension");
        found.srt_version = base::byte_reader(contents).u32();
        break;
      case extension_type::key_request:
      case extension_type::key_response:
        if (std::exchange(found.key, true)) return malformed("key material twice");
        if (size > key_material_bytes_max) return base::fail("too_long", "too much key material");
        break;
      case extension_type::stream_id:
        if (std::exchange(has_id, true)) return malformed("two stream ids");
        if (size > stream_id_bytes_max) return base::fail("too_long", "the stream id is too long");
        found.stream_id = text_of_words(contents);
        break;
      case extension_type::congestion:
      case extension_type::filter:
      case extension_type::group:
        break;
    }
  }
  if (found.handshake && (h.extension & has_handshake) == 0) return malformed("an extension that was not announced");
  return found;
}

base::result<std::string> check_conclusion(const handshake& h) {
  if (h.version != version_5) return base::fail("old_version", "the caller speaks SRT before version 1.3");
  if ((h.extension & has_handshake) == 0) return base::fail("missing_extension", "no handshake extension");
  if (h.mss < mss_min || h.mss > mss_max) return base::fail("bad_mss", "an impossible MSS");
  if (h.initial_sequence > sequence_max || h.flow_window == 0)
    return base::fail("bad_sequence", "an impossible initial sequence number or flow window");
  if (h.socket_id == 0) return base::fail("bad_socket_id", "no socket id");
  auto found = read_extensions(h);
  if (!found) return tl::unexpected(found.error());
  if (!found->handshake || ((h.extension & has_key) != 0) != found->key)
    return base::fail("missing_extension", "an announced extension is missing");
  if (found->srt_version < first_version_of_handshake_5)
    return base::fail("old_version", "the caller speaks SRT before version 1.3");
  if (found->stream_id.empty()) return base::fail("no_stream_id", "a stream id is needed: #!::r=app/stream,m=…");
  return std::move(found->stream_id);
}

reject reject_of(const base::error& e) {
  if (e.reason == "old_version") return reject::version;
  if (e.reason == "no_stream_id" || e.reason == "too_long") return reject::bad_request;
  return reject::rogue;
}

std::vector<uint8_t> answer_induction(const handshake& request, uint32_t cookie, const base::ip_address& caller,
                                      uint16_t key_bytes) {
  handshake h = request;
  h.version = version_5;
  h.encryption = key_bytes / 8;  // draft-sharabayko-srt-01, table 2: AES-128 is 2, AES-256 is 4
  h.extension = induction_magic;
  h.cookie = cookie;
  h.peer = peer_field(caller);
  h.destination = request.socket_id;
  h.timestamp = 0;
  h.extensions = {};
  return write_handshake(h);
}

std::vector<uint8_t> refuse_conclusion(const handshake& request, reject why, const base::ip_address& caller) {
  handshake h = request;
  h.request = reject_base + static_cast<uint32_t>(why);
  h.peer = peer_field(caller);
  h.destination = request.socket_id;
  h.socket_id = 0;
  h.timestamp = 0;
  h.extensions = {};
  return write_handshake(h);
}

}  // namespace sluice::srt
