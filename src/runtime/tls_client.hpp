#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"

struct ssl_ctx_st;
struct ssl_st;
struct bio_st;

namespace sluice::runtime {

/// Whom a client believes: shared by its connections. TLS 1.2 and up; a server's certificate must be signed by an
/// authority of `ca_file` (PEM) or, if that is empty, of the system.
class tls_context {
 public:
  /// Reads the file: at start-up. Error: bad_ca_file.
  static base::result<tls_context> make(const std::string& ca_file);
  ssl_ctx_st* get() const { return context_.get(); }

 private:
  std::shared_ptr<ssl_ctx_st> context_;
};

/// The client's side of a TLS connection, without a socket: ciphertext in and out, plaintext in and out. The server's
/// certificate must be for `host`, a name or an address. Errors are final: tls_failed.
class tls_client {
 public:
  tls_client(const tls_context& context, const std::string& host);
  ~tls_client();
  tls_client(const tls_client&) = delete;
  tls_client& operator=(const tls_client&) = delete;

  /// Takes what the server sent, and appends to `plain` what it says.
  base::result<void> receive(base::bytes_view ciphertext, std::vector<uint8_t>& plain);
  /// Only once established().
  base::result<void> send(base::bytes_view plain);
  /// Ciphertext for the server.
  base::send_buffer& output() { return output_; }
  bool established() const { return established_; }
  /// The server said that it sends nothing more.
  bool closed() const { return closed_; }

 private:
  base::result<void> advance();
  tl::unexpected<base::error> failure();
  void collect();

  ssl_st* ssl_;
  bio_st *in_, *out_;  // owned by ssl_
  base::send_buffer output_;
  bool established_ = false, closed_ = false;
};

}  // namespace sluice::runtime
