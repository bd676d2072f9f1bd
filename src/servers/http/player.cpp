#include "servers/http/player.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "runtime/http_text.hpp"

namespace sluice::servers {
namespace {

// As servers/rtmp/connection.cpp: kernel backstops, and what one client may hold in the kernel.
constexpr base::duration user_timeout = std::chrono::seconds(20);
constexpr base::duration keepalive_idle = std::chrono::seconds(15);
constexpr int send_buffer_bytes = 256 * 1024;
constexpr int not_sent_bytes = 64 * 1024;
// A player has nothing more to say once it has asked.
constexpr uint64_t bytes_in_max = 64 * 1024;
constexpr size_t parts_max = 128;  // two for each tag of a burst, where bodies are not copied
// What waits for a player before a source of its own is paused: a block is a read of that source, or more.
constexpr size_t blocks_before_pause = 8;

std::string joined(const std::vector<std::string>& names) { return fmt::format("{}", fmt::join(names, ", ")); }

/// Headers of an origin's answer take the place of ours, but for those of the body, which we make.
void take_headers(runtime::http_response& r, const std::vector<std::pair<std::string, std::string>>& more) {
  static constexpr std::string_view of_body = "content-";
  const auto ours = [](std::string_view name) {
    return runtime::equal_ignoring_case(name.substr(0, of_body.size()), of_body) ||
           runtime::equal_ignoring_case(name, "access-control-allow-origin");
  };
  std::erase_if(r.headers, [&](const auto& mine) {
    return !ours(mine.first) && std::any_of(more.begin(), more.end(), [&](const auto& theirs) {
      return runtime::equal_ignoring_case(mine.first, theirs.first);
    });
  });
  for (const auto& [name, value] : more)
    if (!ours(name)) r.headers.emplace_back(name, value);
}

}  // namespace

http_player::http_player(media_server& server, std::string id, const runtime::http_request& request,
                         const media_target& target, runtime::http_server::respond respond)
    : server_(server),
      cells_(server.cells_of(target.format)),
      format_(target.format),
      ask_{std::make_shared<const runtime::http_request>(request), target.address, id,
           client_address(request, server.limits_.trusted)},
      session_(server.log_, std::move(id), name(format_), ask_.peer, target.address.key.str()),
      respond_(std::move(respond)),
      timer_(server.loop_, [this] { on_deadline(); }) {}

http_player::~http_player() { leave_stream(); }

void http_player::start() {
  if (ask_.request->client)
    ask_.request->client->on_gone = [this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) close("client_closed");
    };
  lease_ = server_.streams_.open(ask_, *this);
}

void http_player::on_stream(media::hub& h, const std::string& origin) {
  if (closed_ || log_) return;
  origin_ = origin;
  log_ = &server_.formats_.open(h, format_);
  reader_ = std::make_unique<media::byte_reader>(*log_, *this);
  // Whether a stream can be had as TS is known when its headers are; FLV carries all.
  if (format_ == http_format::flv || log_->ready()) return answer();
  timer_.arm_after(server_.limits_.start_wait);
}

void http_player::answer() {
  timer_.cancel();
  if (!log_->muxer().carries_something())
    return refuse(415, "unsupported_codec",
                  fmt::format("MPEG-TS carries none of the stream's tracks ({}): ask for .flv or .m3u8",
                              joined(log_->muxer().left_out())));
  answered_ = true;
  runtime::http_response r;
  r.content_type = content_type(format_);
  allow_any_site(r);
  r.headers.emplace_back("Cache-Control", "no-cache, no-store");
  if (lease_) take_headers(r, lease_->origin_headers());
  const bool head = ask_.request->method == "HEAD";
  if (head) {
    r.take_over = [](runtime::tcp_stream) {};  // not called; but the answer to GET has no length
  } else {
    r.take_over = [this, alive = std::weak_ptr<bool>(alive_),
                   descriptors = server_.limits_.descriptors](runtime::tcp_stream connection) {
      if (!alive.expired()) return begin(std::move(connection));
      if (descriptors) descriptors->give();
    };
    // The header may never get out: then nobody takes over.
    timer_.arm_after(server_.limits_.player_stall);
  }
  ask_.request.reset();
  std::exchange(respond_, nullptr)(std::move(r));
  if (head) close("head");
}

void http_player::begin(runtime::tcp_stream connection) {
  if (closed_) {
    if (server_.limits_.descriptors) server_.limits_.descriptors->give();
    return;
  }
  stream_ = std::move(connection);
  timer_.cancel();
  stream_.limit_send_memory(send_buffer_bytes, not_sent_bytes);
  stream_.set_backstop(user_timeout, keepalive_idle);
  cells_.sessions.add(1);
  session_.started(origin_, server_.loop_.now());
  const auto left_out = log_->muxer().left_out();
  if (!left_out.empty())
    server_.log_.warn("tracks_left_out", {{"session", session_.id()},
                                          {"stream", session_.stream()},
                                          {"proto", name(format_)},
                                          {"codecs", joined(left_out)}});
  if (!server_.loop_.watch(stream_.fd(), *this)) return close("no_descriptors");
  flush();
}

