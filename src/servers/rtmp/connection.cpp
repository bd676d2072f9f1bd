#include "servers/rtmp/connection.hpp"

#include <cstring>

#include "proto/proxy/address_prefix.hpp"
#include "proto/proxy/proxy_protocol.hpp"
#include "servers/rtmp/capabilities.hpp"
#include "servers/rtmp/pump.hpp"
#include "servers/rtmp/server.hpp"

namespace sluice::servers {
namespace {

// A gap of one event's reads, so that one busy client does not hold the loop.
constexpr int reads_per_turn = 4;
// How long a connection that we end may take to read our last words.
constexpr base::duration flush_time_max = std::chrono::seconds(5);
constexpr base::duration linger_time = std::chrono::seconds(1);
// Kernel backstops: a peer whose network is gone.
constexpr base::duration user_timeout = std::chrono::seconds(20);
constexpr base::duration keepalive_idle = std::chrono::seconds(15);
// What one client may hold in the kernel: faults.md, 20,000 viewers that stop reading.
constexpr int send_buffer_bytes = 256 * 1024;
constexpr int not_sent_bytes = 64 * 1024;

int64_t to_ms(base::duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count(); }

}  // namespace

connection::connection(rtmp_server& server, runtime::tcp_stream stream, const base::endpoint& peer, std::string id)
    : server_(server),
      stream_(std::move(stream)),
      peer_(peer),
      id_(std::move(id)),
      session_(server.limits().session, server.loop().now(), std::hash<std::string>{}(id_)),
      timer_(server.loop(), [this] { on_deadline(); }),
      opened_(server.loop().now()) {
  for (const auto& n : server_.limits().trusted) trusted_ |= n.contains(peer.address);
}

connection::~connection() = default;

runtime::loop& connection::loop() { return server_.loop(); }

void connection::start() {
  stream_.limit_send_memory(send_buffer_bytes, not_sent_bytes);
  stream_.set_backstop(user_timeout, keepalive_idle);
  if (!loop().watch(stream_.fd(), *this)) {
    session_refused("no_descriptors", {}, "the kernel watches no further socket");
    return close("no_descriptors");
  }
  rearm();
}

void connection::on_io(runtime::io_ready ready) {
  if (phase_ == phase::closed) return;
  hangup_ |= ready.hangup;
  if (ready.readable || ready.hangup) {
    if (reading_paused_) {
      read_waits_ = true;
    } else {
      read_some();
    }
  }
  if (ready.writable && phase_ != phase::closed && (blocked_since_ != base::never || !session_.output().empty()))
    flush();
}

void connection::read_some() {
  for (int turn = 0; turn < reads_per_turn; ++turn) {
    if (phase_ == phase::closed || reading_paused_) {
      read_waits_ = true;
      return;
    }
    const auto got = stream_.read(loop().read_buffer(), runtime::loop::read_buffer_size);
    if (got.status == runtime::io_status::would_block) return;
    if (got.status != runtime::io_status::ok) {
      close(got.status == runtime::io_status::closed ? "client_closed" : "client_reset");
      return;
    }
    bytes_in_ += got.bytes;
    server_.bytes_in_cell_.add(static_cast<int64_t>(got.bytes));
    if (phase_ == phase::preamble || phase_ == phase::open) feed({loop().read_buffer(), got.bytes});
    // A short read has emptied the socket, and the next bytes bring a new edge; a FIN that came with these bytes brings
    // none.
    if (got.bytes < runtime::loop::read_buffer_size && !hangup_) return;
  }
  if (phase_ != phase::closed) server_.read_later(*this);
}

base::result<size_t> connection::take_preamble(base::bytes_view bytes) {
  constexpr uint8_t proxy_v1 = 'P', proxy_v2 = '\r';
  if (bytes.front() == address_prefix::marker) {
    auto prefix = address_prefix::parse(bytes);
    if (!prefix) return tl::unexpected(prefix.error());
    if (!*prefix) return size_t{0};
    // Proxies of other hosts send it unasked; only trusted ones are believed.
    if (trusted_) peer_ = {(*prefix)->address, 0};
    return (*prefix)->consumed;
  }
  if (server_.limits().proxy_protocol && (bytes.front() == proxy_v1 || bytes.front() == proxy_v2)) {
    if (!trusted_) return base::fail("untrusted_proxy_protocol", "the peer is not in the trusted networks");
    auto header = proxy_protocol::parse(bytes);
    if (!header) return tl::unexpected(header.error());
    if (!*header) return size_t{0};
    if ((*header)->source) peer_ = *(*header)->source;
    return (*header)->consumed;
  }
  phase_ = phase::open;
  return size_t{0};
}

void connection::feed(base::bytes_view bytes) {
  std::vector<uint8_t> joined;
  if (preamble_) {
    joined = std::move(*preamble_);
    joined.insert(joined.end(), bytes.begin(), bytes.end());
    bytes = joined;
    preamble_.reset();
  }
  // A load balancer's header, then a proxy's prefix: each once at most, before the first byte of RTMP.
  while (phase_ == phase::preamble && !bytes.empty()) {
    const auto taken = take_preamble(bytes);
    if (!taken) return fail(taken.error());
    if (phase_ == phase::preamble && *taken == 0) {
      preamble_ = std::make_unique<std::vector<uint8_t>>(bytes.begin(), bytes.end());
      return;
    }
    bytes = bytes.subspan(*taken);
  }
  if (bytes.empty()) return;
  const auto ok = session_.receive(bytes, loop().now());
  handle_events();
  if (phase_ == phase::closed) return;
  if (!ok) return fail(ok.error());
  handler_->on_batch_end();
  if (phase_ == phase::closed) return;
  if (!session_.output().empty() && blocked_since_ == base::never) flush();
  if (phase_ == phase::open && session_.output().size() > server_.limits().control_bytes_max)
    return fail({"control_backlog", "the client does not read what it asks for"});
  if (phase_ == phase::open && !timer_.armed()) rearm();
}

void connection::handle_events() {
  struct visitor {
    connection& c;
    void operator()(rtmp::connect_request& e) { c.handler_->on_connect(std::move(e)); }
    void operator()(rtmp::publish_request& e) { c.handler_->on_publish(std::move(e)); }
    void operator()(rtmp::play_request& e) { c.handler_->on_play(std::move(e)); }
    void operator()(rtmp::media_message& e) { c.handler_->on_media(std::move(e.msg)); }
    void operator()(rtmp::stream_closed& e) { c.handler_->on_stream_closed(e.stream_id); }
    void operator()(rtmp::pause_request& e) {
      if (!c.reader_) return;
      c.reader_->pause(e.pause);
      c.session_.send_status(e.stream_id, "status", e.pause ? "NetStream.Pause.Notify" : "NetStream.Unpause.Notify",
                             e.pause ? "Paused stream." : "Unpaused stream.");
    }
    void operator()(rtmp::receive_request& e) {
      if (!c.reader_) return;
      if (e.audio) {
        c.reader_->want_audio(e.on);
      } else {
        c.reader_->want_video(e.on);
      }
    }
  };
  while (phase_ == phase::open) {
    auto event = session_.next_event();
    if (!event) return;
    std::visit(visitor{*this}, *event);
  }
}

void connection::on_frames() {
  if (phase_ != phase::open) return;
  if (blocked_since_ == base::never) {
    flush();
  } else {
    handler_->on_blocked();
  }
}

void connection::flush() {
  if (phase_ == phase::closed || phase_ == phase::lingering) return;
  const uint64_t before = bytes_out_;
  const auto status = pump(stream_, session_.output(), phase_ == phase::open ? reader_.get() : nullptr, &bytes_out_);
  server_.bytes_out_cell_.add(static_cast<int64_t>(bytes_out_ - before));
  count_dropped();
  switch (status) {
    case pump_status::failed:
      return close("client_reset");
    case pump_status::drained: {
      const bool was_blocked = std::exchange(blocked_since_, base::never) != base::never;
      if (phase_ == phase::flushing) return linger();
      if (was_blocked) handler_->on_drained();
      return;
    }
    case pump_status::blocked:
      if (blocked_since_ == base::never || bytes_out_ > before) blocked_since_ = loop().now();
      rearm();
  }
}

void connection::count_dropped() {
  if (reader_)
    server_.dropped_cell_.add(static_cast<int64_t>(reader_->dropped() - std::exchange(dropped_, reader_->dropped())));
}

void connection::rearm() {
  base::time_point due = session_.deadline();
  if (phase_ == phase::flushing || phase_ == phase::lingering) return;
  if (blocked_since_ != base::never) due = std::min(due, blocked_since_ + server_.limits().player_stall);
  timer_.arm_at(due);
}

void connection::on_deadline() {
  const auto now = loop().now();
  if (phase_ == phase::flushing || phase_ == phase::lingering) return close(close_reason_);
  if (blocked_since_ != base::never && now - blocked_since_ >= server_.limits().player_stall)
    return fail({"slow_reader", "the client took no byte for the stall time"});
  if (const auto ok = session_.on_timeout(now); !ok) return fail(ok.error());
  flush();
  if (phase_ == phase::open || phase_ == phase::preamble) rearm();
}

void connection::start_playing(media::hub& h, uint32_t stream_id, media::reader_start start) {
  reader_ = std::make_unique<media::reader>(h, *this, start);
  reader_->set_stream_id(stream_id);
  reader_->set_joining();
  dropped_ = 0;
}

void connection::stop_playing() {
  if (!reader_) return;
  count_dropped();
  // A message that is half sent is completed, or the client would read what comes next as the rest of it.
  if (!reader_->at_boundary()) session_.output().prepend(reader_->rest());
  reader_.reset();
}

void connection::set_control() {
  session_.allow_idle();
  server_.set_standing(*this, standing::control);
}

bool connection::turned_away(bool peer) {
  if (standing_ != standing::over_limit) return false;
  server_.refuse(peer_, "too_many_sessions");
  session_.reject_connect(peer ? full_code : "NetConnection.Connect.Rejected", "The server is full.");
  close_after_flush("too_many_sessions");
  return true;
}

void connection::pause_reading(bool on) {
  if (reading_paused_ == on) return;
  reading_paused_ = on;
  if (!on && std::exchange(read_waits_, false)) server_.read_later(*this);
}

// An address that came in a prefix has no port.
std::string connection::peer_text() const { return peer_.port == 0 ? peer_.address.to_string() : peer_.to_string(); }

void connection::session_started(std::string_view kind, std::string_view stream, std::string_view origin) {
  kind_ = kind;
  stream_name_ = stream;
  origin_ = origin;
  started_ = loop().now();
  rearm();  // the session has new deadlines
  server_.log().info("session_start", {{"session", id_},
                                       {"proto", "rtmp"},
                                       {"kind", kind},
                                       {"peer", peer_text()},
                                       {"stream", stream},
                                       {"origin", origin}});
}

void connection::session_ended(std::string_view reason) {
  if (kind_.empty()) return;
  server_.log().info("session_end", {{"session", id_},
                                     {"proto", "rtmp"},
                                     {"kind", kind_},
                                     {"peer", peer_text()},
                                     {"stream", stream_name_},
                                     {"origin", origin_},
                                     {"reason", reason},
                                     {"duration_ms", to_ms(loop().now() - started_)},
                                     {"bytes_in", bytes_in_},
                                     {"bytes_out", bytes_out_},
                                     {"dropped", reader_ ? reader_->dropped() : 0}});
  kind_ = {};
  std::string().swap(stream_name_);
}

void connection::session_refused(std::string_view reason, std::string_view stream, std::string_view text) {
  server_.refused(reason).add();
  server_.log().warn("session_refused", {{"session", id_},
                                         {"proto", "rtmp"},
                                         {"peer", peer_text()},
                                         {"stream", stream},
                                         {"reason", reason},
                                         {"text", text}});
}

void connection::fail(const base::error& e) {
  // What the client did against the rules is a refusal even when it ends a running session.
  session_refused(e.reason, stream_name_, e.text);
  close_after_flush(e.reason);
}

void connection::close_after_flush(std::string_view reason) {
  if (phase_ != phase::preamble && phase_ != phase::open) return;
  close_reason_ = reason;
  session_ended(reason);
  stop_playing();
  phase_ = phase::flushing;
  timer_.arm_after(flush_time_max);
  flush();
}

void connection::drain(std::string_view reason) {
  if (reader_ && reader_->has_pending()) return;
  if (phase_ == phase::open) handler_->on_shutdown();
  close_after_flush(reason);
}

// Closing with unread bytes in the socket would reset the connection and take our last words with it: send FIN, read on
// for a moment.
void connection::linger() {
  phase_ = phase::lingering;
  stream_.shutdown_write();
  timer_.arm_after(linger_time);
  pause_reading(false);
  server_.read_later(*this);
}

void connection::close(std::string_view reason) {
  if (phase_ == phase::closed) return;
  session_ended(reason);
  phase_ = phase::closed;
  timer_.cancel();
  handler_->on_closed();
  count_dropped();
  reader_.reset();
  loop().unwatch(stream_.fd(), *this);
  stream_.close();
  server_.retire(*this);
}

}  // namespace sluice::servers
