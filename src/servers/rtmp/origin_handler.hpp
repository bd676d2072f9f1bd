#pragma once

#include <memory>

#include "cluster/core/stream_key.hpp"
#include "servers/live/directory.hpp"
#include "servers/rtmp/connection.hpp"

namespace sluice::servers {

/// An RTMP client of an origin: publishes into, or plays from, the streams of a directory.
std::unique_ptr<client_handler> make_origin_handler(connection& c, directory& streams,
                                                    const cluster::vhost_rules& vhosts);

}  // namespace sluice::servers