void http_player::refuse(int status, std::string_view reason, std::string_view text, const header_list& more) {
  server_.refused(name(format_), reason).add();
  session_.refused(status, reason, text);
  answered_ = true;
  if (respond_) {
    auto response = http_failure(status, text);
    take_headers(response, more);
    std::exchange(respond_, nullptr)(std::move(response));
  }
  close(reason);
}

void http_player::on_no_stream(int status, std::string_view reason, std::string_view text) {
  const auto headers = lease_ ? lease_->origin_headers() : header_list{};
  leave_stream();
  if (closed_) return;
  if (!answered_) return refuse(status, reason, text, headers);
  close(reason);
}

void http_player::on_passed(passed give) {
  if (closed_ || answered_) return;
  answered_ = true;
  const auto request = std::move(ask_.request);
  if (request->client) request->client->on_gone = nullptr;
  auto respond = std::exchange(respond_, nullptr);
  close("passed");
  give(*request, std::move(respond));
}

void http_player::on_bytes() {
  if (closed_) return;
  if (!answered_) return answer();
  if (!stream_.is_open()) return;
  if (blocked_since_ == base::never) return flush();
  if (!source_paused_ && reader_->pending_blocks() > blocks_before_pause) {
    source_paused_ = true;
    lease_->pause(true);
  }
}

void http_player::flush() {
  std::array<iovec, parts_max> parts;
  for (;;) {
    size_t bytes = 0;
    const size_t count = reader_->gather(parts, &bytes);
    if (count == 0) break;
    const auto result = stream_.write(std::span<const iovec>(parts).first(count));
    if (result.status == runtime::io_status::would_block) return block(false);
    if (result.status != runtime::io_status::ok) return close("client_reset");
    bytes_out_ += result.bytes;
    cells_.bytes_out.add(static_cast<int64_t>(result.bytes));
    reader_->consume(result.bytes);
    if (reader_->drops() != drops_) cells_.drops.add(reader_->drops() - std::exchange(drops_, reader_->drops()));
    if (result.bytes < bytes) return block(true);
  }
  if (std::exchange(blocked_since_, base::never) != base::never) timer_.cancel();
  if (std::exchange(source_paused_, false)) lease_->pause(false);
}

/// The socket takes no more now. `moved`: but it took something.
void http_player::block(bool moved) {
  if (blocked_since_ == base::never || moved)
    timer_.arm_at((blocked_since_ = server_.loop_.now()) + server_.limits_.player_stall);
}

void http_player::on_io(runtime::io_ready ready) {
  if (closed_) return;
  if (ready.readable || ready.hangup) read_some();
  if (!closed_ && ready.writable && blocked_since_ != base::never) flush();
}

void http_player::read_some() {
  for (;;) {
    const auto got = stream_.read(server_.loop_.read_buffer(), runtime::loop::read_buffer_size);
    if (got.status == runtime::io_status::would_block) return;
    if (got.status != runtime::io_status::ok)
      return close(got.status == runtime::io_status::closed ? "client_closed" : "client_reset");
    bytes_in_ += got.bytes;
    if (bytes_in_ > bytes_in_max) return close("unexpected_data");
  }
}

void http_player::on_deadline() {
  if (!answered_) return answer();
  if (!stream_.is_open()) return close("client_closed");
  server_.refused(name(format_), "slow_reader").add();
  close("slow_reader");
}

void http_player::drain(std::string_view reason) {
  if (running() && reader_ && reader_->has_pending()) return;
  if (answered_) return close(reason);
  refuse(503, reason, "the server is stopping");
}

/// The lease must not be needed any more: what ends it is on the stack.
void http_player::leave_stream() {
  reader_.reset();
  if (log_) server_.formats_.leave(*std::exchange(log_, nullptr));
  lease_.reset();
}

// What may be on the stack (a flush of the log) goes with the object, later.
void http_player::close(std::string_view reason) {
  if (std::exchange(closed_, true)) return;
  close_reason_ = reason;
  timer_.cancel();
  if (ask_.request && ask_.request->client) ask_.request->client->on_gone = nullptr;
  if (!answered_ && respond_) std::exchange(respond_, nullptr)(http_failure(503, "the session has ended"));
  finish();
}

void http_player::finish() {
  if (stream_.is_open()) {
    server_.loop_.unwatch(stream_.fd(), *this);
    stream_.close();
    if (server_.limits_.descriptors) server_.limits_.descriptors->give();
  }
  if (session_.running()) cells_.sessions.add(-1);
  session_.ended(close_reason_, server_.loop_.now(), bytes_in_, bytes_out_, drops_);
  server_.retire(*this);
}

}  // namespace sluice::servers
