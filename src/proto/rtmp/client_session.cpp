#include "proto/rtmp/client_session.hpp"

#include <algorithm>
#include <utility>

#include "proto/rtmp/commands.hpp"
#include "proto/rtmp/connection.hpp"
#include "proto/rtmp/event_queue.hpp"

namespace sluice::rtmp {
namespace {

using base::fail;

/// Transactions, in the order of the calls; what servers in the field expect of an encoder (connect is 1 by §7.2.1.1).
constexpr double connect_call = 1, release_call = 2, fc_publish_call = 3, create_call = 4, start_call = 5;

/// What a player tells the server about its buffer; 3 s is FFmpeg's.
constexpr uint32_t buffer_length_ms = 3000;

/// Sets a member that is among the first `defaults`, or adds it. A name that the client repeats is passed on as often.
void set_member(amf0::object& object, size_t defaults, std::string_view name, amf0::value v) {
  const auto end = object.begin() + static_cast<std::ptrdiff_t>(defaults);
  const auto it = std::find_if(object.begin(), end, [&](const auto& m) { return m.first == name; });
  if (it != end) {
    it->second = std::move(v);
  } else {
    object.emplace_back(name, std::move(v));
  }
}

std::string text_of(const amf0::value& object, std::string_view member) {
  const auto* v = object.find(member);
  return std::string(v ? v->string_or("") : std::string_view());
}

}  // namespace

struct client_session::state final : connection_user {
  enum class phase : uint8_t { connecting, creating, starting, started };

  state(const session_config& config, client_request r, base::time_point now, uint64_t random_seed)
      : link(config, std::make_unique<client_handshake>(handshake_form::simple, random_seed), now),
        request(std::move(r)),
        connected_at(now) {
    // Before C0, which the connection has written already.
    if (!request.prefix.empty()) {
      auto& out = link.output().sink();
      out.insert(out.begin(), request.prefix.begin(), request.prefix.end());
      std::vector<uint8_t>().swap(request.prefix);
    }
  }

  connection link;
  event_queue<client_event, media_message> events;
  client_request request;
  base::time_point connected_at;
  uint32_t stream = 0;
  phase now_in = phase::connecting;

