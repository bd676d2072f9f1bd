#include "runtime/http_session.hpp"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace sluice::runtime::http_inside {

namespace {

/// What a client that is refused may still send before it is cut off: a close with unread bytes would reset the
/// connection, and the answer might be lost with it.
constexpr size_t linger_bytes_max = 1 << 20;
constexpr auto linger_time = std::chrono::seconds(1);
/// Requests of one connection that are answered in one go, where they came together.
constexpr int requests_per_turn = 16;
/// What one turn sends of an answer before others have theirs. Most segments are smaller.
constexpr size_t sent_per_turn = 2 << 20;

}  // namespace

server_state::server_state(loop& l, const http_server::limits& lim, base::log_sink& sink, http_server::handler h)
    : on(l), limits(lim), log(sink), handle(std::move(h)), files(limits.descriptors) {}
server_state::~server_state() = default;

void reply::give(http_response r) {
  session* const s = std::exchange(to, nullptr);
  if (s) s->take_answer(std::move(r));
}

reply::~reply() { give(error_response(500, "no answer")); }

session::session(server_state& server, const base::endpoint& peer)
    : server_(server),
      peer_(peer),
      deadline_(server.on, [this] { on_deadline(); }),
      introduced_(!server.limits.introduction.read) {}

session::~session() {
  if (counted_) server_.limits.descriptors->give();
}

bool session::open(tcp_stream& connection) {
  local_ = connection.local();
  if (!server_.on.watch(connection.fd(), *this)) return false;
  stream_ = std::move(connection);
  deadline_.arm_after(server_.limits.header_timeout);
  note_wait();
  return true;
}

void session::end() {
  if (std::exchange(state_, state::ended) == state::ended) return;
  deadline_.cancel();
  if (reply_) std::exchange(reply_, nullptr)->to = nullptr;
  if (request_.client) request_.client->on_gone = nullptr;
  if (stream_.is_open()) {
    server_.on.unwatch(stream_.fd(), *this);
    ::shutdown(stream_.fd(), SHUT_RDWR);
    stream_.close();
  }
  const auto at = server_.sessions.find(this);
  if (server_.ended.empty())
    server_.on.defer([state = server_.shared_from_this()] { std::exchange(state->ended, {}).clear(); });
  server_.ended.push_back(std::move(at->second));
  server_.sessions.erase(at);
}

void session::replace() {
  log_refusal("replaced", "closed for another connection: no whole request had come");
  end();
}

void session::on_io(io_ready ready) {
  readable_ |= ready.readable || ready.hangup;
  hangup_ |= ready.hangup;
  go_on();
}

/// As far as possible without waiting.
void session::go_on() {
  turn_left_ = sent_per_turn;
  try {
    for (int requests = 0; step();)
      if (state_ == state::reading && ++requests == requests_per_turn) return go_on_later();
  } catch (const std::exception& e) {
    if (!server_.closed)
      server_.log.log(base::log_level::error, "http_session_failed", {{"peer", peer_.to_string()}, {"text", e.what()}});
    end();
  }
}

void session::go_on_later() {
  if (std::exchange(goes_on_later_, true)) return;
  server_.on.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.expired()) return;
    goes_on_later_ = false;
    go_on();
  });
}

/// False: it is to be called again when the socket, the handler or the clock has something new.
bool session::step() {
  switch (state_) {
    case state::reading:
      if (read_request()) have_handled();
      return state_ == state::handling || state_ == state::writing;
    case state::handling:
      if (!response_) {
        look_for_client();
        return false;
      }
      answer(*std::exchange(response_, std::nullopt), keep_alive_);
      return true;
    case state::writing:
      if (!write()) return false;
      written();
      return true;
    case state::lingering:
      return linger();
    case state::ended:
      return false;
  }
  return false;
}

// -- handling

void session::have_handled() {
  deadline_.cancel();
  idle_since_.reset();
  answered_once_ = true;
  request_.body = std::move(parser_->get().body());
  request_.peer = peer_;
  request_.local = local_;
  request_.client = std::make_shared<http_client_presence>();
  state_ = state::handling;
  auto to = std::make_shared<reply>(this);
  reply_ = to.get();
  in_handler_ = true;
  try {
    server_.handle(request_, [to = std::move(to)](http_response r) { to->give(std::move(r)); });
  } catch (const std::exception& e) {
    if (!server_.closed)
      server_.log.log(base::log_level::error, "http_handler_failed",
                      {{"peer", peer_.to_string()}, {"path", request_.path}, {"text", e.what()}});
    if (reply_) reply_->give(error_response(500, "internal error"));
  }
  in_handler_ = false;
}

/// May come from within the handler, and from anywhere else: then what answered is on the stack.
void session::take_answer(http_response response) {
  reply_ = nullptr;
  response_ = std::move(response);
  if (!in_handler_) go_on_later();
}

