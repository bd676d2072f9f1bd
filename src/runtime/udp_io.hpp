#pragma once

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <vector>

#include "runtime/descriptor.hpp"
#include "runtime/udp_socket.hpp"

namespace sluice::runtime {

/// How udp_io works; for udp_socket only. The sockets are in an epoll set of their own, which asks for what comes in
/// alone: the loop's would also report each time that a datagram has left a socket, as often as one is sent. The loop
/// watches that set, or, while much comes in, a timer that looks at it once an interval.
struct udp_io::impl final : io_handler {
  impl(loop& the_loop, base::metrics& metrics, base::duration interval);
  ~impl();

  /// False, with errno set, if the kernel cannot watch it.
  bool watch(udp_socket& s);
  void send(udp_socket& s, const udp_path& to, base::bytes_view bytes);
  void flush();
  /// The socket is being destroyed: sends what is noted of it, and forgets it.
  void forget(udp_socket& s);

  loop& l;

 private:
  static constexpr size_t ready_max = 64;
  static constexpr size_t messages_in = 64, free_min = 16;
  /// A message that the kernel joined has up to 64 KiB. Buffers at multiples of that would all fall into the same few
  /// sets of the cache; the odd lines between them spread them.
  static constexpr size_t buffer_bytes = 64 * 1024, buffer_stride = buffer_bytes + 22 * 64;
  static constexpr size_t batch_max = 256, parts_max = 256, messages_out = 64;
  static constexpr size_t control_bytes = 128;
  static constexpr uint32_t none = UINT32_MAX;

  struct message_in {
    sockaddr_storage from;
    alignas(cmsghdr) uint8_t control[control_bytes];
    iovec buffer;
  };
  struct message_out {
    sockaddr_storage to;
    alignas(cmsghdr) uint8_t control[control_bytes];
    size_t segment;  // bytes of one of several datagrams that are sent as one, 0: it is one
    size_t datagrams;
  };
  struct part {
    base::bytes_view bytes;
    uint32_t next;
  };
  /// Datagrams of one socket to one peer.
  struct flow {
    udp_socket* socket;
    udp_path to;
    uint32_t first, last;
  };
  struct failure {
    udp_socket* socket;
    int error;
  };

  void on_io(io_ready) override { turn(); }
  void turn();
  /// Reads and hands over what waits, in turns with other sockets. `until_empty`: there may be an error behind the
  /// datagrams.
  void read(udp_socket& s, bool until_empty);
  void begin_turn();
  void end_turn();
  void note_rate();
  void set_busy(bool busy);

  size_t receive(udp_socket& s, size_t count, int& error);
  void free_messages();
  bool hand_over(udp_socket& s, size_t first, size_t count);
  bool deliver(udp_socket& s, size_t datagrams);
  datagram describe(const udp_socket& s, size_t message, size_t& segment) const;
  bool report(udp_socket& s, int error);
  void later();
  uint32_t add_message(const flow& f, uint32_t part);
  void submit(udp_socket& s);
  void submit_apart(udp_socket& s, size_t message);
  void note_failure(udp_socket& s, int error, size_t datagrams);

  // Readiness.
  descriptor set_, timer_;
  std::array<epoll_event, ready_max> ready_{};
  size_t ready_n_ = 0;
  const base::duration interval_;  // zero: every datagram wakes the loop
  bool busy_ = false;              // the timer is on
  base::time_point rate_since_{};
  int64_t rate_turns_ = 0, rate_messages_ = 0;
  base::metric_cell& gathering_;

  // In. What one turn has read stays where it is until all that is made of it has been sent.
  std::unique_ptr<uint8_t[]> memory_;
  std::array<mmsghdr, messages_in> in_{};
  std::array<message_in, messages_in> in_parts_{};
  size_t used_ = messages_in;  // of in_, since they were made ready for further calls
  size_t turn_messages_ = 0;   // read in this turn
  std::array<datagram, batch_max> batch_{};
  udp_socket* reading_ = nullptr;  // null again if it was destroyed by its handler
  bool in_turn_ = false;

  // Out.
  std::array<part, parts_max> parts_;
  size_t parts_n_ = 0;
  std::array<flow, parts_max> flows_;
  size_t flows_n_ = 0;
  uint64_t round_ = 1;
  std::array<iovec, parts_max> vectors_;
  size_t vectors_n_ = 0;
  std::array<mmsghdr, messages_out> out_{};
  std::array<message_out, messages_out> out_parts_{};
  size_t out_n_ = 0;

  // What is to be looked at after the present batch of events.
  std::vector<udp_socket*> unread_;
  std::vector<failure> failed_;
  bool later_ = false, more_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);

  struct direction {
    base::metric_cell &datagrams, &calls;
  };
  direction in_cells_, out_cells_;
  base::metric_cell &no_room_, &undelivered_;
};

}  // namespace sluice::runtime
