#include "runtime/http_server.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <unordered_set>

#include "runtime/http_text.hpp"
#include "runtime/tcp.hpp"

namespace sluice::runtime {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

/// What a client that is refused may still send before it is cut off: a close with unread bytes would reset the
/// connection, and the answer might be lost with it.
constexpr size_t linger_bytes_max = 1 << 20;
constexpr auto linger_time = std::chrono::seconds(1);

constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";

class session;

struct server_state {
  loop& on;
  const http_server::limits limits;
  base::log_sink& log;  // not to be used once closed
  const http_server::handler handle;
  std::unordered_set<session*> sessions;  // but those that were replaced
  uint64_t waits = 0;                     // how often a session began to wait for a request
  bool closed = false;
};

http_response error_response(int status, std::string_view text) {
  // The texts are literals of this file: nothing to escape.
  return {.status = status, .body = fmt::format(R"({{"code":{},"error":"{}"}})", status, text)};
}

/// The answer to one request, until it is there. Outlives the session if the handler keeps `respond`.
struct answer {
  std::optional<http_response> response;
  asio::steady_timer* waiter = nullptr;  // the session's, while it waits
  void give(http_response r) {
    if (response) return;
    response = std::move(r);
    if (waiter) waiter->cancel();
  }
};

/// What all copies of one `respond` share: a handler that drops them without an answer has failed.
struct answerer {
  std::shared_ptr<answer> to;
  ~answerer() { to->give(error_response(500, "no answer")); }
};

struct refusal {
  int status;
  std::string_view reason;  // in the log
  std::string_view text;    // to the client
};

refusal refusal_of(const error_code& error) {
  if (error == http::error::body_limit) return {413, "body_too_large", "the body is too large"};
  if (error == http::error::header_limit || error == http::error::buffer_overflow) {
    return {431, "header_too_large", "the header is too large"};
  }
  return {400, "bad_request", "not a valid HTTP request"};
}

/// True for an end of the connection, false for a request that the parser does not take.
bool connection_is_gone(const error_code& error) {
  return error && (error == http::error::end_of_stream || error == http::error::partial_message ||
                   error.category() != http::make_error_code(http::error::bad_field).category());
}

/// Rules that Beast leaves to its users: one way only to tell where a body ends (RFC 9112 section 6.3), one Host
/// (section 3.2), so that no other program can read the same bytes differently.
std::optional<refusal> check_header(const http::request<http::string_body>& request) {
  const auto count = [&](http::field f) { return request.count(f); };
  const auto bad = [](std::string_view text) { return refusal{400, "bad_request", text}; };
  if (request.version() != 10 && request.version() != 11) return refusal{505, "bad_request", "HTTP/1.0 or 1.1 only"};
  if (count(http::field::transfer_encoding) > 0) {
    if (count(http::field::content_length) > 0) return bad("Content-Length with Transfer-Encoding");
    if (count(http::field::transfer_encoding) > 1 || request.version() != 11 ||
        !equal_ignoring_case(request[http::field::transfer_encoding], "chunked")) {
      return bad("Transfer-Encoding other than chunked");
    }
  }
  if (count(http::field::content_length) > 1 ||
      request[http::field::content_length].find(',') != beast::string_view::npos) {
    return bad("more than one Content-Length");
  }
  if (count(http::field::host) > 1 || (request.version() == 11 && count(http::field::host) == 0)) {
    return bad("exactly one Host header is needed");
  }
  return std::nullopt;
}

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
  ~session() { server_->sessions.erase(this); }