  void on_handshake_done() override { send_connect(); }
  base::result<void> on_message(message&& m) override;
  base::result<void> on_command(const message& m);
  base::result<void> on_result(command& c);
  void on_connected(command& c);
  void on_error(const command& c);
  void on_status(const command& c);
  void send_connect();
  void start(uint32_t stream_id);
  void started();
  void report(std::string level, std::string code, std::string description);
  std::pair<base::time_point, std::string_view> due() const;
};

// ---- outgoing ----

void client_session::state::send_connect() {
  amf0::object o{{"app", request.app}};
  if (request.intent == client_intent::publish) o.emplace_back("type", "nonprivate");
  o.emplace_back("flashVer",
                 request.intent == client_intent::publish ? "FMLE/3.0 (compatible; Sluice)" : "LNX 9,0,124,2");
  o.emplace_back("tcUrl", request.tc_url);
  if (request.intent != client_intent::publish) {
    o.emplace_back("fpad", false);
    o.emplace_back("capabilities", 15);
    o.emplace_back("audioCodecs", 4071);
    o.emplace_back("videoCodecs", 252);
    o.emplace_back("videoFunction", 1);
  }
  const size_t defaults = o.size();
  for (const auto& [name, v] : request.command_object.members()) {
    if (name != "app" && name != "tcUrl") set_member(o, defaults, name, v);
  }
  std::vector<amf0::value> values{std::move(o)};
  if (!request.arguments.is_null()) values.push_back(request.arguments);
  link.send_command(0, "connect", connect_call, values);
  request.command_object = {};
  request.arguments = {};
}

/// createStream was answered.
void client_session::state::start(uint32_t stream_id) {
  stream = stream_id;
  now_in = phase::starting;
  if (request.intent == client_intent::publish) {
    link.send_command(stream, "publish", start_call, {amf0::value(), request.name, "live"});
    return;
  }
  link.want_media(true);
  link.send_user_control(set_buffer_length, stream, buffer_length_ms);
  std::vector<amf0::value> values{amf0::value(), request.name, request.play_start};
  if (request.play_duration != -1) values.emplace_back(request.play_duration);
  link.send_command(stream, "play", start_call, values);
}

// ---- incoming ----

base::result<void> client_session::state::on_message(message&& m) {
  if (m.type == command_amf0 || m.type == command_amf3) return on_command(m);
  if (request.intent != client_intent::play || now_in < phase::starting) return {};
  // Some servers send no Play.Start.
  if (now_in == phase::starting) started();
  events.push(std::move(m));
  return {};
}

base::result<void> client_session::state::on_command(const message& m) {
  auto c = parse_command(m);
  if (!c) return tl::unexpected(std::move(c.error()));
  if (c->name == "_result") return on_result(*c);
  if (c->name == "_error") {
    on_error(*c);
  } else if (c->name == "onStatus") {
    on_status(*c);
  } else if (c->name == "close") {
    report("error", "NetConnection.Connect.Closed", "The server closes the connection.");
  }
  return {};  // onBWDone, onFCPublish and other notifications
}

base::result<void> client_session::state::on_result(command& c) {
  if (c.transaction == connect_call && now_in == phase::connecting) {
    on_connected(c);
  } else if (c.transaction == create_call && now_in == phase::creating) {
    const double id = c.argument(0).number_or(0);
    if (!(id >= 1 && id <= 4294967295.0)) return fail("bad_stream_id", "createStream was answered without a stream id");
    start(static_cast<uint32_t>(id));
  }
  return {};
}

void client_session::state::on_connected(command& c) {
  connected_at = link.last_received();
  now_in = phase::creating;
  link.send_window_ack_size(link.config().window_ack_size);
  link.send_chunk_size();
  if (request.intent == client_intent::publish) {
    link.send_command(0, "releaseStream", release_call, {amf0::value(), request.name});
    link.send_command(0, "FCPublish", fc_publish_call, {amf0::value(), request.name});
  }
  if (request.intent != client_intent::control) link.send_command(0, "createStream", create_call, {amf0::value()});
  events.push(client_connected{c.object(), c.argument(0)});
}

/// Servers without releaseStream or FCPublish answer these with _error, which means nothing.
void client_session::state::on_error(const command& c) {
  if (now_in == phase::started) return;
  const bool matters = c.transaction == connect_call || c.transaction == create_call || c.transaction == start_call;
  if (!matters) return;
  const auto& info = c.argument(0).members().empty() ? c.object() : c.argument(0);
  auto code = text_of(info, "code");
  if (code.empty())
    code = c.transaction == connect_call ? "NetConnection.Connect.Rejected" : "NetConnection.Call.Failed";
  report("error", std::move(code), text_of(info, "description"));
}

void client_session::state::on_status(const command& c) {
  // Usually behind a null command object; some servers leave that out.
  const auto& info = c.argument(0).members().empty() ? c.object() : c.argument(0);
  auto level = text_of(info, "level");
  auto code = text_of(info, "code");
  if (level != "error") {
    const bool starts =
        code == (request.intent == client_intent::publish ? "NetStream.Publish.Start" : "NetStream.Play.Start");
    if (starts) {
      if (now_in == phase::starting) started();
      return;
    }
    if (code == "NetStream.Play.Reset" || code == "NetStream.Data.Start") return;
  }
  report(std::move(level), std::move(code), text_of(info, "description"));
}

void client_session::state::started() {
  now_in = phase::started;
  events.push(client_started{});
}

void client_session::state::report(std::string level, std::string code, std::string description) {
  const bool refused = now_in != phase::started && level == "error";
  events.push(client_status{refused, std::move(level), std::move(code), std::move(description)});
}

std::pair<base::time_point, std::string_view> client_session::state::due() const {
  const auto& config = link.config();
  if (now_in == phase::connecting) return {link.started() + config.handshake_timeout, "handshake_timeout"};
  if (now_in == phase::started || request.intent == client_intent::control) return {base::never, ""};
  return {connected_at + config.command_timeout, "command_timeout"};
}

// ---- the public face ----

client_session::client_session(const session_config& config, client_request request, base::time_point now,
                               uint64_t random_seed)
    : state_(std::make_unique<state>(config, std::move(request), now, random_seed)) {}
client_session::~client_session() = default;

base::result<void> client_session::receive(base::bytes_view bytes, base::time_point now) {
  return state_->link.receive(bytes, now, *state_);
}

base::result<void> client_session::on_timeout(base::time_point now) {
  const auto [deadline, reason] = state_->due();
  if (now < deadline) return {};
  return fail(reason, "the server took too long");
}

base::time_point client_session::deadline() const { return state_->due().first; }
std::optional<client_event> client_session::next_event() { return state_->events.pop(); }
base::send_buffer& client_session::output() { return state_->link.output(); }

void client_session::send_message(uint8_t type, uint32_t chunk_stream_id, uint32_t timestamp,
                                  base::bytes_view payload) {
  state_->link.send_message(type, chunk_stream_id, state_->stream, timestamp, payload);
}

void client_session::send_command(std::string_view name, const std::vector<amf0::value>& arguments) {
  std::vector<amf0::value> values{amf0::value()};
  values.insert(values.end(), arguments.begin(), arguments.end());
  state_->link.send_command(state_->stream, name, 0, values);
}

void client_session::send_ping(base::time_point now) { state_->link.send_ping(now); }
base::time_point client_session::last_received() const { return state_->link.last_received(); }
base::time_point client_session::last_pong() const { return state_->link.last_pong(); }
uint32_t client_session::stream_id() const { return state_->stream; }
uint32_t client_session::acknowledged() const { return state_->link.acknowledged(); }
uint32_t client_session::chunk_size_out() const { return state_->link.chunk_size_out(); }

void client_session::close_stream() {
  auto& s = *state_;
  if (s.stream == 0) return;
  if (s.request.intent == client_intent::publish) {
    s.link.send_command(0, "FCUnpublish", 0, {amf0::value(), s.request.name});
  }
  s.link.send_command(0, "deleteStream", 0, {amf0::value(), static_cast<double>(s.stream)});
}

}  // namespace sluice::rtmp
