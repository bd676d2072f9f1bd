#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>

namespace sluice::bench {

/// Where a server is and what is asked of it: `SCHEME://A.B.C.D:PORT/PATH`; PATH may hold one %d, the stream's number.
struct server_url {
  sockaddr_storage address{};
  socklen_t address_size = 0;
  std::string authority;
  std::string path;  ///< without its first slash

  /// Nothing for another scheme, or what has no numeric address, port or path.
  static std::optional<server_url> parse(std::string_view text, std::string_view scheme);
  std::string path_of(int stream) const;

  /// A non-blocking socket with TCP_NODELAY that is connecting; -1 and errno if it cannot. `receive_buffer`: SO_RCVBUF
  /// in bytes, 0 for the system's.
  int dial(int receive_buffer) const;
};

}  // namespace sluice::bench
