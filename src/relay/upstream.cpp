#include "relay/upstream.hpp"

#include <fmt/format.h>

#include "media/frame.hpp"
#include "servers/rtmp/capabilities.hpp"
#include "servers/rtmp/pump.hpp"

namespace sluice::relay {
namespace {

constexpr int reads_per_turn = 8;
// Backstop only: liveness is judged by answers (cluster/core), this ends what nobody judges.
constexpr base::duration user_timeout = std::chrono::seconds(20);
constexpr base::duration keepalive_idle = std::chrono::seconds(15);

// Once media runs, servers also tell of things that end nothing (NetStream.Play.PublishNotify of nginx-rtmp,
// UnpublishNotify of one that waits for its publisher): an end is an error, or a close.
bool ends_stream(const rtmp::client_status& status) { return status.refused || status.level == "error"; }

}  // namespace

upstream_metrics::upstream_metrics(base::metrics& m, std::string_view proto)
    : bytes_in(m.counter("sluice_upstream_bytes_total", "Bytes from and to origins.",
                         {{"dir", "in"}, {"proto", std::string(proto)}})),
      bytes_out(m.counter("sluice_upstream_bytes_total", "Bytes from and to origins.",
                          {{"dir", "out"}, {"proto", std::string(proto)}})),
      connections(m.gauge("sluice_upstream_connections", "Connections to origins open now.",
                          {{"proto", std::string(proto)}})) {}

upstream::upstream(runtime::loop& l, const upstream_config& config, upstream_metrics& metrics,
                   std::vector<base::endpoint> endpoints, std::shared_ptr<origin_line> line,
                   rtmp::client_request request, upstream_events& events)
    : loop_(l),
      config_(config),
      metrics_(metrics),
      endpoints_(std::move(endpoints)),
      line_(std::move(line)),
      request_(std::move(request)),
      events_(&events),
      plays_(request_.intent == rtmp::client_intent::play),
      asks_numbered_(servers::peer_note::from(request_.command_object).numbered),
      timer_(l, [this] { on_deadline(); }) {
  metrics_.connections.add(1);
  counted_ = config_.descriptors && config_.descriptors->take();
  if (config_.descriptors && !counted_) {
    undialled_later({"no_descriptors", "The server is full."});
  } else if (endpoints_.empty()) {
    undialled_later({"no_endpoint", "The origin names no RTMP endpoint."});
  } else {
    dial_next();
  }
}

void upstream::undialled_later(base::error e) {
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_), e = std::move(e)] {
    if (!alive.expired()) end([e](upstream_events& events) { events.on_undialled(e); });
  });
}

upstream::~upstream() {
  metrics_.connections.add(-1);
  if (counted_) config_.descriptors->give();
  reader_.reset();
  if (stream_.is_open()) loop_.unwatch(stream_.fd(), *this);
}

void upstream::dial_next() {
  remote_ = endpoints_[next_endpoint_++];
  connector_ = std::make_unique<runtime::tcp_connector>(
      loop_, remote_, config_.dial_timeout, [this](base::result<runtime::tcp_stream> stream) {
        if (stream) return on_connected(std::move(*stream));
        // Our own lack says nothing of the origin.
        if (stream.error().reason == "resources") stream.error().reason = "no_descriptors";
        if (next_endpoint_ < endpoints_.size()) {
          // The connector whose callback this is must outlive it.
          loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
            if (!alive.expired()) dial_next();
          });
          return;
        }
        end([e = std::move(stream.error())](upstream_events& events) { events.on_undialled(e); });
      });
}

