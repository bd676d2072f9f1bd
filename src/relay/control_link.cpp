#include "relay/control_link.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "servers/rtmp/capabilities.hpp"

namespace sluice::relay {
namespace {

using cluster::probe_answer;

constexpr int reads_per_turn = 4;
// A link on which a ping has waited for so long is taken for lost: the next ping makes a new one.
constexpr base::duration stale_after = std::chrono::seconds(2);
// An origin that hangs up so often before it has answered connect keeps no control connections.
constexpr unsigned failed_greetings_max = 3;
constexpr base::duration user_timeout = std::chrono::seconds(20);
constexpr base::duration keepalive_idle = std::chrono::seconds(15);

rtmp::client_request request_to(const base::endpoint& to) {
  rtmp::client_request request;
  request.intent = rtmp::client_intent::control;
  request.app = "control";
  request.tc_url = fmt::format("rtmp://{}/control", to.to_string());
  request.command_object = amf0::object{{"sluice", servers::peer_note{.control = true}.to_amf()}};
  return request;
}

}  // namespace

control_link::control_link(runtime::loop& l, const rtmp::session_config& config, std::shared_ptr<origin_line> line,
                           std::function<void()> on_broken)
    : loop_(l),
      config_(config),
      line_(std::move(line)),
      on_broken_(std::move(on_broken)),
      timer_(l, [this] { on_timeout(); }),
      redial_(l, [this] { dial(); }) {}

control_link::~control_link() { hang_up(); }

void control_link::ping(const std::vector<base::endpoint>& targets, base::duration timeout, probe_done done) {
  if (unsupported_) {
    const cluster::action::probe handshake{
        .kind = cluster::probe_kind::rtmp_handshake, .targets = targets, .timeout = timeout};
    handshake_ = probe_origin(loop_, handshake, std::move(done));
    return;
  }
  done_ = std::move(done);
  breaks_ = 0;
  timer_.arm_after(timeout);
  const bool stale = unanswered_since_ != base::never && loop_.now() - unanswered_since_ >= stale_after;
  if (stale || (!targets_.empty() && targets_ != targets)) hang_up();
  targets_ = targets;
  if (state_ == state::ready) return send_ping();
  if (state_ == state::greeting) return;  // it has begun to answer: its next words will do
  hang_up();
  dial();
}

void control_link::send_ping() {
  if (unanswered_since_ == base::never) unanswered_since_ = loop_.now();
  // Pings that the origin does not read pile up nowhere: the first of them still asks.
  if (session_->output().empty()) session_->send_ping(loop_.now());
  flush();
}

void control_link::dial() {
  state_ = state::dialling;
  dials_left_ = targets_.size();
  all_refused_ = true;
  if (targets_.empty()) return answer(probe_answer::silent);
  for (const auto& to : targets_)
    dials_.push_back(std::make_unique<runtime::tcp_connector>(
        loop_, to, base::duration::max(),  // the ping's own timeout ends it
        [this](base::result<runtime::tcp_stream> stream) { on_dialled(std::move(stream)); }));
}

void control_link::on_dialled(base::result<runtime::tcp_stream> stream) {
  if (stream) return greet(std::move(*stream));
  // Our own lack of descriptors says nothing of the origin, unless it has just hung up.
  if (stream.error().reason == "resources" && breaks_ == 0) return answer(probe_answer::ok);
  if (stream.error().reason != "refused") all_refused_ = false;
  if (--dials_left_ == 0) answer(all_refused_ ? probe_answer::gone : probe_answer::silent);
}

void control_link::greet(runtime::tcp_stream stream) {
  stream_ = std::move(stream);
  const auto to = stream_.remote();
  dials_.clear();
  state_ = state::greeting;
  stream_.set_backstop(user_timeout, keepalive_idle);
  const auto seed = static_cast<uint64_t>(loop_.now().time_since_epoch().count()) ^ reinterpret_cast<uintptr_t>(this);
  session_ = std::make_unique<rtmp::client_session>(config_, request_to(to), loop_.now(), seed);
  if (!loop_.watch(stream_.fd(), *this)) return answer(breaks_ == 0 ? probe_answer::ok : probe_answer::silent);
  flush();
}

void control_link::on_io(runtime::io_ready ready) {
  if (ready.readable || ready.hangup) read_some();
  if (session_ && ready.writable) flush();
}

void control_link::read_some() {
  for (int turn = 0; turn < reads_per_turn; ++turn) {
    const auto got = stream_.read(loop_.read_buffer(), runtime::loop::read_buffer_size);
    if (got.status == runtime::io_status::would_block) return;
    if (got.status != runtime::io_status::ok) return broken();
    note_heard(*line_, loop_.now());
    const auto pong_before = session_->last_pong();
    const auto ok = session_->receive({loop_.read_buffer(), got.bytes}, loop_.now());
    if (!ok) return broken();
    if (state_ == state::greeting || session_->last_pong() != pong_before) {
      unanswered_since_ = base::never;
      answer(probe_answer::ok);
    }
    handle_events();
    if (!session_) return;
    flush();
  }
  loop_.defer([this, alive = std::weak_ptr<bool>(alive_)] {
    if (!alive.expired() && session_) read_some();
  });
}

void control_link::handle_events() {
  while (session_) {
    const auto event = session_->next_event();
    if (!event) return;
    if (const auto* connected = std::get_if<rtmp::client_connected>(&*event)) {
      failed_greetings_ = 0;
      state_ = state::ready;
      // Who does not say so would end the link when no publish or play follows.
      unsupported_ = !servers::keeps_control_connections(connected->information);
      if (unsupported_) hang_up();
    } else if (const auto* status = std::get_if<rtmp::client_status>(&*event); status && status->refused) {
      unsupported_ = true;
      hang_up();
    }
  }
}

void control_link::flush() {
  auto& out = session_->output();
  while (!out.empty()) {
    const auto wrote = stream_.write(out.pending());
    if (wrote.status != runtime::io_status::ok) return;  // a broken connection is seen by its reader
    out.consume(wrote.bytes);
  }
}

/// The origin has hung up. What that means is seen by dialling it again: at once if a ping is out, else by whoever is
/// told.
void control_link::broken() {
  const bool was_ready = state_ == state::ready;
  hang_up();
  if (!was_ready && ++failed_greetings_ >= failed_greetings_max) unsupported_ = true;
  if (done_) {
    // Somebody who accepts and hangs up each time is there; but that is no answer.
    if (++breaks_ > redials_max) return answer(probe_answer::silent);
    state_ = state::dialling;
    redial_.arm_after(redial_pause);
    return;
  }
  if (was_ready)
    loop_.post([this, alive = std::weak_ptr<bool>(alive_)] {
      if (!alive.expired() && !done_ && state_ == state::closed) on_broken_();
    });
}

void control_link::hang_up() {
  redial_.cancel();
  dials_.clear();
  session_.reset();
  unanswered_since_ = base::never;
  state_ = state::closed;
  if (!stream_.is_open()) return;
  loop_.unwatch(stream_.fd(), *this);
  stream_.abort();  // leaves nothing in TIME_WAIT
}

void control_link::on_timeout() { answer(probe_answer::silent); }

void control_link::answer(probe_answer a) {
  timer_.cancel();
  // What has not been connected by then is tried anew by the next ping.
  if (a != probe_answer::ok && state_ != state::ready) hang_up();
  if (!done_) return;
  loop_.post([alive = std::weak_ptr<bool>(alive_), done = std::exchange(done_, nullptr), a] {
    if (!alive.expired()) done({a, std::nullopt});
  });
}

control_links::control_links(runtime::loop& l, origin_lines& lines, broken_fn on_broken)
    : loop_(l), lines_(lines), on_broken_(std::move(on_broken)) {}

void control_links::ping(const cluster::action::probe& p, probe_done done) {
  auto& link = links_[p.origin_id];
  if (!link)
    link = std::make_unique<control_link>(loop_, config_, lines_.of(p.origin_id),
                                          [this, id = p.origin_id] { on_broken_(id); });
  link->ping(p.targets, p.timeout, std::move(done));
}

void control_links::forget(const std::function<bool(const std::string&)>& known) {
  std::erase_if(links_, [&](const auto& l) { return !known(l.first); });
}

}  // namespace sluice::relay
