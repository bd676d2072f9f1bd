#include "relay/http_tunnel.hpp"

#include <fmt/format.h>

namespace sluice::relay {
namespace {

// As of other players (servers/http/player.cpp).
constexpr base::duration user_timeout = std::chrono::seconds(20);
constexpr base::duration keepalive_idle = std::chrono::seconds(15);
constexpr int send_buffer_bytes = 256 * 1024;
constexpr int not_sent_bytes = 64 * 1024;
constexpr uint64_t bytes_in_max = 64 * 1024;
constexpr base::duration retry_delay = std::chrono::milliseconds(100);
constexpr size_t ts_packet_bytes = 188;  // ISO/IEC 13818-1 §2.4.3.2

bool is_ts(std::string_view path) { return path.ends_with(".ts"); }

}  // namespace

http_tunnel::http_tunnel(http_pass& pass, const runtime::http_request& request, const servers::stream_ask& ask,
                         const cluster::assignment& to, runtime::http_server::respond respond)
    : pass_(pass),
      shard_(pass.shard_),
      ask_(ask),
      session_(shard_.log, ask.session, is_ts(request.path) ? "http-ts" : "http-flv", ask.peer, ask.address.key.str()),
      head_request_(request.method == "HEAD"),
      resumes_(is_ts(request.path)),
      target_(request.target),
      headers_(pass.forwarded(request, to)),
      to_(to),
      respond_(std::move(respond)),
      client_(request.client),
      watch_(shard_.watchers, *this),
      timer_(shard_.loop, [this] {
        if (blocked_) return close("slow_reader");
        resume({});
      }) {}

http_tunnel::~http_tunnel() {
  if (finding_ != 0) shard_.control.cancel(finding_);
}

void http_tunnel::start() {
  if (client_)
    client_->on_gone = [this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired()) close("client_closed");
    };
  dial();
}

void http_tunnel::dial() {
  refused_ = false;
  watch_.start(to_.origin_id);
  upstream_ = std::make_unique<http_upstream>(
      shard_.loop, shard_.config.upstream, pass_.cells_, to_.http, shard_.control.line_of(to_.origin_id),
      runtime::http_request_text(head_request_ ? "HEAD" : "GET", target_, headers_), head_request_, *this);
}

void http_tunnel::on_head(const runtime::http_response_head& head) {
  if (closed_) return;
  if (answered_) {
    // The next owner's answer continues the one that the client has begun to read. Its publisher may not be there yet;
    // but an origin that lives, and has ended the stream itself, means it.
    if (head.status != 200) {
      if (to_.origin_id == ended_alive_) return close("origin_refused");
      refused_ = true;
      // Not at once: the upstream, which goes, is on the stack.
      return shard_.loop.defer([this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) resume("origin_refused");
      });
    }
    give_up_at_ = base::never;
    ended_alive_.clear();
    return session_.moved(to_.origin_id);
  }
  give_up_at_ = base::never;
  answered_ = true;
  resumes_ = resumes_ && head.status == 200;
  if (client_) client_->on_gone = nullptr;
  runtime::http_response r;
  r.status = head.status;
  r.content_type.clear();
  r.headers = returned_headers(head);
  if (head.status >= 300) {
    session_.refused(head.status, "origin_refused", fmt::format("the origin server answered {}", head.status));
  }
  if (head_request_) {
    r.take_over = [](runtime::tcp_stream) {};  // not called; but the answer to GET has no length that we know
    std::exchange(respond_, nullptr)(std::move(r));
    return close("head");
  }
  upstream_->pause_reading(true);  // until the client's socket is here
  r.take_over = [this, alive = std::weak_ptr<bool>(alive_),
                 descriptors = shard_.config.upstream.descriptors](runtime::tcp_stream connection) {
    if (!alive.expired()) return begin(std::move(connection));
    if (descriptors) descriptors->give();
  };
  timer_.arm_after(pass_.config_.player_stall);
  blocked_ = true;  // nothing can be sent before
  std::exchange(respond_, nullptr)(std::move(r));
}

void http_tunnel::begin(runtime::tcp_stream connection) {
  if (closed_) {
    if (auto* descriptors = shard_.config.upstream.descriptors) descriptors->give();
    return;
  }
  stream_ = std::move(connection);
  stream_.limit_send_memory(send_buffer_bytes, not_sent_bytes);
  stream_.set_backstop(user_timeout, keepalive_idle);
  pass_.sessions_cell_.add(1);
  session_.started(to_.origin_id, shard_.loop.now());
  if (!shard_.loop.watch(stream_.fd(), *this)) return close("no_descriptors");
  flush();
}

void http_tunnel::on_body(base::bytes_view bytes) {
  if (closed_ || refused_) return;
  if (!resumes_) return send(bytes);
  // Only whole packets go out: whatever comes next, from whichever origin, begins with one.
  if (!packet_.empty()) {
    const size_t missing = std::min(ts_packet_bytes - packet_.size(), bytes.size());
    packet_.insert(packet_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(missing));
    bytes = bytes.subspan(missing);
    if (packet_.size() < ts_packet_bytes) return;
    send(packet_);
    packet_.clear();
  }
  const size_t whole = bytes.size() / ts_packet_bytes * ts_packet_bytes;
  if (whole > 0) send(bytes.first(whole));
  const auto rest = bytes.subspan(whole);
  packet_.assign(rest.begin(), rest.end());
}