void upstream::on_connected(runtime::tcp_stream stream) {
  stream_ = std::move(stream);
  stream_.set_backstop(user_timeout, keepalive_idle);
  if (receive_bytes_ > 0) stream_.limit_receive_memory(receive_bytes_);
  const uint64_t seed =
      static_cast<uint64_t>(loop_.now().time_since_epoch().count()) ^ reinterpret_cast<uintptr_t>(this);
  session_ = std::make_unique<rtmp::client_session>(config_.session, std::move(request_), loop_.now(), seed);
  if (!loop_.watch(stream_.fd(), *this)) {
    return end([](upstream_events& e) { e.on_undialled({"resources", "The kernel watches no further socket."}); });
  }
  flush();
  if (!ended_) timer_.arm_at(session_->deadline());
}

void upstream::on_io(runtime::io_ready ready) {
  if (ended_) return;
  const std::weak_ptr<bool> alive(alive_);
  hangup_ |= ready.hangup;
  if (ready.readable || ready.hangup) read_some();
  if (alive.expired() || ended_) return;
  if (ready.writable && blocked_) {
    flush();
    half_close_if_done();
    if (!alive.expired() && !ended_ && !blocked_) events_->on_drained();
  }
}

void upstream::read_some() {
  const std::weak_ptr<bool> alive(alive_);
  for (int turn = 0; turn < reads_per_turn; ++turn) {
    if (reading_paused_) {
      read_waits_ = true;
      return;
    }
    const auto got = stream_.read(loop_.read_buffer(), runtime::loop::read_buffer_size);
    if (got.status == runtime::io_status::would_block) return;
    if (got.status != runtime::io_status::ok) {
      const std::string_view reason = got.status == runtime::io_status::closed ? "origin_closed" : "origin_reset";
      return end([started = started_, reason](upstream_events& e) { e.on_lost(started, reason); });
    }
    metrics_.bytes_in.add(static_cast<int64_t>(got.bytes));
    if (line_) note_heard(*line_, loop_.now());
    const auto ok = session_->receive({loop_.read_buffer(), got.bytes}, loop_.now());
    handle_events();
    if (alive.expired() || ended_) return;
    if (!ok)
      return end([started = started_, reason = ok.error().reason](upstream_events& e) { e.on_lost(started, reason); });
    if (!session_->output().empty() && !blocked_) flush();
    if (alive.expired() || ended_) return;
    if (!timer_.armed()) timer_.arm_at(session_->deadline());
    // A short read has emptied the socket, and the next bytes bring a new edge; a FIN that came with these bytes brings
    // none.
    if (got.bytes < runtime::loop::read_buffer_size && !hangup_) return;
  }
  loop_.defer([this, alive] {
    if (!alive.expired() && !ended_) read_some();
  });
}

void upstream::handle_events() {
  const std::weak_ptr<bool> alive(alive_);
  while (!alive.expired() && !ended_) {
    auto event = session_->next_event();
    if (!event) return;
    if (auto* media = std::get_if<rtmp::media_message>(&*event)) {
      const auto said = numbered_ ? media::parse_mark(media->msg) : std::nullopt;
      if (said) {
        events_->on_mark(*said);
      } else {
        events_->on_media(std::move(media->msg));
      }
    } else if (auto* connected = std::get_if<rtmp::client_connected>(&*event)) {
      numbered_ = asks_numbered_ && servers::says_numbered(connected->information);
    } else if (std::holds_alternative<rtmp::client_started>(*event)) {
      started_ = true;
      watch_quiet();
      events_->on_started();
    } else if (auto* status = std::get_if<rtmp::client_status>(&*event); status && ends_stream(*status)) {
      return end([s = std::move(*status)](upstream_events& e) { e.on_refused(s); });
    }
  }
}

void upstream::push(media::hub& h, std::optional<uint64_t> from) {
  if (ended_) return;  // its last call is on the way
  reader_ = std::make_unique<media::reader>(h, *this, media::reader_start::oldest);
  reader_->set_stream_id(session_->stream_id());
  if (numbered_) {
    reader_->set_numbered();
  } else if (from) {
    reader_->go_on_at(*from);
  }
  if (!blocked_) flush();
}

void upstream::stop_pushing_at(uint64_t end) {
  if (reader_) reader_->stop_at(end);
}

