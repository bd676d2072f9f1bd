#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/buffer.hpp"
#include "base/endpoint.hpp"
#include "base/metrics.hpp"
#include "base/result.hpp"
#include "runtime/loop.hpp"

namespace sluice::runtime {

/// The two ends of a datagram.
struct udp_path {
  base::endpoint peer;
  /// This host's address that the datagram came to or leaves from: an answer from another address of the same host
  /// would not reach a client behind a NAT. `::` means that the kernel chooses; so it is with sockets bound to one
  /// address.
  base::ip_address local;
  bool operator==(const udp_path&) const = default;
};

struct datagram {
  udp_path path;
  /// May be changed. Gone when the handler returns, but for what it has given to udp_socket::send().
  std::span<uint8_t> bytes;
};

class udp_socket;

class udp_handler {
 public:
  /// What has come, in its order; at least one. What the handler gives to udp_socket::send() meanwhile leaves together
  /// with what others do about datagrams that came at the same time. It may destroy any socket, this one too (what is
  /// left of the batch is then dropped).
  virtual void on_datagrams(udp_socket& socket, std::span<const datagram> batch) = 0;
  /// The kernel says that nothing gets there: ECONNREFUSED if nobody listens at the peer's port. Only connected sockets
  /// hear of it. It may destroy the socket.
  virtual void on_unreachable(udp_socket& /*socket*/, int /*error*/) {}

 protected:
  ~udp_handler() = default;
};

/// What the UDP sockets of one loop share: memory for what comes in, and the list of what is to go out, so that a
/// socket costs no memory of its own and a datagram no allocation. Datagrams come in batches (recvmmsg), several of one
/// flow as one where the network card or a local sender joined them (UDP_GRO); equally long ones to one peer leave as
/// one (UDP_SEGMENT). What the kernel does not take at once is dropped and counted: that is the bound of the backlog.
///
/// While datagrams wake the loop much more often than once an `interval`, most of the CPU would go into waking up: then
/// the sockets are looked at once an interval instead, as network cards moderate their interrupts (docs/adr/0011). A
/// datagram waits for half of it on average. Other sockets and timers of the loop are served as ever.
class udp_io {
 public:
  /// `interval` zero: never. Throws std::system_error if the kernel has no descriptor for it.
  udp_io(loop& l, base::metrics& metrics, base::duration interval = base::duration::zero());
  ~udp_io();
  udp_io(const udp_io&) = delete;
  udp_io& operator=(const udp_io&) = delete;

 private:
  friend class udp_socket;
  struct impl;
  std::unique_ptr<impl> impl_;
};

struct udp_options {
  /// Further sockets (one per shard) may bind the same port; the kernel spreads the peers over them by a hash of their
  /// addresses, so that a peer stays with one socket. Call reserve_udp_port() first.
  bool share_port = false;
  int receive_bytes = 0;  ///< wanted SO_RCVBUF; the kernel grants up to net.core.rmem_max. 0: its default
  int send_bytes = 0;     ///< likewise, SO_SNDBUF
};

/// A non-blocking datagram socket on a loop. Everything on the loop's thread; the udp_io and the handler outlive it.
class udp_socket final {
 public:
  /// A listening socket. [::] takes IPv4 too, any other IPv6 address only itself. Port 0: the kernel's choice. Error
  /// reasons: address_in_use, cannot_bind, no_descriptors.
  static base::result<std::unique_ptr<udp_socket>> bind(udp_io& io, const base::endpoint& at, udp_options options,
                                                        udp_handler& handler);
  /// A socket of one peer: datagrams of others do not reach it. Error reasons: unreachable, no_descriptors.
  static base::result<std::unique_ptr<udp_socket>> connect(udp_io& io, const base::endpoint& to, udp_options options,
                                                           udp_handler& handler);
  /// A connected socket that another loop has let go of (release()). Error reason: no_descriptors; the descriptor is
  /// closed then.
  static base::result<std::unique_ptr<udp_socket>> adopt(udp_io& io, int fd, udp_handler& handler);
  ~udp_socket();
  /// The descriptor, which is not watched or closed any more, for a socket of another loop. What waits in it is kept.
  /// The object is good for nothing but its destructor.
  int release();

  /// Sends one datagram; `bytes` up to 65,507. Within a handler's on_datagrams() (of any socket of the udp_io) it is
  /// only noted, and leaves soon after that has returned: until then `bytes` must stay as they are, which those of the
  /// batch do (others: send_now()). Else it leaves at once. For connected sockets `to` is left out.
  void send(base::bytes_view bytes);
  void send(const udp_path& to, base::bytes_view bytes);
  /// At once, behind what is noted already: for bytes that do not outlive the call.
  void send_now(base::bytes_view bytes);
  void send_now(const udp_path& to, base::bytes_view bytes);

  base::endpoint local() const { return local_; }
  const base::endpoint& peer() const { return peer_; }  ///< of a connected socket

 private:
  friend struct udp_io::impl;
  udp_socket(udp_io& io, int fd, udp_handler& handler);

  udp_io::impl& io_;
  udp_handler& handler_;
  int fd_;
  const bool v6_;             // AF_INET6: addresses of both families in IPv6's form
  bool wants_local_ = false;  // bound to all addresses
  bool connected_ = false;
  size_t segment_max_ = SIZE_MAX;  // longer ones cannot be joined by UDP_SEGMENT on the way that they take
  base::endpoint local_, peer_;
  // Its last flow in the list of what is to go out, if that is still the list of the number.
  uint64_t flow_round_ = 0;
  size_t flow_ = 0;
};

}  // namespace sluice::runtime
