#pragma once

#include <cstdint>

#include "base/bytes.hpp"
#include "media/reader.hpp"
#include "runtime/tcp.hpp"

namespace sluice::servers {

enum class pump_status : uint8_t {
  drained,  ///< nothing left to send
  blocked,  ///< the socket takes no more now: go on when it is writable
  failed,   ///< the connection is gone
};

/// Writes control bytes and media to `stream` in gathered writes until one side has no more: control at message
/// boundaries, media (may be nullptr) in between. *sent is increased by the bytes written.
pump_status pump(runtime::tcp_stream& stream, base::send_buffer& control, media::reader* media, uint64_t* sent);

}  // namespace sluice::servers
