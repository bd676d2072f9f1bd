#include "proto/srt/packet.hpp"

#include "base/bytes.hpp"
#include "proto/srt/handshake.hpp"

namespace sluice::srt {
namespace {

constexpr size_t ack_bytes_max = 64;       // libsrt 1.5 sends 28, later ones a little more
constexpr uint32_t range_mark = 1u << 31;  // in a loss report: the next number is the last of a range

void put(uint8_t* at, uint32_t v) {
  for (int i = 0; i < 4; ++i) at[i] = static_cast<uint8_t>(v >> (24 - 8 * i));
}

/// Nobody can miss or have what was not sent.
bool beyond(uint32_t sequence, uint32_t sent) { return is_after(sequence, sent); }

std::string_view fault_of_nak(base::byte_reader in, uint32_t sent) {
  while (in.remaining() > 0) {
    const uint32_t first = in.u32();
    uint32_t last = first;
    if ((first & range_mark) != 0) {
      if (in.remaining() == 0) return "bad_length";
      last = in.u32();
      if (is_after(first & ~range_mark, last)) return "bad_sequence";
    }
    if ((last & range_mark) != 0 || beyond(last, sent)) return "bad_sequence";
  }
  return {};
}

}  // namespace

std::optional<packet> parse_packet(base::bytes_view datagram) {
  base::byte_reader in(datagram);
  packet p;
  const uint32_t first = in.u32();
  p.second_word = in.u32();
  p.timestamp = in.u32();
  p.destination = in.u32();
  if (in.failed()) return std::nullopt;
  p.control = (first & 1u << 31) != 0;
  if (p.control) {
    p.type = static_cast<control_type>(first >> 16 & 0x7fff);
    p.subtype = static_cast<uint16_t>(first);
  } else {
    p.sequence = first;
  }
  p.body = in.rest();
  return p;
}

void set_timestamp(std::vector<uint8_t>& datagram, uint32_t timestamp) { put(datagram.data() + 8, timestamp); }

std::array<uint8_t, header_bytes + 4> plain_control(control_type type, uint32_t destination, uint32_t timestamp) {
  std::array<uint8_t, header_bytes + 4> out{};
  put(out.data(), 1u << 31 | static_cast<uint32_t>(type) << 16);
  put(out.data() + 8, timestamp);
  put(out.data() + 12, destination);
  return out;
}

std::string_view fault_of(const packet& p, uint32_t sent, uint32_t own) {
  const size_t size = p.body.size();
  base::byte_reader in(p.body);
  switch (p.type) {
    case control_type::ack:
      if (size < 4 || size % 4 != 0 || size > ack_bytes_max) return "bad_length";
      // It names the first one that has not come.
      if (const uint32_t next = in.u32(); (next & range_mark) != 0 || beyond(next, next_sequence(sent)))
        return "bad_sequence";
      return {};
    case control_type::nak:
      return size < 4 || size % 4 != 0 ? "bad_length" : fault_of_nak(in, sent);
    case control_type::drop_request: {
      if (size < 8) return "bad_length";
      const uint32_t first = in.u32(), last = in.u32();
      // It may name some that were never sent: a sender drops what has become too late.
      const bool far = is_after(last, own) && ((last - own) & 0x7fff'ffff) > drop_ahead_max;
      return ((first | last) & range_mark) != 0 || is_after(first, last) || far ? "bad_sequence" : "";
    }
    case control_type::user_defined:
      if (p.subtype != static_cast<uint16_t>(extension_type::key_request) &&
          p.subtype != static_cast<uint16_t>(extension_type::key_response))
        return "unknown_type";
      return size < 4 || size > key_material_bytes_max ? "bad_length" : "";
    case control_type::handshake:
    case control_type::keepalive:
    case control_type::congestion:
    case control_type::shutdown:
    case control_type::ackack:
    case control_type::peer_error:
      return {};
  }
  return "unknown_type";
}

}  // namespace sluice::srt
