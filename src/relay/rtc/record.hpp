#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "relay/rtc/session.hpp"

namespace sluice::relay {

/// What the store holds of a session: `stream_url` and `ufrag` as SRS's proxies write and read them, and beside them
/// what a Sluice proxy needs to go on with it.
struct rtc_record {
  std::string stream_url;  ///< `vhost/app/stream`
  std::string ufrag;       ///< the whole username
  std::string origin;      ///< id of its incarnation; empty: written by another program
  std::string password;    ///< of the client's checks; may be empty
  std::string rtc;         ///< endpoint of its media; may be empty
  rtc_kind kind = rtc_kind::play;
  /// Path and query by which the client names it, and by which its origin does, if the former is no use to the latter;
  /// else empty.
  std::string location, resource;
};
/// Above it, in all, both are left out: what the store and the next process hold stays small (cluster::handed_state).
inline constexpr size_t rtc_resource_bytes_max = 2048;

std::string text_of(const rtc_record& r);
/// Nothing for what is none: texts of other kinds, no stream.
std::optional<rtc_record> parse_rtc_record(std::string_view text);

/// The keys, without prefix.
std::string rtc_stream_key(const cluster::stream_key& key);
std::string rtc_username_key(std::string_view username);
/// The username of such a key; empty for what is none.
std::string_view rtc_username_of(std::string_view key);

}  // namespace sluice::relay
