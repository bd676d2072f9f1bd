#pragma once

#include <memory>
#include <string>

#include "base/endpoint.hpp"
#include "cluster/core/coordinator.hpp"
#include "cluster/core/stream_key.hpp"
#include "proto/rtmp/client_session.hpp"
#include "relay/shard.hpp"

namespace sluice::relay {

/// What a client asked of the proxy, kept as long as an origin may have to be asked for the same.
struct client_ask {
  std::shared_ptr<const rtmp::connect_request> connect;
  std::string name;                 ///< of the publish or play, as sent
  cluster::stream_address address;  ///< what that means
  std::string session;
  base::endpoint peer;  ///< the client's true address
};

/// What a numbered link is told at its beginning, if the origin is ours.
struct link_terms {
  std::string source;  ///< publish: id of the publication; play: of the one that goes on, empty: none
  uint64_t next = 0;   ///< play: what is wanted next of it; publish: how many messages it has had
};

/// The same ask, for an origin. A Sluice origin gets the stream's canonical form, so that its key is ours whatever
/// vhosts it lists; any other gets the words of the client. The client's own connect members go along, but never a
/// `sluice` member of its making.
rtmp::client_request request_for(const client_ask& ask, rtmp::client_intent intent, const cluster::assignment& to,
                                 const link_terms& terms, const relay_config& config);

/// A pull that many viewers share: no client's address or parameters.
rtmp::client_request shared_request_for(const client_ask& ask, const cluster::assignment& to, const link_terms& terms);

}  // namespace sluice::relay
