#pragma once

#include <cstdint>
#include <string>

#include "cluster/core/ownership.hpp"
#include "proto/amf0/value.hpp"
#include "servers/rtmp/connection.hpp"

namespace sluice::servers {

/// Members of the answer to connect that announce what is forwarded: every FourCC, multitrack, ModEx and nanosecond
/// offsets (Enhanced RTMP v2, "Enhancing NetConnection connect Command"). `can_reconnect`: this server may send
/// ReconnectRequest. `trusted`: to a server of ours: connections may carry marks (media/mark.hpp), and control
/// connections are kept.
amf0::object forward_capabilities(bool can_reconnect, bool trusted = false);
/// Whether an answer to connect said so. `information`: its information object.
bool says_numbered(const amf0::value& information);
bool keeps_control_connections(const amf0::value& information);

/// What one Sluice server tells the next in the `sluice` member of the command object. Believed from trusted peers
/// only.
struct peer_note {
  std::string session;   ///< the session id under which the client is logged
  cluster::epoch epoch;  ///< of the owner that was asked for; zero: none
  /// Publish: id of the publication, which has `next` messages already (0: it begins). Play: the publication of which
  /// the receiver has all below `next`; may be empty.
  std::string source;
  uint64_t next = 0;
  bool numbered = false;  ///< it can deal with marks
  bool control = false;   ///< a connection for pings only
  amf0::value to_amf() const;
  static peer_note from(const amf0::value& command_object);
};

/// What a Sluice origin that stops tells other servers before it closes their connections: it is gone from now on.
inline constexpr std::string_view shutdown_code = "NetConnection.Connect.AppShutdown";

/// Codes of refusals, and of ends, that only a Sluice proxy is told, who tells apart what his client need not. An
/// origin always says why to a proxy: a close without a word is a broken connection, or the lack of room for any.
inline constexpr std::string_view full_code = "NetConnection.Connect.AtCapacity";
inline constexpr std::string_view stale_epoch_code = "NetStream.Publish.StaleEpoch";
inline constexpr std::string_view at_capacity_code = "NetStream.Publish.AtCapacity";
inline constexpr std::string_view play_stale_code = "NetStream.Play.StaleEpoch";
inline constexpr std::string_view play_at_capacity_code = "NetStream.Play.AtCapacity";

}  // namespace sluice::servers
