#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"
#include "runtime/descriptor.hpp"
#include "runtime/handover_message.hpp"

// Packets with descriptors on a Unix socket: what both sides of socket_handover.hpp are made of.
namespace sluice::runtime {

/// Descriptors that one packet may carry (the kernel's bound is 253).
inline constexpr size_t handover_descriptors_max = 64;

enum class packet_status : uint8_t {
  ok,
  would_block,
  closed,  ///< the other end is closed
  bad,     ///< too long, or too many descriptors
};

struct received_packet {
  packet_status status = packet_status::closed;
  std::string bytes;
  std::vector<descriptor> descriptors;  ///< close-on-exec
};

received_packet receive_packet(int fd);
/// Whole or not at all. `descriptors` stay the caller's.
packet_status send_packet(int fd, std::string_view bytes, std::span<const int> descriptors);
/// Until `fd` is readable, or writable; false if that takes until `deadline` (loop::monotonic_now()).
bool await_readable(int fd, base::time_point deadline);
bool await_writable(int fd, base::time_point deadline);

/// The process at the other end.
struct socket_peer {
  pid_t pid = 0;
  uid_t uid = 0;
};
std::optional<socket_peer> peer_of(int fd);
/// The other end belongs to this user, or to root.
bool is_ours(const socket_peer& peer);

/// A socket, non-blocking, that listens at `path`, for this user only (0600). It gets the path at once: whatever socket
/// had it before is not to be found any more, and nobody sees the path without a socket. Error reasons: bad_path (too
/// long, or something that is no socket is there), cannot_bind.
base::result<descriptor> listen_at_path(const std::string& path);
/// Nothing if nobody listens there: no such file, or a socket that a dead process left. Error reasons: bad_path,
/// wrong_owner (another user's process), cannot_connect.
base::result<std::optional<descriptor>> connect_to_path(const std::string& path);

}  // namespace sluice::runtime
