#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "load/event_loop.hpp"
#include "load/server_url.hpp"
#include "load/wire.hpp"

namespace sluice::bench {

/// A client of an HTTP/1.1 server: one connection, one GET after another. A body is as long as Content-Length says, or
/// ends with the connection; other forms (chunks) are no answer that is measured, and end it.
class http_client : public handler {
 public:
  explicit http_client(event_loop& loop) : loop_(loop) {}
  ~http_client() override { shut(); }
  http_client(const http_client&) = delete;
  http_client& operator=(const http_client&) = delete;

  /// Begins. `receive_buffer`: SO_RCVBUF in bytes, 0 for the system's.
  void open(const server_url& url, int receive_buffer);
  void shut();
  int64_t opened_at() const { return opened_at_; }

 protected:
  /// Asks for `/` + path; when connected, and not before the answer to the last one is over.
  void get(std::string_view path);

  virtual void on_connected() = 0;
  /// An answer has begun.
  virtual void on_head(int status) {}
  /// The next bytes of its body. False: they are not what was asked for.
  virtual bool on_body(bytes part) { return true; }
  /// In place of on_body() when bodies are skipped.
  virtual void on_skipped(size_t count) {}
  /// The answer is complete: another get() may follow.
  virtual void on_end() {}
  /// The connection is gone, and was not shut by us.
  virtual void on_lost(const char* why) = 0;

  /// From now on throws bodies away without looking (and without copying them out of the kernel).
  void skip_bodies() { skipping_ = true; }
  event_loop& loop() { return loop_; }

 private:
  enum class phase : uint8_t { closed, connecting, idle, head, body };

  void on_io(uint32_t events) override;
  void connected();
  void read_ready();
  void skip_ready();
  void take(bytes in);
  bool take_head();
  void count_body(uint64_t bytes);
  void lost(const char* why);

  event_loop& loop_;
  phase phase_ = phase::closed;
  bool skipping_ = false;
  int fd_ = -1;
  uint64_t left_ = 0;  // of the body
  int64_t opened_at_ = 0;
  std::string authority_, head_;
};

}  // namespace sluice::bench
