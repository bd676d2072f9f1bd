#include "relay/srt_session.hpp"

#include <fmt/format.h>

#include <cerrno>

namespace sluice::relay {
namespace {

// What is left of the handshake's time must be worth another try.
constexpr base::duration try_wait_min = std::chrono::milliseconds(300);
constexpr base::duration retry_interval = std::chrono::milliseconds(200);
// A caller is to hear of it before his own time is over.
constexpr base::duration answer_margin = std::chrono::milliseconds(100);
constexpr int socket_bytes = 1 << 20;
constexpr std::string_view origin_lost = "origin_lost", origin_gone = "origin_gone",
                           origin_unreachable = "origin_unreachable";

srt::reject reject_of(std::string_view reason) {
  if (reason == "stream_not_found") return srt::reject::not_found;
  if (reason == "no_origin") return srt::reject::down;
  if (reason == "already_published") return srt::reject::conflict;
  return srt::reject::overload;
}

/// Sessions that ran. An origin that is gone, or said so itself, need not hear it again.
bool is_origins_end(std::string_view reason) {
  return reason == origin_lost || reason == origin_gone || reason == origin_unreachable || reason == "origin_closed";
}

}  // namespace

srt_session::srt_session(srt_door& door, const runtime::udp_path& client, base::bytes_view conclusion,
                         cluster::srt_request request, const std::string& id)
    : door_(door),
      shard_(door.shard_),
      client_(client),
      key_(std::move(request.address.key)),
      publish_(request.publish),
      log_(shard_.log, id, "srt", client.peer, key_.str(), publish_ ? "publish" : "play"),
      session_(door.common_.limits.session, client.peer.address, conclusion,
               publish_ ? srt::reject::down : srt::reject::not_found, shard_.loop.now()),
      watch_(shard_.watchers, *this),
      follow_(shard_, *this),
      give_up_at_(shard_.loop.now() + door.common_.limits.session.handshake - answer_margin),
      timer_(shard_.loop, [this] { on_timer(); }) {}

void srt_session::release() {
  phase_ = phase::released;
  timer_.cancel();
  drop_question();
  close_upstream();
}

base::duration srt_session::time_left() const { return give_up_at_ - shard_.loop.now(); }

// ---- who has the stream

void srt_session::start() {
  publish_ ? claim() : find();
  settle();
}

void srt_session::claim() {
  cluster::claim_request request;
  request.session = log_.id();
  request.exclude = failed_;
  request.deadline = give_up_at_;
  request.by = cluster::transport::srt;
  claim_ = asking_ =
      shard_.control.claim(shard_.loop, key_, std::move(request),
                           [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> answer) {
                             if (!alive.expired()) found(std::move(answer));
                           });
}

void srt_session::find() {
  const auto wait =
      std::max<base::duration>(std::chrono::milliseconds(1), std::min(time_left(), shard_.config.play_wait));
  asking_ = shard_.control.find(shard_.loop, key_, wait,
                                [this, alive = std::weak_ptr<bool>(alive_)](base::result<cluster::assignment> answer) {
                                  if (!alive.expired()) found(std::move(answer));
                                });
}

void srt_session::found(base::result<cluster::assignment> answer) {
  asking_ = 0;
  if (phase_ != phase::handshake) return;
  if (!answer) {
    refuse(reject_of(answer.error().reason), answer.error().reason, answer.error().text);
  } else {
    to_ = std::move(*answer);
    endpoint_ = 0;
    dial();
  }
  settle();
}

/// What was asked and is not wanted any more; what was granted and will not be used.
void srt_session::drop_question() {
  if (asking_ != 0 && asking_ != claim_) shard_.control.cancel(asking_);
  // Somebody else may publish there with what this claim has written.
  if (claim_ != 0 && session_.end_reason() == "origin_refused") {
    shard_.control.claim_refused(claim_);
  } else if (claim_ != 0) {
    shard_.control.cancel(claim_);
  }
  asking_ = claim_ = 0;
}

// ---- the way to the origin

void srt_session::dial() {
  close_upstream();
  if (to_.srt.empty())
    return refuse(srt::reject::down, "no_endpoint", fmt::format("the origin server {} serves no SRT", to_.origin_id));
  auto* descriptors = shard_.config.upstream.descriptors;
  if (descriptors && !descriptors->take()) return refuse(srt::reject::overload, "no_descriptors", "the server is full");
  auto socket = runtime::udp_socket::connect(door_.io_, to_.srt[endpoint_++],
                                             {.receive_bytes = socket_bytes, .send_bytes = socket_bytes}, *this);
  if (!socket) {
    if (descriptors) descriptors->give();
    if (socket.error().reason == "no_descriptors")
      return refuse(srt::reject::overload, "no_descriptors", socket.error().text);
    return give_up_origin(origin_unreachable);
  }
  upstream_ = std::move(*socket);
  door_.upstream_cells_.connections.add(1);
  line_ = shard_.control.line_of(to_.origin_id);
  watch_.start(to_.origin_id);
  // Its other endpoints, and another origin, are to have their chance within the handshake's time.
  const bool is_last = endpoint_ == to_.srt.size();
  unanswered_at_ = shard_.loop.now() + door_.common_.limits.origin_answer / (is_last ? 1 : 2);
  session_.dial(shard_.loop.now());
}

void srt_session::close_upstream() {
  watch_.stop();
  if (!upstream_) return;
  upstream_.reset();
  door_.upstream_cells_.connections.add(-1);
  if (auto* descriptors = shard_.config.upstream.descriptors) descriptors->give();
}

/// It cannot be reached, or does not answer: its next endpoint, or (a publisher) another origin, or (a viewer) whoever
/// is the owner by then.
void srt_session::give_up_origin(std::string_view reason) {
  unanswered_at_ = base::never;
  const bool worth_it = time_left() > try_wait_min;
  if (worth_it && endpoint_ < to_.srt.size() && reason != origin_lost) return dial();
  close_upstream();
  shard_.control.dial_failed(to_.origin_id);
  if (!worth_it) return refuse(srt::reject::down, reason, "the origin server cannot be reached");
  if (!publish_) {
    retry_at_ = shard_.loop.now() + retry_interval;
    return;
  }
  failed_.push_back(to_.origin_id);
  if (failed_.size() >= shard_.config.claim_attempts)
    return refuse(srt::reject::down, "no_origin", "no origin server could be reached");
  claim();
}

void srt_session::refuse(srt::reject why, std::string_view reason, std::string_view text) {
  text_ = text;
  session_.refuse(why, reason, shard_.loop.now());
}

void srt_session::on_unreachable(runtime::udp_socket&, int error) {
  if (phase_ == phase::handshake) {
    // The kernel said so of this very socket, which goes.
    shard_.loop.defer([this, alive = std::weak_ptr<bool>(alive_)] {
      if (alive.expired() || phase_ != phase::handshake || !upstream_) return;
      give_up_origin(origin_unreachable);
      settle();
    });
    return;
  }
  if (phase_ != phase::running) return;
  // Nobody has this connection any more; whether the origin died of it is for others to know soon.
  shard_.control.origin_closed(shard_.loop, to_.origin_id, [](cluster::origin_verdict) {});
  session_.end(error == ECONNREFUSED ? origin_gone : origin_unreachable, shard_.loop.now());
  settle();
}

void srt_session::on_origin_lost(cluster::loss_reason reason) {
  if (phase_ == phase::running) {
    shard_.control.note(
        key_, {0, "lost", to_.origin_id, to_.epoch, reason == cluster::loss_reason::gone ? "gone" : "silent"});
    session_.end(origin_lost, shard_.loop.now());
  } else if (phase_ == phase::handshake) {
    give_up_origin(origin_lost);
  }
  settle();
}

void srt_session::on_owner_changed(const cluster::assignment& to) {
  if (phase_ != phase::running || to.origin_id == to_.origin_id) return;
  session_.end("owner_changed", shard_.loop.now());
  settle();
}

void srt_session::on_move(const cluster::action::move& what) {
  if (phase_ != phase::running || !publish_ || what.from != to_.epoch) return;
  shard_.control.note(key_, {0, "moved", to_.origin_id, to_.epoch, "drain"});
  session_.end("origin_drained", shard_.loop.now());
  settle();
}

// ---- datagrams

void srt_session::from_client(const runtime::datagram& d) {
  // The client is where his last datagram came from; his peer is the same, this host's address may have changed.
  client_.local = d.path.local;
  const auto verdict = session_.from_client(d.bytes, shard_.loop.now());
  bytes_in_ += d.bytes.size();
  if (!verdict.fault.empty()) door_.drop(verdict.fault);
  if (verdict.forward && upstream_) {
    upstream_->send(d.bytes);
    door_.upstream_cells_.bytes_out.add(static_cast<int64_t>(d.bytes.size()));
    if (phase_ == phase::running && session_.state() == srt::session_state::running) return;
  }
  settle();
}

void srt_session::on_datagrams(runtime::udp_socket&, std::span<const runtime::datagram> batch) {
  const auto now = shard_.loop.now();
  if (line_) note_heard(*line_, now);
  size_t bytes = 0;
  for (const auto& d : batch) {
    if (phase_ == phase::released) break;  // the one before was its end
    bytes += d.bytes.size();
    const auto verdict = session_.from_origin(d.bytes, now);
    if (!verdict.fault.empty()) door_.drop(verdict.fault);
    if (verdict.forward) {
      door_.socket_->send(client_, d.bytes);
      bytes_out_ += d.bytes.size();
      door_.bytes_out_.add(static_cast<int64_t>(d.bytes.size()));
    }
    if (phase_ != phase::running || session_.state() != srt::session_state::running) settle();
  }
  door_.upstream_cells_.bytes_in.add(static_cast<int64_t>(bytes));
}

/// What the conversation has to say, and what has become of it.
void srt_session::settle() {
  if (phase_ == phase::released) return;
  if (phase_ == phase::handshake && session_.state() == srt::session_state::running) on_running();
  while (const auto o = session_.poll()) {
    if (o->to_client) {
      door_.socket_->send_now(client_, o->bytes);
      bytes_out_ += o->bytes.size();
      door_.bytes_out_.add(static_cast<int64_t>(o->bytes.size()));
    } else if (upstream_) {
      upstream_->send_now(o->bytes);
      door_.upstream_cells_.bytes_out.add(static_cast<int64_t>(o->bytes.size()));
    }
  }
  if (phase_ != phase::ended && session_.state() == srt::session_state::ended) return on_ended();
  if (phase_ == phase::running && timer_.armed()) return;  // deadlines only move on
  timer_.arm_at(
      std::min({session_.next_deadline(), retry_at_, session_.origin_answered() ? base::never : unanswered_at_}));
}

void srt_session::on_timer() {
  const auto now = shard_.loop.now();
  if (phase_ == phase::ended) {
    if (session_.finished(now)) return door_.retire(*this);
    return settle();
  }
  if (phase_ == phase::handshake && now >= retry_at_) {
    retry_at_ = base::never;
    find();
  } else if (phase_ == phase::handshake && !session_.origin_answered() && now >= unanswered_at_) {
    if (publish_ || endpoint_ < to_.srt.size()) {
      give_up_origin("origin_silent");
    } else {
      unanswered_at_ = base::never;
    }
  }
  if (now >= session_.next_deadline()) session_.on_timeout(now);
  settle();
}

void srt_session::on_running() {
  unanswered_at_ = retry_at_ = base::never;
  timer_.cancel();
  if (!door_.route(*this)) {
    text_ = "another session of that address and port has the same socket id of its origin; call again";
    return session_.withdraw(srt::reject::down, "id_collision", shard_.loop.now());
  }
  routed_ = true;
  phase_ = phase::running;
  shard_.control.dial_ok(to_.origin_id);
  if (publish_) shard_.control.publish_started(key_, to_.epoch);
  published_ = publish_;
  claim_ = 0;
  follow_.start(key_);
  log_.started(to_.origin_id, shard_.loop.now());
}

void srt_session::on_ended() {
  const bool ran = phase_ == phase::running;
  phase_ = phase::ended;
  follow_.stop();
  watch_.stop();
  if (!ran && session_.end_reason() == "origin_silent" && upstream_) shard_.control.dial_failed(to_.origin_id);
  drop_question();
  if (std::exchange(published_, false)) shard_.control.publish_ended(key_, to_.epoch);
  door_.on_ended(*this);  // before it is said: whoever hears of it finds a free place
  if (ran) {
    log_.ended(session_.end_reason(), shard_.loop.now(), bytes_in_, bytes_out_, 0);
  } else {
    door_.count_refusal(session_.end_reason());
    log_.refused(static_cast<int>(session_.rejection()), session_.end_reason(), text_);
  }
  // Its callers come back all at once, and want descriptors.
  if (ran && is_origins_end(session_.end_reason())) close_upstream();
  if (session_.finished(shard_.loop.now())) {
    close_upstream();
    return door_.retire(*this);
  }
  timer_.arm_at(session_.next_deadline());
}

void srt_session::end(std::string_view reason) {
  session_.end(reason, shard_.loop.now());
  settle();
}

}  // namespace sluice::relay