void http_tunnel::send(base::bytes_view bytes) {
  if (closed_) return;
  if (!blocked_) {
    const auto result = stream_.write(bytes);
    if (result.status == runtime::io_status::failed || result.status == runtime::io_status::closed)
      return close("client_reset");
    if (result.status == runtime::io_status::ok) {
      bytes_out_ += result.bytes;
      pass_.bytes_out_cell_.add(static_cast<int64_t>(result.bytes));
      bytes = bytes.subspan(result.bytes);
    }
    if (bytes.empty()) return;
    blocked_ = true;
    timer_.arm_after(pass_.config_.player_stall);
  }
  waiting_.append(bytes);
  if (waiting_.size() > pass_.config_.backlog_max && upstream_) upstream_->pause_reading(true);
}

void http_tunnel::flush() {
  while (!waiting_.empty()) {
    const auto result = stream_.write(waiting_.pending());
    if (result.status == runtime::io_status::would_block) return timer_.arm_after(pass_.config_.player_stall);
    if (result.status != runtime::io_status::ok) return close("client_reset");
    bytes_out_ += result.bytes;
    pass_.bytes_out_cell_.add(static_cast<int64_t>(result.bytes));
    waiting_.consume(result.bytes);
  }
  blocked_ = false;
  timer_.cancel();
  if (!last_words_.empty()) return close(last_words_);
  if (upstream_) upstream_->pause_reading(false);
  if (give_up_at_ != base::never) timer_.arm_after(base::duration::zero());  // the search for an owner goes on
}

void http_tunnel::on_io(runtime::io_ready ready) {
  if (closed_) return;
  if (ready.readable || ready.hangup) read_client();
  if (!closed_ && ready.writable && blocked_) flush();
}

void http_tunnel::read_client() {
  for (;;) {
    const auto got = stream_.read(shard_.loop.read_buffer(), runtime::loop::read_buffer_size);
    if (got.status == runtime::io_status::would_block) return;
    if (got.status != runtime::io_status::ok)
      return close(got.status == runtime::io_status::closed ? "client_closed" : "client_reset");
    bytes_in_ += got.bytes;
    if (bytes_in_ > bytes_in_max) return close("unexpected_data");
  }
}

void http_tunnel::on_end(std::string_view reason) {
  if (closed_ || refused_) return;
  if (answered_ && (reason == "response_end" || !resumes_)) {
    if (stream_.is_open() && waiting_.empty()) return close(reason);
    last_words_ = reason;
    return;
  }
  if (answered_) ended_alive_ = to_.origin_id;
  resume(reason);
}

void http_tunnel::on_undialled(const base::error& e) {
  if (e.reason != "no_descriptors") shard_.control.dial_failed(to_.origin_id);
  resume(e.reason);
}

void http_tunnel::on_origin_lost(cluster::loss_reason) { resume("origin_gone"); }

/// Asks for the stream's owner again and dials him, until the time that is given to that is over.
void http_tunnel::resume(std::string_view reason) {
  if (closed_ || finding_ != 0 || !last_words_.empty()) return;
  const auto now = shard_.loop.now();
  watch_.stop();
  upstream_.reset();
  packet_.clear();
  if (!reason.empty()) {
    shard_.log.warn(
        "pull_lost",
        {{"session", session_.id()}, {"stream", session_.stream()}, {"origin", to_.origin_id}, {"reason", reason}});
    if (answered_ && !resumes_) return close(reason);
    if (give_up_at_ == base::never) give_up_at_ = now + shard_.config.recover_wait;
    if (now >= give_up_at_) return refuse(502, reason, "the origin server cannot be reached");
    if (!blocked_) timer_.arm_after(retry_delay);
    return;
  }
  finding_ = shard_.control.find(shard_.loop, ask_.address.key, std::max(give_up_at_ - now, base::duration(1)),
                                 [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> found) {
                                   if (alive.expired()) return;
                                   finding_ = 0;
                                   if (closed_) return;
                                   if (!found) return refuse(404, found.error().reason, found.error().text);
                                   to_ = std::move(*found);
                                   dial();
                                 });
}

void http_tunnel::refuse(int status, std::string_view reason, std::string_view text) {
  if (!answered_) {
    answered_ = true;
    session_.refused(status, reason, text);
    std::exchange(respond_, nullptr)(servers::http_failure(status, text));
  }
  close(reason);
}

// What may be on the stack goes with the object, later.
void http_tunnel::close(std::string_view reason) {
  if (std::exchange(closed_, true)) return;
  timer_.cancel();
  watch_.stop();
  if (client_) client_->on_gone = nullptr;
  if (respond_) std::exchange(respond_, nullptr)(servers::http_failure(503, "the session has ended"));
  if (stream_.is_open()) {
    shard_.loop.unwatch(stream_.fd(), *this);
    stream_.close();
    if (auto* descriptors = shard_.config.upstream.descriptors) descriptors->give();
    pass_.sessions_cell_.add(-1);
  }
  session_.ended(reason, shard_.loop.now(), bytes_in_, bytes_out_, 0);
  pass_.retire(*this);
}

}  // namespace sluice::relay
