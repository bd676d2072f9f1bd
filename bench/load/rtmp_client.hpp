#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "load/chunk_scanner.hpp"
#include "load/event_loop.hpp"
#include "load/server_url.hpp"

namespace sluice::bench {

/// One client connection as encoders and players make it: non-blocking, TCP_NODELAY, simple handshake, one step after
/// another.
class rtmp_client : public handler {
 public:
  enum class role : uint8_t { publish, play };
  enum class phase : uint8_t { closed, connecting, handshake, connect, create_stream, start, running };

  rtmp_client(event_loop& loop, role r) : loop_(loop), role_(r) {}
  ~rtmp_client() override { shut(); }
  rtmp_client(const rtmp_client&) = delete;
  rtmp_client& operator=(const rtmp_client&) = delete;

  /// Begins (again, if it was closed). The URL's path is the app and, after the last slash, the stream's name.
  void open(const server_url& url, int stream, int receive_buffer);
  void shut();
  bool is_open() const { return phase_ != phase::closed; }
  bool running() const { return phase_ == phase::running; }
  /// Bytes read from the socket since open().
  uint64_t received() const { return received_; }
  int64_t opened_at() const { return opened_at_; }

 protected:
  /// The server said Publish.Start or Play.Start.
  virtual void on_started() = 0;
  virtual void on_message(const scanned_message& m) {}
  virtual void on_bytes(size_t count) {}
  /// The connection is gone, and was not shut by us.
  virtual void on_lost(const char* why) = 0;

  /// Writes now what the socket takes; the rest follows when it can. False if more than 8 MB wait.
  bool send(bytes data);
  /// From now on reads nothing at all.
  void stall();
  /// From now on throws away what comes without looking (and without copying it out of the kernel).
  void drain() { draining_ = true; }
  uint32_t stream_id() const { return stream_id_; }
  event_loop& loop() { return loop_; }

 private:
  void on_io(uint32_t events) override;
  void read_ready();
  void write_ready();
  void lost(const char* why);
  void take_handshake(bytes in);
  void take(const scanned_message& m);
  void take_command(bytes payload);
  void send_connect();
  void send_create_stream();
  void send_start();
  void acknowledge();
  void want(uint32_t events);

  event_loop& loop_;
  role role_;
  phase phase_ = phase::closed;
  bool draining_ = false, stalled_ = false;
  int fd_ = -1;
  uint32_t stream_id_ = 1;
  uint32_t events_ = 0;
  uint32_t ack_window_ = 0;
  uint64_t received_ = 0, acknowledged_ = 0;
  int64_t opened_at_ = 0;
  std::string authority_, app_, name_;
  chunk_scanner scanner_;
  std::vector<uint8_t> handshake_, unsent_;
};

}  // namespace sluice::bench
