#include <sys/socket.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <charconv>
#include <map>
#include <optional>

#include "runtime/descriptor_budget.hpp"
#include "runtime/http_server.hpp"
#include "runtime/http_text.hpp"
#include "runtime/loop.hpp"

namespace sluice::runtime {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr uint32_t response_header_bytes_max = 64 * 1024;
constexpr size_t header_read_bytes = 4096;

struct url_parts {
  std::string host;       // for look-ups: without brackets
  std::string authority;  // for the Host header
  std::string target;
  uint16_t port = 80;
};

base::result<url_parts> take_apart(const http_client_request& request) {
  const auto bad = [&](std::string_view why) { return base::fail("bad_url", fmt::format("{}: {}", why, request.url)); };
  const auto parsed = boost::urls::parse_uri(request.url);
  if (!parsed) return bad("not a URL");
  if (parsed->scheme_id() != boost::urls::scheme::http) return bad("not an http:// URL");
  if (parsed->has_userinfo() || parsed->encoded_host().empty()) return bad("needs a host and no user");
  url_parts parts;
  parts.host = parsed->host_type() == boost::urls::host_type::ipv6
                   ? std::string(parsed->host_ipv6_address().to_string())
                   : std::string(parsed->host());
  const std::string_view encoded_host(parsed->encoded_host().data(), parsed->encoded_host().size());
  parts.authority = encoded_host;
  if (parsed->has_port() && !parsed->port().empty()) {
    const auto port = parsed->port();
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), parts.port);
    if (error != std::errc() || end != port.data() + port.size() || parts.port == 0) return bad("bad port");
    parts.authority += fmt::format(":{}", parts.port);
  }
  parts.target = std::string(parsed->encoded_path());
  if (parts.target.empty()) parts.target = "/";
  if (parsed->has_query()) parts.target += "?" + std::string(parsed->encoded_query());
  // What goes into the request line and header must not end it.
  if (!is_http_token(request.method) || !is_http_value(request.content_type)) return bad("bad method or content type");
  for (const auto& [name, value] : request.headers) {
    if (!is_http_token(name) || !is_http_value(value)) return bad("bad header for");
  }
  return parts;
}

}  // namespace

struct http_pool::state {
  struct connection {
    asio::ip::tcp::socket socket;
    base::time_point since;
  };
  state(loop& on, const limits& l) : lim(l), prune_timer(on, [this, &on] { prune(on.now()); }) {}
  ~state() {
    for (size_t n = idle.size(); n > 0; --n) give_descriptor();
  }

  bool take_descriptor() { return !lim.descriptors || lim.descriptors->take(); }
  void give_descriptor() {
    if (lim.descriptors) lim.descriptors->give();
  }
  /// The one that waited least: it is the most probable to be open.
  std::optional<asio::ip::tcp::socket> take(const std::string& server) {
    while (true) {
      const auto found = idle.upper_bound(server);
      if (found == idle.begin() || std::prev(found)->first != server) return std::nullopt;
      auto socket = std::move(std::prev(found)->second.socket);
      idle.erase(std::prev(found));
      uint8_t byte;
      const auto got = ::recv(socket.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
      if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return socket;
      give_descriptor();  // closed meanwhile, or it says what nobody asked for
    }
  }
  void put(const std::string& server, asio::ip::tcp::socket socket, base::time_point now) {
    if (closed || idle.size() >= lim.idle_max || idle.count(server) >= lim.idle_per_server_max)
      return give_descriptor();
    idle.emplace(server, connection{std::move(socket), now});
    if (!prune_timer.armed()) prune_timer.arm_after(lim.idle_time);
  }
  void prune(base::time_point now) {
    const size_t erased =
        std::erase_if(idle, [&](const auto& entry) { return now - entry.second.since >= lim.idle_time; });
    for (size_t n = erased; n > 0; --n) give_descriptor();
    if (!idle.empty()) prune_timer.arm_after(lim.idle_time);
  }

  const limits lim;
  std::multimap<std::string, connection> idle;  // by authority; of one, the newest is the last
  timer prune_timer;
  bool closed = false;
};

http_pool::http_pool(loop& l, const limits& lim) : state_(std::make_shared<state>(l, lim)) {}
http_pool::~http_pool() {
  state_->closed = true;
  state_->prune_timer.cancel();
  for (size_t n = state_->idle.size(); n > 0; --n) state_->give_descriptor();
  state_->idle.clear();
}
size_t http_pool::idle() const { return state_->idle.size(); }

namespace {

/// One exchange. Whichever comes first, its outcome or the deadline, tells the caller; the rest is then cut short.
class exchange : public std::enable_shared_from_this<exchange> {
 public:
  using on_done = std::function<void(base::result<http_response>)>;
  exchange(loop& l, http_client_request request, on_done done, std::shared_ptr<http_pool::state> pool)
      : loop_(l),
        pool_(std::move(pool)),
        request_(std::move(request)),
        done_(std::move(done)),
        resolver_(l.context()),
        stream_(l.context()),
        deadline_(l, [this] { give_up(); }) {}
  ~exchange() {
    if (counted_) pool_->give_descriptor();
  }

