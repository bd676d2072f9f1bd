#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/endpoint.hpp"
#include "base/result.hpp"
#include "proto/srt/packet.hpp"

// draft-sharabayko-srt-01, section 3.2.1. The body of a control packet of type 0:
//
//   version | encryption (16), extension (16) | initial sequence | MSS | flow window | request | socket id | cookie
//   peer address (16 bytes)
//   then, in a conclusion of version 5, extensions: type (16) | length in words (16) | contents
namespace sluice::srt {

inline constexpr size_t handshake_bytes = 48;
/// Header and handshake without extensions: what an induction has.
inline constexpr size_t induction_bytes = header_bytes + handshake_bytes;
inline constexpr size_t handshake_datagram_bytes_max = 1500;
inline constexpr uint16_t induction_magic = 0x4a17;  ///< in the extension field of a listener's answer
inline constexpr uint32_t version_4 = 4, version_5 = 5;
inline constexpr size_t stream_id_bytes_max = 512;
/// 16 bytes, a salt of 16, two wrapped keys of 32 with 8 bytes of check.
inline constexpr size_t key_material_bytes_max = 104;
/// A smaller MSS does not even carry a handshake over IPv6.
inline constexpr uint32_t mss_min = 40 + 8 + induction_bytes, mss_max = 65'535;
/// How far beyond what was sent a drop request may reach.
inline constexpr uint32_t drop_ahead_max = 1u << 20;

enum class request_type : uint32_t {
  induction = 1,
  wave_a_hand = 0,
  conclusion = 0xffff'ffff,
  agreement = 0xffff'fffe,
};

enum class extension_type : uint16_t {
  handshake_request = 1,
  handshake_response = 2,
  key_request = 3,
  key_response = 4,
  stream_id = 5,
  congestion = 6,
  filter = 7,
  group = 8,
};

/// Bits of the extension field of a conclusion.
inline constexpr uint16_t has_handshake = 1, has_key = 2, has_config = 4;

/// Why a connection is refused: the request type of the answer, less 1000. Below 1000 what libsrt knows by itself
/// (srt.h), above what servers tell (access_control.h).
enum class reject : uint16_t {
  resource = 3,
  rogue = 4,  ///< malformed
  version = 8,
  timeout = 16,
  bad_request = 1400,
  overload = 1402,
  not_found = 1404,
  bad_mode = 1405,
  conflict = 1409,
  gateway = 1502,
  down = 1503,
};
inline constexpr uint32_t reject_base = 1000;

struct handshake {
  uint32_t version = 0;
  uint16_t encryption = 0, extension = 0;
  uint32_t initial_sequence = 0, mss = 0, flow_window = 0;
  uint32_t request = 0;    ///< request_type, or a refusal
  uint32_t socket_id = 0;  ///< of the sender
  uint32_t cookie = 0;
  std::array<uint8_t, 16> peer{};           ///< address, in libsrt's order (see peer_field())
  uint32_t timestamp = 0, destination = 0;  ///< of the packet
  base::bytes_view extensions;

  bool is(request_type t) const { return request == static_cast<uint32_t>(t); }
};

/// libsrt's form of an address in a handshake: the words of an IPv4 address (and three of 0), or of an IPv6 address,
/// each in the order of a little-endian machine.
std::array<uint8_t, 16> peer_field(const base::ip_address& a);

/// Of a whole datagram that is a handshake packet. Error reason: malformed.
base::result<handshake> parse_handshake(base::bytes_view datagram);
bool is_handshake(const packet& p);
/// The datagram of `h`, extensions included.
std::vector<uint8_t> write_handshake(const handshake& h);

/// What a conclusion says in its extensions. Error reasons of read_extensions(): malformed (lengths, repetitions, what
/// the extension field does not announce), too_long (stream id, key material).
struct extensions {
  bool handshake = false, key = false;
  uint32_t srt_version = 0;
  std::string stream_id;  ///< empty: none
};
base::result<extensions> read_extensions(const handshake& h);

/// A caller's conclusion of version 5, whose cookie is not looked at. Error reasons: old_version, missing_extension,
/// bad_mss, bad_sequence, bad_socket_id, no_stream_id, and those of read_extensions().
base::result<std::string> check_conclusion(const handshake& h);
/// The refusal that tells a caller of that error.
reject reject_of(const base::error& e);

/// The listener's answer to an induction: as long as that, and without state. `key_bytes` (16, 24, 32): the length of
/// key that callers take who have a passphrase and no length of their own; 0: none is advertised, and they take 16.
std::vector<uint8_t> answer_induction(const handshake& request, uint32_t cookie, const base::ip_address& caller,
                                      uint16_t key_bytes = 0);
/// The listener's refusal of a conclusion.
std::vector<uint8_t> refuse_conclusion(const handshake& request, reject why, const base::ip_address& caller);

}  // namespace sluice::srt
