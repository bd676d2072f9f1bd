#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <memory>
#include <optional>
#include <unordered_set>

#include "runtime/body_files.hpp"
#include "runtime/descriptor_budget.hpp"
#include "runtime/http_server.hpp"
#include "runtime/tcp.hpp"

// Inside of http_server: included by its two sources alone.
namespace sluice::runtime::http_inside {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

class session;

/// What the connections of a server share; outlives the server if one is still at work.
struct server_state {
  loop& on;
  const http_server::limits limits;
  base::log_sink& log;  // not to be used once closed
  const http_server::handler handle;
  body_files files{limits.descriptors};
  std::unordered_set<session*> sessions;  // but those that were replaced
  uint64_t waits = 0;                     // how often a session began to wait for a request
  bool stopping = false;                  // no further request on any connection
  bool closed = false;
};

struct refusal {
  int status;
  std::string_view reason;  // in the log
  std::string_view text;    // to the client
};

/// One connection: read a request, have it handled, write the answer, and so on.
class session {
 public:
  session(std::shared_ptr<server_state> server, const base::endpoint& peer)
      : server_(std::move(server)),
        peer_(peer),
        stream_(server_->on.context()),
        answered_(server_->on.context()),
        buffer_(server_->limits.header_bytes_max + 8192) {
    server_->sessions.insert(this);
  }
  ~session() {
    server_->sessions.erase(this);
    if (counted_) server_->limits.descriptors->give();
  }

  /// It holds one of the server's descriptors.
  void set_counted() { counted_ = true; }
  /// Takes `connection`; false if the kernel cannot watch it.
  bool open(tcp_stream& connection) {
    local_ = connection.local();
    stream_.socket().assign(asio::ip::tcp::v6(), connection.fd(), error_);
    if (!error_) connection.release();
    return !error_;
  }

  void abort() {
    error_code ignored;
    stream_.socket().close(ignored);
    answered_.cancel();
  }

  const base::endpoint& peer() const { return peer_; }
  /// Since when no whole request has come, as a number that grows with time; nothing while one is handled or answered.
  std::optional<uint64_t> idle_since() const { return idle_since_; }
  /// A request has been taken from it.
  bool was_answered() const { return answered_once_; }
  /// Makes room for another connection.
  void replace() {
    log_refusal("replaced", "closed for another connection: no whole request had come");
    server_->sessions.erase(this);
    abort();
  }

  /// `self` keeps the session alive as long as its coroutine is.
  asio::awaitable<void> run(std::shared_ptr<session> self);

 private:
  using parser = http::request_parser<http::string_body>;

  asio::awaitable<bool> wait_for_request(bool first);
  asio::awaitable<bool> read_request(parser& p);
  asio::awaitable<std::optional<http_response>> have_handled(http_request& request);
  void watch_client(std::shared_ptr<http_client_presence> client);
  void hand_over(const std::function<void(tcp_stream)>& to);
  asio::awaitable<bool> write(http_response response, const http::request<http::string_body>& to, bool keep_alive,
                              bool header_only = false);
  asio::awaitable<void> send_file(int fd, size_t size);
  asio::awaitable<void> refuse(refusal why, const http::request<http::string_body>& request);
  asio::awaitable<void> linger();
  std::optional<http_request> convert(http::request<http::string_body>& request) const;
  void log_refusal(std::string_view reason, std::string_view text);
  auto resume() { return asio::redirect_error(asio::use_awaitable, error_); }

  const std::shared_ptr<server_state> server_;
  const base::endpoint peer_;
  base::endpoint local_;
  beast::tcp_stream stream_;
  asio::steady_timer answered_;  // never expires: cancelled when the answer is there
  beast::flat_buffer buffer_;
  error_code error_;  // of the last operation
  std::optional<uint64_t> idle_since_;
  bool counted_ = false;
  bool answered_once_ = false;
};

}  // namespace sluice::runtime::http_inside