  /// Takes `connection`; false if the kernel cannot watch it.
  bool open(tcp_stream& connection) {
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
  asio::awaitable<std::optional<http_response>> have_handled(const http_request& request);
  asio::awaitable<bool> write(http_response response, const http::request<http::string_body>& to, bool keep_alive);
  asio::awaitable<void> refuse(refusal why, const http::request<http::string_body>& request);
  asio::awaitable<void> linger();
  std::optional<http_request> convert(http::request<http::string_body>& request) const;
  void log_refusal(std::string_view reason, std::string_view text);
  auto resume() { return asio::redirect_error(asio::use_awaitable, error_); }

  const std::shared_ptr<server_state> server_;
  const base::endpoint peer_;
  beast::tcp_stream stream_;
  asio::steady_timer answered_;  // never expires: cancelled when the answer is there
  beast::flat_buffer buffer_;
  error_code error_;  // of the last operation
  std::optional<uint64_t> idle_since_;
};

asio::awaitable<void> session::run(std::shared_ptr<session>) {
  for (bool first = true;; first = false) {
    idle_since_ = ++server_->waits;
    if (!co_await wait_for_request(first)) break;
    parser p;
    p.header_limit(static_cast<uint32_t>(server_->limits.header_bytes_max));
    p.body_limit(server_->limits.body_bytes_max);
    if (!co_await read_request(p)) break;
    idle_since_.reset();
    auto& message = p.get();
    const bool keep_alive = message.version() == 11 && message.keep_alive();
    auto request = convert(message);
    if (!request) {
      co_await refuse({400, "bad_request", "not a valid request target"}, message);
      break;
    }
    auto response = co_await have_handled(*request);
    if (!response || !co_await write(std::move(*response), message, keep_alive) || !keep_alive) break;
  }
  if (stream_.socket().is_open()) {
    error_code ignored;
    stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  }
}

/// Until the first byte of a request is in the buffer. From then on (and from the connection's start) the deadline for
/// a whole header runs.
asio::awaitable<bool> session::wait_for_request(bool first) {
  stream_.expires_after(first ? server_->limits.header_timeout : server_->limits.idle_timeout);
  if (buffer_.size() == 0) {
    const size_t count = co_await stream_.async_read_some(buffer_.prepare(4096), resume());
    if (error_ == beast::error::timeout && first) log_refusal("header_timeout", "no request came in time");
    if (error_) co_return false;
    buffer_.commit(count);
  }
  if (!first) stream_.expires_after(server_->limits.header_timeout);
  co_return true;
}

asio::awaitable<bool> session::read_request(parser& p) {
  co_await http::async_read_header(stream_, buffer_, p, resume());
  if (error_ == beast::error::timeout) log_refusal("header_timeout", "the header did not come in time");
  if (connection_is_gone(error_)) co_return false;
  std::optional<refusal> why = error_ ? refusal_of(error_) : check_header(p.get());
  if (!why && !p.is_done()) {
    stream_.expires_after(server_->limits.idle_timeout);
    if (equal_ignoring_case(p.get()[http::field::expect], "100-continue")) {
      co_await asio::async_write(stream_, asio::buffer(go_on.data(), go_on.size()), resume());
      if (error_) co_return false;
    }
    co_await http::async_read(stream_, buffer_, p, resume());
    if (connection_is_gone(error_)) co_return false;
    if (error_) why = refusal_of(error_);
  }
  if (why) co_await refuse(*why, p.get());
  co_return !why;
}

std::optional<http_request> session::convert(http::request<http::string_body>& message) const {
  auto target = parse_http_target(message.target());
  if (!target) return std::nullopt;
  http_request request;
  request.method = message.method_string();
  request.target = message.target();
  request.path = std::move(target->path);
  request.query = std::move(target->query);
  for (const auto& field : message) request.headers.emplace_back(field.name_string(), field.value());
  request.body = std::move(message.body());
  request.peer = peer_;
  return request;
}

asio::awaitable<std::optional<http_response>> session::have_handled(const http_request& request) {
  if (server_->closed) co_return std::nullopt;
  const auto pending = std::make_shared<answer>();
  stream_.expires_never();
  server_->on.refresh();
  try {
    server_->handle(request,
                    [from = std::make_shared<answerer>(pending)](http_response r) { from->to->give(std::move(r)); });
  } catch (const std::exception& e) {
    if (!server_->closed) {
      server_->log.log(base::log_level::error, "http_handler_failed",
                       {{"peer", peer_.to_string()}, {"path", request.path}, {"text", e.what()}});
    }
    pending->give(error_response(500, "internal error"));
  }
  if (!pending->response && !server_->closed) {
    struct waiting {
      answer& a;
      ~waiting() { a.waiter = nullptr; }  // also when the loop is destroyed meanwhile
    } guard{*pending};
    pending->waiter = &answered_;
    answered_.expires_at(asio::steady_timer::time_point::max());
    co_await answered_.async_wait(resume());
  }
  co_return std::move(pending->response);
}

/// False if the connection cannot be used further.
asio::awaitable<bool> session::write(http_response response, const http::request<http::string_body>& to,
                                     bool keep_alive) {
  http::response<http::string_body> message;
  message.version(11);
  message.result(static_cast<unsigned>(std::clamp(response.status, 100, 999)));
  for (const auto& [name, value] : response.headers) {
    if (is_http_token(name) && is_http_value(value)) message.insert(name, value);
  }
  const bool bodiless = response.status < 200 || response.status == 204 || response.status == 304;
  if (!bodiless) {
    if (!response.content_type.empty() && is_http_value(response.content_type)) {
      message.set(http::field::content_type, response.content_type);
    }
    message.content_length(response.body.size());
    if (to.method() != http::verb::head) message.body() = std::move(response.body);
  }
  message.keep_alive(keep_alive);
  stream_.expires_after(server_->limits.idle_timeout);
  http::serializer<false, http::string_body> serializer(message);
  co_await http::async_write(stream_, serializer, resume());
  co_return !error_;
}

asio::awaitable<void> session::refuse(refusal why, const http::request<http::string_body>& request) {
  log_refusal(why.reason, why.text);
  if (co_await write(error_response(why.status, why.text), request, false)) co_await linger();
}

asio::awaitable<void> session::linger() {
  stream_.expires_after(linger_time);
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, error_);
  buffer_.clear();
  for (size_t total = 0; !error_ && total < linger_bytes_max;) {
    total += co_await stream_.async_read_some(buffer_.prepare(4096), resume());
  }
}

