#pragma once

#include <string>

#include "proto/amf0/value.hpp"
#include "servers/rtmp/connection.hpp"

namespace sluice::servers {

/// Members of the answer to connect that announce what is forwarded: every FourCC, multitrack, ModEx and nanosecond
/// offsets (Enhanced RTMP v2, "Enhancing NetConnection connect Command"). `can_reconnect`: this server may send
/// ReconnectRequest.
amf0::object forward_capabilities(bool can_reconnect);

/// What one Sluice server tells the next in the `sluice` member of the command object. Believed from trusted peers
/// only.
struct peer_note {
  std::string session;  ///< the session id under which the client is logged
  std::string epoch;    ///< `counter.claim`, empty if none
  /// A control connection: it is kept for its pings, nothing is published or played on it.
  bool control = false;
  amf0::value to_amf() const;
  static peer_note from(const amf0::value& command_object);
};

/// Adds to the answer to connect that a control connection is kept, and finds that in one.
void announce_control(amf0::object& answer);
bool keeps_control_connections(const amf0::value& answer);

}  // namespace sluice::servers