/// Readable while nothing is asked for: another request, which waits, or the end.
void session::look_for_client() {
  if (!readable_ || !request_.client->on_gone) return;
  uint8_t byte;
  const auto got = ::recv(stream_.fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))) return;
  std::exchange(request_.client->on_gone, nullptr)();
}

// -- writing

void session::answer(http_response response, bool keep_alive) {
  state_ = state::writing;
  const bool head_request = parser_->get().method() == http::verb::head;
  const bool endless = response.take_over != nullptr, bodiless = is_bodiless(response.status);
  keep_alive = keep_alive && (!endless || head_request) && !server_.stopping;
  then_ = endless && !head_request ? afterwards::hand_over : keep_alive ? afterwards::next_request : afterwards::close;
  if (request_.client) request_.client->on_gone = nullptr;
  body_wanted_ = !bodiless && !endless && !head_request;
  const std::string& body = response.shared_body ? *response.shared_body : response.body;
  head_.clear();
  const bool uncounted = bodiless || endless || (head_request && response.header_only);
  write_head(response, uncounted ? std::nullopt : std::optional(body.size()), keep_alive,
             server_.date.at(std::time(nullptr)), head_);
  if (body_wanted_) file_ = server_.files.of(response.shared_body);
  sent_ = 0;
  response_ = std::move(response);
}

size_t session::body_size() const {
  if (!body_wanted_) return 0;
  return response_->shared_body ? response_->shared_body->size() : response_->body.size();
}

/// True when all is sent.
bool session::write() {
  const size_t all = head_.size() + body_size();
  for (bool moved = false; sent_ < all; moved = true) {
    if (turn_left_ == 0) {
      if (file_) deadline_.cancel();  // of an earlier wait
      go_on_later();
      return false;
    }
    const size_t most = std::min(all - sent_, turn_left_);
    const auto result =
        file_ && sent_ >= head_.size() ? stream_.send_file(file_->fd(), sent_ - head_.size(), most) : send_text(most);
    if (result.status == io_status::would_block) {
      // Each wait for room for a file has the deadline of any other answer as a whole.
      if ((file_ && moved) || !deadline_.armed()) deadline_.arm_after(server_.limits.idle_timeout);
      return false;
    }
    if (result.status != io_status::ok || result.bytes == 0) {
      end();
      return false;
    }
    sent_ += result.bytes;
    turn_left_ -= std::min(result.bytes, turn_left_);
  }
  return true;
}

io_result session::send_text(size_t most) {
  auto head = base::as_bytes(head_).subspan(std::min(sent_, head_.size()));
  head = head.first(std::min(head.size(), most));
  if (file_) return stream_.write(head, true);
  std::array<iovec, 2> parts;
  size_t count = 0;
  const auto add = [&](base::bytes_view bytes) {
    if (!bytes.empty()) parts[count++] = {const_cast<uint8_t*>(bytes.data()), bytes.size()};
  };
  add(head);
  if (body_wanted_) {
    const auto body = base::as_bytes(response_->shared_body ? *response_->shared_body : response_->body);
    const auto rest = body.subspan(sent_ - std::min(sent_, head_.size()));
    add(rest.first(std::min(rest.size(), most - head.size())));
  }
  return stream_.write(std::span<const iovec>(parts).first(count));
}

void session::written() {
  file_.reset();
  const auto response = std::exchange(response_, std::nullopt);
  switch (then_) {
    case afterwards::next_request:
      return await_request();
    case afterwards::close:
      return end();
    case afterwards::linger:
      stream_.shutdown_write();
      deadline_.arm_after(linger_time);
      state_ = state::lingering;
      return;
    case afterwards::hand_over: {
      server_.on.unwatch(stream_.fd(), *this);
      tcp_stream connection = std::move(stream_);
      counted_ = false;
      end();
      response->take_over(std::move(connection));
    }
  }
}

void session::refuse(const refusal& why) {
  log_refusal(why.reason, why.text);
  deadline_.cancel();
  idle_since_.reset();
  answer(error_response(why.status, why.text), false);
  then_ = afterwards::linger;
}

/// What comes is thrown away.
bool session::linger() {
  while (state_ == state::lingering && readable_) {
    const auto got = stream_.read(server_.on.read_buffer(), loop::read_buffer_size);
    if (got.status == io_status::would_block) {
      readable_ = false;
    } else if (got.status != io_status::ok || (lingered_ += got.bytes) >= linger_bytes_max) {
      end();
    }
  }
  return false;
}

void session::on_deadline() {
  if (state_ == state::reading && !header_taken_) {
    if (begun_) {
      log_refusal("header_timeout", "the header did not come in time");
    } else if (!answered_once_) {
      log_refusal("header_timeout", "no request came in time");
    }
  }
  end();
}

void session::log_refusal(std::string_view reason, std::string_view text) {
  if (server_.closed) return;
  server_.log.info("http_refused", {{"peer", peer_.to_string()}, {"reason", reason}, {"text", text}});
  if (server_.limits.on_refused) server_.limits.on_refused(reason);
}

}  // namespace sluice::runtime::http_inside