void session::log_refusal(std::string_view reason, std::string_view text) {
  if (server_->closed) return;
  server_->log.info("http_refused", {{"peer", peer_.to_string()}, {"reason", reason}, {"text", text}});
  if (server_->limits.on_refused) server_->limits.on_refused(reason);
}

class beast_server final : public http_server {
 public:
  beast_server(loop& l, const limits& lim, base::log_sink& log, handler handle)
      : state_(std::make_shared<server_state>(l, lim, log, std::move(handle))) {}
  ~beast_server() override { close(); }

  base::result<void> listen(const base::endpoint& at) {
    state_->on.context();  // made now: if that fails, it is at the start
    auto acceptor = tcp_acceptor::open(state_->on, at, {}, [this](tcp_stream connection, const base::endpoint& peer) {
      accept(std::move(connection), peer);
    });
    if (!acceptor) return tl::unexpected(acceptor.error());
    acceptor_ = std::move(*acceptor);
    local_ = acceptor_->local();
    acceptor_->on_resource_error = [state = state_](int error) {
      state->log.warn("http_accept_failed", {{"reason", "resources"}, {"errno", error}});
    };
    return {};
  }

  base::endpoint local() const override { return local_; }

  void close() override {
    if (std::exchange(state_->closed, true)) return;
    acceptor_.reset();
    for (session* s : state_->sessions) s->abort();
  }

 private:
  void accept(tcp_stream connection, const base::endpoint& peer) {
    if (!make_room(peer)) return refuse(std::move(connection), peer, "too_many_connections");
    const auto s = std::make_shared<session>(state_, peer);
    if (!s->open(connection)) return refuse(std::move(connection), peer, "resources");
    asio::co_spawn(state_->on.context(), s->run(s), [state = state_, peer](std::exception_ptr failure) {
      if (!failure || state->closed) return;
      try {
        std::rethrow_exception(failure);
      } catch (const std::exception& e) {
        state->log.log(base::log_level::error, "http_session_failed", {{"peer", peer.to_string()}, {"text", e.what()}});
      }
    });
  }

  bool make_room(const base::endpoint& peer) {
    const auto& limits = state_->limits;
    const bool bounded = !limits.unbounded_peer || !limits.unbounded_peer(peer.address);
    session* idlest = nullptr;
    session* idlest_of_peer = nullptr;
    size_t of_peer = 0;
    const auto is_idler = [](const session& s, const session* than) {
      return s.idle_since() && (!than || *s.idle_since() < *than->idle_since());
    };
    for (session* s : state_->sessions) {
      if (is_idler(*s, idlest)) idlest = s;
      if (!bounded || s->peer().address != peer.address) continue;
      ++of_peer;
      if (is_idler(*s, idlest_of_peer)) idlest_of_peer = s;
    }
    session* out = nullptr;
    if (of_peer >= limits.connections_per_peer_max) {
      out = idlest_of_peer;
    } else if (state_->sessions.size() >= limits.connections_max) {
      out = idlest;
    } else {
      return true;
    }
    if (out) out->replace();
    return out != nullptr;
  }

  void refuse(tcp_stream connection, const base::endpoint& peer, std::string_view reason) {
    static constexpr std::string_view busy =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 43\r\nRetry-After: 1\r\n"
        "Connection: close\r\n\r\n{\"code\":503,\"error\":\"too many connections\"}";
    connection.write(base::as_bytes(busy));
    connection.shutdown_write();
    state_->log.info("http_refused", {{"peer", peer.to_string()}, {"reason", reason}});
    if (state_->limits.on_refused) state_->limits.on_refused(reason);
  }

  const std::shared_ptr<server_state> state_;
  std::unique_ptr<tcp_acceptor> acceptor_;
  base::endpoint local_;
};

}  // namespace

base::result<std::unique_ptr<http_server>> http_server::open(loop& l, const base::endpoint& at, const limits& lim,
                                                             base::log_sink& log, handler handle) {
  auto server = std::make_unique<beast_server>(l, lim, log, std::move(handle));
  if (auto listening = server->listen(at); !listening) return tl::unexpected(listening.error());
  return server;
}

}  // namespace sluice::runtime