  /// `done` is not called any more.
  void stop() {
    if (!done_) return;
    const auto self = shared_from_this();
    done_ = nullptr;
    cut_short();
  }

  void start() {
    deadline_.arm_after(request_.timeout);
    asio::co_spawn(loop_.context(), run(shared_from_this()), [self = shared_from_this()](std::exception_ptr failure) {
      if (failure) self->finish(base::fail("bad_response", self->request_.url + ": the exchange failed"));
    });
  }

 private:
  asio::awaitable<void> run(std::shared_ptr<exchange> self);
  asio::awaitable<base::result<http_response>> fetch();
  asio::awaitable<base::result<void>> connect(const url_parts& to);
  asio::awaitable<void> read(http::verb method);
  asio::awaitable<void> read_header(size_t& taken);
  http::request<http::string_body> message(const url_parts& to);
  auto resume() { return asio::redirect_error(asio::use_awaitable, error_); }

  tl::unexpected<base::error> failure(std::string_view reason) const {
    return base::fail(reason, request_.url + ": " + error_.message());
  }
  void give_up() {
    const auto self = shared_from_this();  // `done` may be all that holds what holds this
    finish(base::fail("timeout", request_.url + ": no answer in time"));
    cut_short();
  }
  void cut_short() {
    deadline_.cancel();
    resolver_.cancel();
    error_code ignored;
    stream_.socket().close(ignored);
  }
  void finish(base::result<http_response> outcome) {
    deadline_.cancel();
    if (const auto done = std::exchange(done_, nullptr)) done(std::move(outcome));
  }

