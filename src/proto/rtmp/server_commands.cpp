#include <algorithm>

#include "proto/rtmp/server_state.hpp"

namespace sluice::rtmp {
namespace {

using base::fail;

constexpr size_t message_streams_max = 8;
/// Of connect's command object. Flash has 12, Enhanced RTMP adds 5; a proxy keeps them as long as the session runs.
constexpr size_t connect_members_max = 128;

amf0::object first_members(const amf0::object& o) {
  return {o.begin(), o.begin() + static_cast<std::ptrdiff_t>(std::min(o.size(), connect_members_max))};
}

bool is_publisher(activity a) { return a == activity::publish_asked || a == activity::publishing; }

}  // namespace

base::result<void> server_session::state::on_message(message&& m) {
  if (m.type == command_amf0 || m.type == command_amf3) return on_command(m);
  // Media from a player, before the answer to publish or on another stream: nobody asked for it.
  if (find(m.stream_id, activity::publishing)) events.push(std::move(m));
  return {};
}

base::result<void> server_session::state::on_command(const message& m) {
  static constexpr std::pair<std::string_view, handler> handlers[] = {
      {"connect", &state::on_connect},
      {"createStream", &state::on_create_stream},
      {"publish", &state::on_publish},
      {"play", &state::on_play},
      {"pause", &state::on_pause},
      {"pauseRaw", &state::on_pause},
      {"seek", &state::on_seek},
      {"receiveAudio", &state::on_receive_audio},
      {"receiveVideo", &state::on_receive_video},
      {"FCPublish", &state::on_fc_publish},
      {"FCUnpublish", &state::on_fc_unpublish},
      {"closeStream", &state::on_close_stream},
      {"deleteStream", &state::on_delete_stream},
      {"getStreamLength", &state::on_length},
      {"getMovLength", &state::on_length},
      {"releaseStream", &state::on_polite},
      {"FCSubscribe", &state::on_polite},
      {"FCUnsubscribe", &state::on_polite},
      {"play2", &state::on_polite},
      {"setPeerInfo", &state::on_polite},
      {"_checkbw", &state::on_polite},
  };
  auto c = parse_command(m);
  if (!c) return tl::unexpected(std::move(c.error()));
  if (connect == phase::fresh && c->name != "connect") {
    return fail("protocol_violation", "a command before connect");
  }
  if (connect == phase::rejected) return {};
  for (const auto& [name, handle] : handlers) {
    if (name == c->name) return (this->*handle)(*c, m.stream_id);
  }
  // Answers and notifications ask for nothing. A call that we do not know is refused, as Flash Media Server does.
  const bool is_call = c->transaction != 0 && !c->name.starts_with('_') && !c->name.starts_with("on");
  if (is_call && !link.answers_blocked()) {
    send_error(c->transaction, "NetConnection.Call.Failed", "This server has no such method.");
  }
  return {};
}

base::result<void> server_session::state::on_connect(const command& c, uint32_t) {
  if (connect != phase::fresh) return fail("protocol_violation", "a second connect");
  connect_transaction = c.transaction;
  auto app = name_of(c.object().find("app") ? *c.object().find("app") : amf0::value(""));
  auto tc_url = name_of(c.object().find("tcUrl") ? *c.object().find("tcUrl") : amf0::value(""));
  if (!app || !tc_url) {
    connect = phase::rejected;
    send_error(c.transaction, "NetConnection.Connect.Rejected", "Names with control characters, or too long ones.");
    return tl::unexpected(std::move(app ? tc_url.error() : app.error()));
  }
  if (auto* v = c.object().find("objectEncoding")) object_encoding = v->number_or(0);
  if (auto* v = c.object().find("capsEx")) {
    const double bits = v->number_or(0);
    can_reconnect = bits >= 0 && bits < 4294967296.0 && (static_cast<uint32_t>(bits) & capability_reconnect) != 0;
  }
  connect = phase::asked;
  connect_request r;
  r.app = std::move(*app);
  r.tc_url = std::move(*tc_url);
  r.page_url = text_of(c.object(), "pageUrl");
  r.swf_url = text_of(c.object(), "swfUrl");
  r.flash_ver = text_of(c.object(), "flashVer");
  r.command_object = first_members(c.object().members());
  r.arguments = c.argument(0);
  events.push(std::move(r));
  return {};
}

base::result<void> server_session::state::on_create_stream(const command& c, uint32_t) {
  if (streams.size() >= message_streams_max) {
    if (!link.answers_blocked()) {
      send_error(c.transaction, "NetConnection.Call.Failed", "Too many streams on one connection.");
    }
    return {};
  }
  streams.push_back({++last_stream_id});
  send_result(c.transaction, {amf0::value(), static_cast<double>(last_stream_id)});
  return {};
}

/// publish and play want a stream that exists; what ran on it before ends.
base::result<message_stream*> server_session::state::stream_for(const command& c, uint32_t stream_id) {
  auto* s = find(stream_id);
  if (!s) return fail("protocol_violation", c.name + " on a stream that was not created");
  if (stop(*s)) events.push(stream_closed{s->id});
  return s;
}

base::result<void> server_session::state::on_publish(const command& c, uint32_t stream_id) {
  auto s = stream_for(c, stream_id);
  if (!s) return tl::unexpected(std::move(s.error()));
  if (std::holds_alternative<bool>(c.argument(0).get())) return {};  // publish(false): "stop" is all that it says
  auto name = name_of(c.argument(0));
  if (!name) {
    send_status(stream_id, "error", "NetStream.Publish.BadName", "This name cannot be published.");
    return tl::unexpected(std::move(name.error()));
  }
  (*s)->what = activity::publish_asked;
  ++(*s)->undelivered;
  (*s)->name = *name;
  auto type = c.argument(1).string_or("live");
  if (type != "record" && type != "append") type = "live";
  events.push(publish_request{stream_id, std::move(*name), std::string(type)});
  return {};
}

base::result<void> server_session::state::on_play(const command& c, uint32_t stream_id) {
  auto s = stream_for(c, stream_id);
  if (!s) return tl::unexpected(std::move(s.error()));
  if (std::holds_alternative<bool>(c.argument(0).get())) return {};  // play(false)
  auto name = name_of(c.argument(0));
  if (!name) {
    send_status(stream_id, "error", "NetStream.Play.Failed", "This name cannot be played.");
    return tl::unexpected(std::move(name.error()));
  }
  play_request r{stream_id, std::move(*name), c.argument(1).number_or(-2), c.argument(2).number_or(-1), true};
  // Boolean in the specification (§7.2.2.1); Flash also has numbers, of which 0 and 2 keep what plays.
  const auto& reset = c.argument(3);
  const double number = reset.number_or(1);
  r.reset = reset.boolean_or(number != 0 && number != 2);
  (*s)->what = activity::play_asked;
  ++(*s)->undelivered;
  (*s)->play_reset = r.reset;
  events.push(std::move(r));
  return {};
}

base::result<void> server_session::state::on_pause(const command& c, uint32_t stream_id) {
  if (find(stream_id, activity::playing)) {
    events.push(pause_request{stream_id, c.argument(0).boolean_or(true), c.argument(1).number_or(0)});
  }
  return {};
}

base::result<void> server_session::state::on_receive(const command& c, uint32_t stream_id, bool audio) {
  if (find(stream_id, activity::playing)) {
    events.push(receive_request{stream_id, audio, c.argument(0).boolean_or(true)});
  }
  return {};
}

/// There is nowhere to go in a live stream. nginx-rtmp says Notify too; an error would make FFmpeg give up.
base::result<void> server_session::state::on_seek(const command&, uint32_t stream_id) {
  if (find(stream_id, activity::playing) && !link.answers_blocked()) {
    send_status(stream_id, "status", "NetStream.Seek.Notify", "A live stream goes on where it is.");
  }
  return {};
}

base::result<void> server_session::state::on_fc_publish(const command& c, uint32_t stream_id) {
  wants_fc_publish = true;
  return on_polite(c, stream_id);
}

/// Sent on stream 0, with the name; some encoders send it on the stream itself.
base::result<void> server_session::state::on_fc_unpublish(const command& c, uint32_t stream_id) {
  const auto name = c.argument(0).string_or("");
  auto s = std::find_if(streams.begin(), streams.end(), [&](const message_stream& m) {
    return is_publisher(m.what) && (m.id == stream_id || m.name == name);
  });
  if (s != streams.end()) {
    const uint32_t id = s->id;
    stop(*s);
    events.push(stream_closed{id});
    auto info = status_object("status", "NetStream.Unpublish.Success", "Stop publishing stream.");
    link.send_command(id, "onFCUnpublish", 0, {amf0::value(), info});
    link.send_command(id, "onStatus", 0, {amf0::value(), info});
  }
  return on_polite(c, stream_id);
}

base::result<void> server_session::state::on_close_stream(const command&, uint32_t stream_id) {
  if (auto* s = find(stream_id); s && stop(*s)) events.push(stream_closed{stream_id});
  return {};
}

base::result<void> server_session::state::on_delete_stream(const command& c, uint32_t stream_id) {
  const double wanted = c.argument(0).number_or(stream_id);
  for (auto s = streams.begin(); s != streams.end(); ++s) {
    if (s->id != wanted) continue;
    if (stop(*s)) events.push(stream_closed{s->id});
    streams.erase(s);
    break;
  }
  return {};
}

/// 0: a live stream has no length.
base::result<void> server_session::state::on_length(const command& c, uint32_t) {
  if (c.transaction != 0 && !link.answers_blocked()) send_result(c.transaction, {amf0::value(), 0.0});
  return {};
}

/// Calls that have no effect here, whose callers want to hear something.
base::result<void> server_session::state::on_polite(const command& c, uint32_t) {
  if (c.transaction != 0 && !link.answers_blocked()) {
    send_result(c.transaction, {amf0::value(), amf0::value(amf0::value::storage(amf0::undefined{}))});
  }
  return {};
}

}  // namespace sluice::rtmp
