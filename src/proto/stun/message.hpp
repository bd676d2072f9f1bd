#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/buffer.hpp"
#include "base/result.hpp"

// STUN (RFC 8489) as ICE uses it (RFC 8445): messages are read and checked, never changed. A datagram of a WebRTC
// session is told by its first byte (RFC 7983): STUN 0 … 3, DTLS 20 … 63, RTP and RTCP 128 … 191.
//
//   0                   1                   2                   3
//   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//  +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//  |0 0|     STUN Message Type     |         Message Length        |   §5; the length is that of the attributes
//  |                     Magic Cookie 0x2112A442                   |
//  |                     Transaction ID (96 bits)                  |
//  |         Attribute Type        |     Length of the value       |   §14; values are padded to 4 bytes
//  |                         Value (variable)                ....
namespace sluice::stun {

inline constexpr size_t header_bytes = 20;
inline constexpr size_t transaction_bytes = 12;
/// A check of an ICE agent takes 100 to 200 bytes; a longer message than this is refused unread.
inline constexpr size_t message_bytes_max = 1500;
inline constexpr size_t username_bytes_max = 508;  ///< §14.3: fewer than 509
inline constexpr size_t attributes_max = 32;

enum class message_class : uint8_t { request = 0, indication = 1, success = 2, error = 3 };
inline constexpr uint16_t binding = 0x001;

/// What a datagram is, by its first byte.
enum class packet_kind : uint8_t { stun, dtls, rtp /* or RTCP */, other };
packet_kind kind_of(base::bytes_view datagram);

/// A message that has kept all rules of form. Views point into the datagram.
struct message {
  uint16_t method = 0;
  message_class cls = message_class::request;
  base::bytes_view transaction;  ///< 12 bytes
  std::string_view username;     ///< empty: none
  bool use_candidate = false;    ///< RFC 8445 §7.1.2
  /// Where MESSAGE-INTEGRITY stands in the datagram, from its type on; 0: there is none.
  size_t integrity_at = 0;
  bool has_fingerprint = false;
};

/// Checks a whole datagram: type (by which it is STUN for kind_of), magic cookie, length (the datagram's, a multiple of
/// 4), every attribute within it, a right FINGERPRINT in the last place if there is one. Padding may have any value
/// (§14). What follows MESSAGE-INTEGRITY counts for nothing but FINGERPRINT (§14.5). Error reason: bad_stun.
base::result<message> parse(base::bytes_view datagram);

/// Whether the MESSAGE-INTEGRITY (HMAC-SHA1) of a parsed message was made with the short-term password `key`; false if
/// there is none. Takes some 2 µs.
bool integrity_holds(base::bytes_view datagram, const message& m, std::string_view key);

/// The USERNAME of a check (RFC 8445 §7.1.2): the ufrag of the side that is asked, then the one of the side that asks.
struct username_parts {
  std::string_view local, remote;
};
/// Nothing unless there are two parts of 1 to 256 characters each, of those that ufrags are made of.
std::optional<username_parts> parse_username(std::string_view username);

/// A binding request as an ICE agent sends it, or (`cls`) an answer that repeats its transaction: USERNAME,
/// MESSAGE-INTEGRITY with `key` and FINGERPRINT, each left out if empty or false. For tests and tools.
struct draft {
  message_class cls = message_class::request;
  std::string transaction = std::string(transaction_bytes, 't');
  std::string username, key;
  bool use_candidate = false;
  bool fingerprint = true;
};
std::string write(const draft& d);

}  // namespace sluice::stun