  loop& loop_;
  const std::shared_ptr<http_pool::state> pool_;  // may be null
  http_client_request request_;
  on_done done_;
  asio::ip::tcp::resolver resolver_;
  beast::tcp_stream stream_;
  timer deadline_;
  error_code error_;                                          // of the last operation
  beast::flat_buffer buffer_{2 * response_header_bytes_max};  // also a chunk's first line, and trailers
  std::optional<http::response_parser<http::string_body>> reading_;
  bool counted_ = false;  // the connection holds one of the pool's descriptors
};

asio::awaitable<void> exchange::run(std::shared_ptr<exchange>) {
  co_await asio::post(loop_.context(), resume());  // `done` is never called from within http_fetch()
  auto outcome = co_await fetch();
  loop_.refresh();
  finish(std::move(outcome));
}

asio::awaitable<base::result<void>> exchange::connect(const url_parts& to) {
  if (pool_ && !counted_ && !(counted_ = pool_->take_descriptor()))
    co_return base::fail("no_descriptors", "The server is full.");
  std::vector<asio::ip::tcp::endpoint> endpoints;
  error_code not_an_address;
  if (const auto address = asio::ip::make_address(to.host, not_an_address); !not_an_address) {
    endpoints.emplace_back(address, to.port);
  } else {
    const auto found = co_await resolver_.async_resolve(to.host, std::to_string(to.port),
                                                        asio::ip::tcp::resolver::numeric_service, resume());
    if (error_) co_return failure("no_such_host");
    for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  }
  if (!done_) co_return failure("timeout");
  co_await stream_.async_connect(endpoints, resume());
  if (error_ == asio::error::connection_refused || error_ == asio::error::connection_reset)
    co_return failure("refused");
  if (error_) co_return failure("unreachable");
  stream_.socket().set_option(asio::ip::tcp::no_delay(true), error_);
  co_return base::result<void>{};
}

http::request<http::string_body> exchange::message(const url_parts& to) {
  http::request<http::string_body> m;
  m.version(11);
  m.method_string(request_.method);
  m.target(to.target);
  m.set(http::field::host, to.authority);
  // A field may stand there more than once; Host may not.
  for (const auto& [name, value] : request_.headers)
    equal_ignoring_case(name, "host") ? m.set(name, value) : m.insert(name, value);
  if (!request_.content_type.empty()) m.set(http::field::content_type, request_.content_type);
  m.body() = std::move(request_.body);
  m.keep_alive(pool_ != nullptr);
  m.prepare_payload();
  return m;
}

/// Beast's own read bounds what lies in its buffer of a header, not how much of it has been taken off that. `taken`: by
/// the headers before.
asio::awaitable<void> exchange::read_header(size_t& taken) {
  for (error_ = {}; !error_;) {
    if (buffer_.size() > 0) {
      const size_t used = reading_->put(buffer_.cdata(), error_);
      buffer_.consume(used);
      taken += used;
      if (error_ == http::error::need_more) error_ = {};
      if (!error_ && taken + (reading_->is_header_done() ? 0 : buffer_.size()) > response_header_bytes_max)
        error_ = http::error::header_limit;
      if (error_ || reading_->is_header_done()) co_return;
    }
    const size_t got = co_await stream_.async_read_some(buffer_.prepare(header_read_bytes), resume());
    buffer_.commit(got);
  }
}

/// A server may answer and close before it has read all: whatever the write said, look for the answer.
asio::awaitable<void> exchange::read(http::verb method) {
  buffer_.clear();
  size_t taken = 0;
  do {  // skips 100 Continue and the like
    reading_.emplace();
    reading_->header_limit(response_header_bytes_max);
    reading_->body_limit(request_.response_bytes_max);
    reading_->skip(method == http::verb::head);
    co_await read_header(taken);
  } while (!error_ && reading_->get().result_int() < 200);
  if (!error_ && !reading_->is_done()) co_await http::async_read(stream_, buffer_, *reading_, resume());
}

asio::awaitable<base::result<http_response>> exchange::fetch() {
  const auto to = take_apart(request_);
  if (!to) co_return tl::unexpected(to.error());
  const auto sent = message(*to);
  const bool repeatable = sent.method() == http::verb::get || sent.method() == http::verb::head;
  auto waiting = pool_ && repeatable ? pool_->take(to->authority) : std::nullopt;
  if (waiting) {
    counted_ = true;
    stream_.socket() = std::move(*waiting);
    co_await http::async_write(stream_, sent, resume());
    co_await read(sent.method());
    // The server may have hung up at the very moment: then nothing was answered.
    if (error_ && done_ && !reading_->got_some()) {
      error_code ignored;
      stream_.socket().close(ignored);
      waiting.reset();
    }
  }
  if (!waiting) {
    if (auto connected = co_await connect(*to); !connected) co_return tl::unexpected(connected.error());
    co_await http::async_write(stream_, sent, resume());
    co_await read(sent.method());
  }
  if (error_) co_return failure("bad_response");
  auto& received = reading_->get();
  http_response response;
  response.status = static_cast<int>(received.result_int());
  for (const auto& field : received) response.headers.emplace_back(field.name_string(), field.value());
  response.content_type = received[http::field::content_type];
  // The body that some servers send to HEAD would be read as the next answer.
  const bool reusable = sent.method() != http::verb::head && reading_->keep_alive() && buffer_.size() == 0;
  if (pool_ && reusable && done_) {
    counted_ = false;
    pool_->put(to->authority, std::move(stream_.socket()), loop_.refresh());
  }
  response.body = std::move(received.body());
  co_return response;
}

}  // namespace

std::function<void()> http_fetch(loop& l, http_client_request request,
                                 std::function<void(base::result<http_response>)> done, http_pool* pool) {
  try {
    l.context();
  } catch (const std::exception& failure) {
    // Whoever takes the answer may be gone by then: what is returned empties it.
    auto to = std::make_shared<exchange::on_done>(std::move(done));
    l.defer([to, text = request.url + ": " + failure.what()] {
      if (const auto tell = std::exchange(*to, nullptr)) tell(base::fail("no_descriptors", text));
    });
    return [to] { *to = nullptr; };
  }
  auto e = std::make_shared<exchange>(l, std::move(request), std::move(done), pool ? pool->state_ : nullptr);
  e->start();
  return [weak = std::weak_ptr<exchange>(e)] {
    if (const auto running = weak.lock()) running->stop();
  };
}

}  // namespace sluice::runtime
