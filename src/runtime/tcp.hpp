#pragma once

#include <sys/uio.h>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/buffer.hpp"
#include "base/endpoint.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "runtime/descriptor.hpp"
#include "runtime/loop.hpp"

namespace sluice::runtime {

enum class io_status : uint8_t { ok, would_block, closed /* FIN */, failed /* RST or another errno */ };

struct io_result {
  io_status status;
  size_t bytes = 0;  ///< moved; may be less than asked
  int error = 0;     ///< errno when failed
};

/// A connected, non-blocking TCP socket with TCP_NODELAY. Owns the descriptor. No buffers of its own.
class tcp_stream {
 public:
  tcp_stream() = default;
  explicit tcp_stream(int fd) : fd_(fd) {}
  tcp_stream(tcp_stream&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  tcp_stream& operator=(tcp_stream&& other) noexcept;
  ~tcp_stream() { close(); }

  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  io_result read(uint8_t* into, size_t size);
  /// `more`: the kernel may wait for what is written next, to fill a packet.
  io_result write(base::bytes_view bytes, bool more = false);
  /// One gathered write; at most IOV_MAX parts are taken.
  io_result write(std::span<const iovec> parts);
  /// `count` bytes of a file from `offset` on, without a copy through this process. ok with no bytes: the file has none
  /// there.
  io_result send_file(int file, size_t offset, size_t count);

  void close();  ///< FIN (or RST if unread data waits, as the kernel does)
  void abort();  ///< RST: SO_LINGER 0
  /// Gives the descriptor away; the caller closes it.
  int release() { return std::exchange(fd_, -1); }
  void shutdown_write();
  base::endpoint local() const;
  base::endpoint remote() const;

  /// Bounds what a peer that does not read can hold in the kernel: SO_SNDBUF cap and TCP_NOTSENT_LOWAT, in bytes.
  void limit_send_memory(int sndbuf_bytes, int notsent_bytes);
  /// Bounds what the kernel takes in for us while we do not read: SO_RCVBUF, in bytes; ends the auto-tuning.
  void limit_receive_memory(int rcvbuf_bytes);
  /// Backstop for blackholed peers: TCP_USER_TIMEOUT and keepalive.
  void set_backstop(base::duration user_timeout, base::duration keepalive_idle);

 private:
  int fd_ = -1;
};

/// With `share_port` further listeners (one per shard) may bind the same port by SO_REUSEPORT: call reserve_port()
/// first, so that a second process is refused.
struct listen_options {
  bool share_port = false;
  int backlog = 4096;
};

/// A TCP socket that listens: the kernel puts connections into its queue, from which a tcp_acceptor takes them. Owns
/// the descriptor. The queue lives as long as any process has the socket.
class tcp_listener {
 public:
  /// Binds and listens; port 0 takes one from the kernel. Error reasons: address_in_use, cannot_bind.
  static base::result<tcp_listener> open(const base::endpoint& at, listen_options options);
  /// One that another process has opened. Error reason: not_listening.
  static base::result<tcp_listener> adopt(descriptor fd);
  base::endpoint local() const { return local_; }
  int release() { return fd_.release(); }

 private:
  explicit tcp_listener(descriptor fd);
  descriptor fd_;
  base::endpoint local_;
};

using tcp_listeners = std::vector<tcp_listener>;  ///< of one port; when somebody is to serve on them, one at least

/// One socket, as tcp_listener::open().
base::result<tcp_listeners> listen_on(const base::endpoint& at, listen_options options);

/// Takes connections from a listening socket.
class tcp_acceptor final : io_handler {
 public:
  using on_accept = std::function<void(tcp_stream stream, const base::endpoint& peer)>;
  /// Error reason: cannot_bind.
  static base::result<std::unique_ptr<tcp_acceptor>> open(loop& l, tcp_listener from, on_accept accept);
  /// From one of its own. Errors as of tcp_listener::open().
  static base::result<std::unique_ptr<tcp_acceptor>> open(loop& l, const base::endpoint& at, listen_options options,
                                                          on_accept accept);
  ~tcp_acceptor();
  base::endpoint local() const { return local_; }
  /// The socket, which stays the acceptor's: to be handed to another process.
  int fd() const { return fd_; }
  /// Stops accepting. Connections that wait in the queue are refused by the kernel, unless another process has it too.
  void close();
  /// Called with errno when accept() fails for a reason of ours (EMFILE, ENFILE, ENOMEM, ENOBUFS); accepting pauses
  /// 100 ms.
  std::function<void(int error)> on_resource_error;

 private:
  tcp_acceptor(loop& l, int fd, on_accept accept);
  void on_io(io_ready ready) override;
  void accept_some();
  void pause(int error);
  loop& loop_;
  int fd_;
  base::endpoint local_;
  std::shared_ptr<on_accept> accept_;  // also tells tasks and callbacks that the acceptor is still there
  timer retry_;
};

/// Checks that nobody listens on `at` or has reserved it, by binding it for a moment without SO_REUSEPORT, and returns
/// the endpoint with its real port reserved: keep the returned descriptor open (bound, SO_REUSEPORT set after the
/// check, not listening: the kernel hands it no connection) while acceptors share the port. Error reasons:
/// address_in_use, cannot_bind.
base::result<std::pair<base::endpoint, int>> reserve_port(const base::endpoint& at);

/// One attempt to connect. Destroying it cancels it; `done` is called once, never from within the constructor, and may
/// destroy the connector. Error reasons: refused, timeout, unreachable, resources.
class tcp_connector final : io_handler {
 public:
  using on_done = std::function<void(base::result<tcp_stream>)>;
  tcp_connector(loop& l, const base::endpoint& to, base::duration timeout, on_done done);
  ~tcp_connector();

 private:
  void on_io(io_ready ready) override;
  void start(const base::endpoint& to, base::duration timeout);
  void finish(base::result<tcp_stream> outcome);
  void fail_later(int error);
  loop& loop_;
  base::endpoint to_;
  int fd_ = -1;
  int early_error_ = 0;  // of connect() itself; reported from the loop
  on_done done_;
  timer timeout_;
};

/// Resolves a host name (or returns the address it is) off the loop's thread. Loop thread; `done` is never called from
/// within. Error reason: no_such_host. Destroying the loop waits for a look-up that is under way.
void resolve(loop& l, const std::string& host, uint16_t port,
             std::function<void(base::result<std::vector<base::endpoint>>)> done);

}  // namespace sluice::runtime
