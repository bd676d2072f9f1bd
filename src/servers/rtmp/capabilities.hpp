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
  amf0::value to_amf() const;
  static peer_note from(const amf0::value& command_object);
};

}  // namespace sluice::servers
