#include "runtime/http_session.hpp"

#include <sys/sendfile.h>
#include <sys/socket.h>

#include <boost/asio/write.hpp>

#include "runtime/http_text.hpp"

namespace sluice::runtime::http_inside {

namespace {

/// What a client that is refused may still send before it is cut off: a close with unread bytes would reset the
/// connection, and the answer might be lost with it.
constexpr size_t linger_bytes_max = 1 << 20;
constexpr auto linger_time = std::chrono::seconds(1);

constexpr std::string_view go_on = "HTTP/1.1 100 Continue\r\n\r\n";

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

}  // namespace

asio::awaitable<void> session::run(std::shared_ptr<session>) {
  for (bool first = true;; first = false) {
    idle_since_ = ++server_->waits;
    if (!co_await wait_for_request(first)) break;
    parser p;
    p.header_limit(static_cast<uint32_t>(server_->limits.header_bytes_max));
    p.body_limit(server_->limits.body_bytes_max);
    if (!co_await read_request(p)) break;
    idle_since_.reset();
    answered_once_ = true;
    auto& message = p.get();
    bool keep_alive = message.version() == 11 && message.keep_alive();
    auto request = convert(message);
    if (!request) {
      co_await refuse({400, "bad_request", "not a valid request target"}, message);
      break;
    }
    auto response = co_await have_handled(*request);
    if (!response) break;
    const auto take_over = std::move(response->take_over);
    keep_alive = keep_alive && !take_over && !server_->stopping;
    if (!co_await write(std::move(*response), message, keep_alive, take_over != nullptr)) break;
    if (take_over && message.method() != http::verb::head && !server_->closed) co_return hand_over(take_over);
    if (!keep_alive) break;
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
  request.local = local_;
  return request;
}

/// Readable while nothing is asked for: another request, which waits, or the end.
void session::watch_client(std::shared_ptr<http_client_presence> client) {
  stream_.socket().async_wait(asio::socket_base::wait_read, [this, client](const error_code& error) {
    if (error || server_->closed || !client->on_gone) return;
    uint8_t byte;
    const auto got = ::recv(stream_.socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))) return;
    server_->on.refresh();
    std::exchange(client->on_gone, nullptr)();
  });
}

void session::hand_over(const std::function<void(tcp_stream)>& to) {
  stream_.expires_never();
  tcp_stream connection(stream_.socket().release(error_));
  counted_ = false;
  server_->sessions.erase(this);
  server_->on.refresh();
  to(std::move(connection));
}

asio::awaitable<std::optional<http_response>> session::have_handled(http_request& request) {
  if (server_->closed) co_return std::nullopt;
  const auto pending = std::make_shared<answer>();
  request.client = std::make_shared<http_client_presence>();
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
    if (request.client->on_gone) watch_client(request.client);
    answered_.expires_at(asio::steady_timer::time_point::max());
    co_await answered_.async_wait(resume());
    request.client->on_gone = nullptr;
    error_code ignored;
    stream_.socket().cancel(ignored);  // of watch_client(); nothing else is under way
  }
  co_return std::move(pending->response);
}

/// False if the connection cannot be used further.
asio::awaitable<bool> session::write(http_response response, const http::request<http::string_body>& to,
                                     bool keep_alive, bool header_only) {
  http::response<http::span_body<const char>> message;
  message.version(11);
  message.result(static_cast<unsigned>(std::clamp(response.status, 100, 999)));
  for (const auto& [name, value] : response.headers) {
    if (is_http_token(name) && is_http_value(value)) message.insert(name, value);
  }
  std::shared_ptr<memory_file> file;
  const bool bodiless = response.status < 200 || response.status == 204 || response.status == 304;
  if (!bodiless) {
    if (!response.content_type.empty() && is_http_value(response.content_type)) {
      message.set(http::field::content_type, response.content_type);
    }
    const std::string& body = response.shared_body ? *response.shared_body : response.body;
    if (!header_only) message.content_length(body.size());
    if (to.method() != http::verb::head && !header_only) {
      file = server_->files.of(response.shared_body);
      if (!file) message.body() = {body.data(), body.size()};
    }
  }
  message.keep_alive(keep_alive);
  stream_.expires_after(server_->limits.idle_timeout);
  http::serializer<false, http::span_body<const char>> serializer(message);
  if (header_only || file) {
    co_await http::async_write_header(stream_, serializer, resume());
    if (file && !error_) co_await send_file(file->fd(), response.shared_body->size());
  } else {
    co_await http::async_write(stream_, serializer, resume());
  }
  co_return !error_;
}

/// As far as the socket takes it at once, again and again; each wait for room has the deadline of any write.
asio::awaitable<void> session::send_file(int fd, size_t size) {
  auto& socket = stream_.socket();
  timer late(server_->on, [&socket] {
    error_code ignored;
    socket.cancel(ignored);
  });
  for (off_t at = 0; !error_ && static_cast<size_t>(at) < size;) {
    const ssize_t sent = ::sendfile(socket.native_handle(), fd, &at, size - static_cast<size_t>(at));
    if (sent > 0 || (sent < 0 && errno == EINTR)) continue;
    if (sent == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
      error_ = asio::error::broken_pipe;
      co_return;
    }
    late.arm_after(server_->limits.idle_timeout);
    co_await socket.async_wait(asio::socket_base::wait_write, resume());
  }
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

}  // namespace sluice::runtime::http_inside