void upstream::on_frames() {
  if (!blocked_ && !ended_) flush();
}

void upstream::flush() {
  uint64_t sent = 0;
  const auto status = servers::pump(stream_, session_->output(), started_ ? reader_.get() : nullptr, &sent);
  metrics_.bytes_out.add(static_cast<int64_t>(sent));
  blocked_ = status == servers::pump_status::blocked;
  // A broken connection is seen by its reader, which also tells what the origin said last.
}

void upstream::finish() {
  finishing_ = true;
  half_close_if_done();
}

// FIN only after the last byte, and no close() before the origin's FIN: a close with unread acknowledgements in the
// socket is a reset.
void upstream::half_close_if_done() {
  if (!finishing_ || half_closed_ || blocked_ || ended_ || (reader_ && reader_->has_pending())) return;
  half_closed_ = true;
  session_->close_stream();
  flush();
  stream_.shutdown_write();
}

void upstream::send_command(std::string_view name, const std::vector<amf0::value>& arguments) {
  if (!session_ || ended_) return;
  session_->send_command(name, arguments);
  if (!blocked_) flush();
}

void upstream::pause_reading(bool on) {
  reading_paused_ = on;
  if (on || !std::exchange(read_waits_, false)) return;
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired() && !ended_) read_some();
  });
}

void upstream::say_goodbye() {
  if (!session_ || ended_ || !started_) return;
  if (reader_ && !reader_->at_boundary()) return;
  session_->close_stream();
  flush();
}

void upstream::watch_quiet() {
  if (numbered_ && plays_) timer_.arm_at(session_->last_received() + config_.quiet_max);
}

/// Whether the origin has spoken lately, on whatever connection. Where that is not known, this one is judged by itself.
bool upstream::heard_elsewhere(base::time_point now) const {
  if (!line_) return true;
  const auto heard = base::time_point(base::duration(line_->load(std::memory_order_relaxed)));
  return now - heard < config_.quiet_max;
}

void upstream::on_quiet() {
  const auto now = loop_.now();
  const auto last = session_->last_received();
  if (reading_paused_ || last + config_.quiet_max > now) {
    pinged_at_ = base::never;
    return timer_.arm_at(std::max(last + config_.quiet_max, now + std::chrono::milliseconds(100)));
  }
  const bool was_asked = pinged_at_ != base::never && last < pinged_at_;  // while this process itself stood still: no
  // An answer may be as old as the quiet time by now: it counts all the same. While the origin says nothing to anybody
  // the time to answer does not run.
  if (pinged_at_ == base::never || last >= pinged_at_ || !heard_elsewhere(now)) pinged_at_ = now;
  if (now - pinged_at_ >= config_.answer_max || (was_asked && now - last >= config_.silence_max))
    return end([](upstream_events& e) { e.on_lost(true, "origin_silent"); });
  session_->send_ping(now);
  if (!blocked_) flush();
  timer_.arm_after(config_.quiet_max);
}

void upstream::on_deadline() {
  if (started_ && numbered_ && plays_) return on_quiet();
  if (const auto ok = session_->on_timeout(loop_.now()); !ok)
    return end([started = started_, reason = ok.error().reason](upstream_events& e) { e.on_lost(started, reason); });
  if (!blocked_) flush();
  timer_.arm_at(session_->deadline());
}

void upstream::end(std::function<void(upstream_events&)> last_call) {
  if (std::exchange(ended_, true)) return;
  timer_.cancel();
  // The reader stays until the owner has heard of it: what was not sent must not leave the log before.
  if (stream_.is_open()) {
    loop_.unwatch(stream_.fd(), *this);
    stream_.close();
  }
  // Deferred: the owner may destroy this upstream in the call.
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_), last_call = std::move(last_call)] {
    if (!alive.expired()) last_call(*events_);
  });
}

}  // namespace sluice::relay
