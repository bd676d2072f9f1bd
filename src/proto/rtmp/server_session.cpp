#include "proto/rtmp/server_session.hpp"

#include <algorithm>

#include "proto/rtmp/server_state.hpp"

namespace sluice::rtmp {

using base::fail;

// ---- streams ----

message_stream* server_session::state::find(uint32_t id) {
  for (auto& s : streams) {
    if (s.id == id) return &s;
  }
  return nullptr;
}

message_stream* server_session::state::find(uint32_t id, activity what) {
  auto* s = find(id);
  return s && s->what == what ? s : nullptr;
}

bool server_session::state::any(activity what) const {
  return std::any_of(streams.begin(), streams.end(), [&](const message_stream& s) { return s.what == what; });
}

/// Ends what runs on a stream; false if nothing did.
bool server_session::state::stop(message_stream& s) {
  if (s.what == activity::none) return false;
  s.what = activity::none;
  s.name.clear();
  restart_waiting = true;
  return true;
}

/// The stream whose request an answer of ours means; nullptr: the client has gone on meanwhile.
message_stream* server_session::state::answerable(uint32_t id, activity asked) {
  auto* s = find(id, asked);
  return s && s->undelivered == 0 ? s : nullptr;
}

void server_session::state::delivered(const server_event& e) {
  message_stream* s = nullptr;
  if (const auto* p = std::get_if<publish_request>(&e)) s = find(p->stream_id);
  if (const auto* p = std::get_if<play_request>(&e)) s = find(p->stream_id);
  if (s) --s->undelivered;
}

/// Our answer to publish or play: the time until it came is not the client's.
void server_session::state::answered(message_stream& s, activity now_is) {
  s.what = now_is;
  restart_waiting = true;
}

// ---- outgoing ----

/// A client may ask on without waiting for the answer to connect, and expects the answers in the order it asked.
void server_session::state::answer(std::string_view name, double transaction, const std::vector<amf0::value>& values) {
  if (connect != phase::asked) return link.send_command(0, name, transaction, values);
  if (held_bytes > connection::answers_max) return;
  held_answers.push_back(encode_command(name, transaction, values));
  held_bytes += held_answers.back().size() + chunk_header_size_max;
}

void server_session::state::release_answers() {
  for (const auto& payload : held_answers) link.send_message(command_amf0, command_chunk_stream, 0, 0, payload);
  held_answers = {};
  held_bytes = 0;
}

void server_session::state::send_result(double transaction, std::vector<amf0::value> values) {
  answer("_result", transaction, values);
}

void server_session::state::send_error(double transaction, std::string_view code, std::string_view description) {
  answer("_error", transaction, {amf0::value(), status_object("error", code, description)});
}

void server_session::state::send_status(uint32_t stream_id, std::string_view level, std::string_view code,
                                        std::string_view description) {
  link.send_command(stream_id, "onStatus", 0, {amf0::value(), status_object(level, code, description)});
}

// ---- names and times ----

base::result<std::string> server_session::state::name_of(const amf0::value& v) const {
  const auto* text = std::get_if<std::string>(&v.get());
  if (!text || !is_clean_name(*text, link.config().name_bytes_max)) {
    return fail("bad_name", "a name that is too long, has control characters or is no string");
  }
  return *text;
}

/// For people only, so a bad one is left out instead of refused.
std::string server_session::state::text_of(const amf0::value& object, std::string_view member) const {
  const auto* v = object.find(member);
  auto text = v ? v->string_or("") : std::string_view();
  return std::string(is_clean_name(text, link.config().name_bytes_max) ? text : std::string_view());
}

bool server_session::state::waits_for_us() const {
  return connect == phase::asked || any(activity::publish_asked) || any(activity::play_asked);
}

/// The deadline that holds now, and what it is called when it passes.
std::pair<base::time_point, std::string_view> server_session::state::due() const {
  const auto& config = link.config();
  if (!link.handshake_done()) return {link.started() + config.handshake_timeout, "handshake_timeout"};
  if (waits_for_us()) return {base::never, ""};
  if (any(activity::publishing)) return {link.last_received() + config.publisher_idle_timeout, "publisher_idle"};
  if (any(activity::playing) || idle_allowed) return {base::never, ""};
  return {waiting_since + config.command_timeout, "command_timeout"};
}

/// accept, reject and close come without a time; the next time that we hear counts.
void server_session::state::settle_clock(base::time_point now) {
  if (std::exchange(restart_waiting, false)) waiting_since = now;
}

// ---- the public face ----

server_session::server_session(const session_config& config, base::time_point now, uint64_t random_seed)
    : state_(std::make_unique<state>(config, now, random_seed)) {}
server_session::~server_session() = default;

base::result<void> server_session::receive(base::bytes_view bytes, base::time_point now) {
  state_->settle_clock(now);
  auto ok = state_->link.receive(bytes, now, *state_);
  state_->settle_clock(now);
  return ok;
}

base::result<void> server_session::on_timeout(base::time_point now) {
  state_->settle_clock(now);
  const auto [deadline, reason] = state_->due();
  if (now < deadline) return {};
  return fail(reason, "the client took too long");
}

base::time_point server_session::deadline() const { return state_->due().first; }
std::optional<server_event> server_session::next_event() {
  auto e = state_->events.pop();
  if (e) state_->delivered(*e);
  return e;
}

base::send_buffer& server_session::output() { return state_->link.output(); }

void server_session::accept_connect(const amf0::object& extra) {
  auto& s = *state_;
  if (s.connect != state::phase::asked) return;
  s.connect = state::phase::accepted;
  s.restart_waiting = true;
  const auto& config = s.link.config();
  s.link.send_window_ack_size(config.window_ack_size);
  s.link.send_peer_bandwidth(config.peer_bandwidth);
  s.link.send_chunk_size();
  // No onBWDone: FFmpeg and librtmp answer it with a _checkbw call, and neither waits for it.
  amf0::object properties{{"fmsVer", "FMS/3,5,3,888"}, {"capabilities", 127}, {"mode", 1}};
  auto info = status_object("status", "NetConnection.Connect.Success", "Connection succeeded");
  info.emplace_back("objectEncoding", s.object_encoding);
  amf0::ecma_array data{{{"version", "3,5,3,888"}, {"server", "Sluice/" SLUICE_VERSION}}};
  info.emplace_back("data", amf0::value::storage(std::move(data)));
  info.insert(info.end(), extra.begin(), extra.end());
  s.send_result(s.connect_transaction, {std::move(properties), std::move(info)});
  s.release_answers();
}

void server_session::reject_connect(std::string_view code, std::string_view description) {
  if (state_->connect != state::phase::asked) return;
  state_->connect = state::phase::rejected;
  state_->held_answers = {};
  state_->restart_waiting = true;
  state_->send_error(state_->connect_transaction, code, description);
}

void server_session::accept_publish(uint32_t stream_id) {
  auto* stream = state_->answerable(stream_id, activity::publish_asked);
  if (!stream) return;
  state_->answered(*stream, activity::publishing);
  state_->link.want_media(true);
  if (state_->wants_fc_publish) {
    auto info = status_object("status", "NetStream.Publish.Start", "Started publishing stream.");
    state_->link.send_command(stream_id, "onFCPublish", 0, {amf0::value(), std::move(info)});
  }
  state_->send_status(stream_id, "status", "NetStream.Publish.Start", "Started publishing stream.");
}

void server_session::reject_publish(uint32_t stream_id, std::string_view code, std::string_view description) {
  auto* stream = state_->answerable(stream_id, activity::publish_asked);
  if (!stream) return;
  state_->answered(*stream, activity::none);
  state_->send_status(stream_id, "error", code, description);
}

void server_session::accept_play(uint32_t stream_id) {
  auto* stream = state_->answerable(stream_id, activity::play_asked);
  if (!stream) return;
  state_->answered(*stream, activity::playing);
  auto& link = state_->link;
  link.send_user_control(stream_begin, stream_id);
  if (stream->play_reset) {
    state_->send_status(stream_id, "status", "NetStream.Play.Reset", "Playing and resetting stream.");
  }
  state_->send_status(stream_id, "status", "NetStream.Play.Start", "Started playing stream.");
  std::vector<uint8_t> access;
  amf0::encode_all({"|RtmpSampleAccess", true, true}, access);
  link.send_message(data_amf0, stream_chunk_stream, stream_id, 0, access);
}

void server_session::reject_play(uint32_t stream_id, std::string_view code, std::string_view description) {
  auto* stream = state_->answerable(stream_id, activity::play_asked);
  if (!stream) return;
  state_->answered(*stream, activity::none);
  state_->send_status(stream_id, "error", code, description);
}

void server_session::send_status(uint32_t stream_id, std::string_view level, std::string_view code,
                                 std::string_view description) {
  state_->send_status(stream_id, level, code, description);
}

void server_session::send_message(uint8_t type, uint32_t chunk_stream_id, uint32_t stream_id, uint32_t timestamp,
                                  base::bytes_view payload) {
  state_->link.send_message(type, chunk_stream_id, stream_id, timestamp, payload);
}

void server_session::send_ping(base::time_point now) { state_->link.send_ping(now); }

bool server_session::request_reconnect(std::string_view tc_url, std::string_view description) {
  if (!state_->can_reconnect) return false;
  auto info = status_object("status", "NetConnection.Connect.ReconnectRequest", description);
  if (!tc_url.empty()) info.emplace_back("tcUrl", tc_url);
  state_->link.send_command(0, "onStatus", 0, {amf0::value(), std::move(info)});
  return true;
}

void server_session::allow_idle() { state_->idle_allowed = true; }
bool server_session::handshake_done() const { return state_->link.handshake_done(); }
bool server_session::publishing() const { return state_->any(activity::publishing); }
uint64_t server_session::bytes_received() const { return state_->link.bytes_received(); }
uint32_t server_session::acknowledged() const { return state_->link.acknowledged(); }
base::time_point server_session::last_pong() const { return state_->link.last_pong(); }

}  // namespace sluice::rtmp
