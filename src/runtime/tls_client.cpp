#include "runtime/tls_client.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <new>

#include "base/endpoint.hpp"

namespace sluice::runtime {
namespace {

constexpr size_t part_bytes = 16 * 1024;  // a record's most

std::string openssl_error() {
  const unsigned long code = ERR_peek_last_error();
  const char* text = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return text ? text : "unknown error";
}

}  // namespace

base::result<tls_context> tls_context::make(const std::string& ca_file) {
  ERR_clear_error();
  tls_context c;
  c.context_ = std::shared_ptr<SSL_CTX>(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  auto* ctx = c.context_.get();
  if (!ctx) throw std::bad_alloc();
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, nullptr);
  // An idle connection gives its buffers back.
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const int ok =
      ca_file.empty() ? SSL_CTX_set_default_verify_paths(ctx) : SSL_CTX_load_verify_file(ctx, ca_file.c_str());
  if (ok != 1) {
    return base::fail("bad_ca_file", fmt::format("cannot read the certificate authorities of {}: {}",
                                                 ca_file.empty() ? "the system" : ca_file, openssl_error()));
  }
  return c;
}

tls_client::tls_client(const tls_context& context, const std::string& host)
    : ssl_(SSL_new(context.get())), in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())) {
  if (!ssl_ || !in_ || !out_) throw std::bad_alloc();
  // An empty BIO means "later", not the end.
  BIO_set_mem_eof_return(in_, -1);
  BIO_set_mem_eof_return(out_, -1);
  SSL_set_bio(ssl_, in_, out_);
  SSL_set_connect_state(ssl_);
  if (base::ip_address::parse(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_), host.c_str());
  } else {
    SSL_set_hostflags(ssl_, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set1_host(ssl_, host.c_str());
    SSL_set_tlsext_host_name(ssl_, host.c_str());
  }
  ERR_clear_error();
  SSL_do_handshake(ssl_);  // writes the ClientHello; cannot end yet
  collect();
}

tls_client::~tls_client() { SSL_free(ssl_); }

tl::unexpected<base::error> tls_client::failure() {
  collect();  // an alert for the server
  const long verified = SSL_get_verify_result(ssl_);
  if (!established_ && verified != X509_V_OK) {
    ERR_clear_error();
    return base::fail("tls_failed",
                      fmt::format("the server's certificate: {}", X509_verify_cert_error_string(verified)));
  }
  return base::fail("tls_failed", fmt::format("TLS: {}", openssl_error()));
}

base::result<void> tls_client::advance() {
  if (established_) return {};
  ERR_clear_error();
  const int r = SSL_do_handshake(ssl_);
  if (r == 1) {
    established_ = true;
  } else if (SSL_get_error(ssl_, r) != SSL_ERROR_WANT_READ) {
    return failure();
  }
  return {};
}

base::result<void> tls_client::receive(base::bytes_view ciphertext, std::vector<uint8_t>& plain) {
  while (!ciphertext.empty()) {
    const auto part = ciphertext.first(std::min(ciphertext.size(), part_bytes));
    ciphertext = ciphertext.subspan(part.size());
    if (BIO_write(in_, part.data(), static_cast<int>(part.size())) != static_cast<int>(part.size())) return failure();
    if (auto ok = advance(); !ok) return ok;
    while (established_ && !closed_) {
      std::array<uint8_t, part_bytes> buffer;
      ERR_clear_error();
      const int got = SSL_read(ssl_, buffer.data(), static_cast<int>(buffer.size()));
      if (got > 0) {
        plain.insert(plain.end(), buffer.begin(), buffer.begin() + got);
        continue;
      }
      const int error = SSL_get_error(ssl_, got);
      if (error == SSL_ERROR_WANT_READ) break;
      if (error != SSL_ERROR_ZERO_RETURN) return failure();
      closed_ = true;
    }
  }
  collect();
  return {};
}

base::result<void> tls_client::send(base::bytes_view plain) {
  ERR_clear_error();
  while (!plain.empty()) {
    const int sent = SSL_write(ssl_, plain.data(), static_cast<int>(std::min(plain.size(), part_bytes)));
    if (sent <= 0) return failure();
    plain = plain.subspan(static_cast<size_t>(sent));
  }
  collect();
  return {};
}

void tls_client::collect() {
  std::array<uint8_t, part_bytes> buffer;
  for (int got; (got = BIO_read(out_, buffer.data(), static_cast<int>(buffer.size()))) > 0;)
    output_.append(base::bytes_view(buffer).first(static_cast<size_t>(got)));
}

}  // namespace sluice::runtime
