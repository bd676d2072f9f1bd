#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "proto/rtmp/commands.hpp"
#include "proto/rtmp/connection.hpp"
#include "proto/rtmp/event_queue.hpp"
#include "proto/rtmp/server_session.hpp"

// The inside of server_session, shared by server_session.cpp (its face and its state) and server_commands.cpp (what
// commands do).

namespace sluice::rtmp {

enum class activity : uint8_t { none, publish_asked, publishing, play_asked, playing };

/// What createStream makes.
struct message_stream {
  uint32_t id;
  activity what = activity::none;
  bool play_reset = false;
  // publish and play events that are still in the queue. While there is one, an answer means an earlier request, which
  // the client has already replaced: it must not open the later one, of another name perhaps.
  uint32_t undelivered = 0;
  std::string name{};  // of a publisher: FCUnpublish speaks of it by name
};

struct server_session::state final : connection_user {
  enum class phase : uint8_t { fresh, asked, accepted, rejected };
  using handler = base::result<void> (state::*)(const command&, uint32_t stream_id);

  state(const session_config& config, base::time_point now, uint64_t random_seed)
      : link(config, std::make_unique<server_handshake>(random_seed), now), waiting_since(now) {}

  connection link;
  event_queue<server_event, media_message> events;
  std::vector<message_stream> streams;
  // Answers to what was asked behind a connect that is not answered yet: they follow its answer.
  std::vector<std::vector<uint8_t>> held_answers;
  size_t held_bytes = 0;
  double connect_transaction = 0;
  double object_encoding = 0;
  base::time_point waiting_since;  // since when the client owes us a command
  uint32_t last_stream_id = 0;
  phase connect = phase::fresh;
  bool restart_waiting = false;  // waiting_since is to become the next time that we are told
  bool wants_fc_publish = false;
  bool can_reconnect = false;
  bool idle_allowed = false;

  void on_handshake_done() override { waiting_since = link.last_received(); }
  base::result<void> on_message(message&& m) override;
  base::result<void> on_command(const message& m);

  base::result<void> on_connect(const command& c, uint32_t);
  base::result<void> on_create_stream(const command& c, uint32_t);
  base::result<void> on_publish(const command& c, uint32_t stream_id);
  base::result<void> on_play(const command& c, uint32_t stream_id);
  base::result<void> on_pause(const command& c, uint32_t stream_id);
  base::result<void> on_receive_audio(const command& c, uint32_t stream_id) { return on_receive(c, stream_id, true); }
  base::result<void> on_receive_video(const command& c, uint32_t stream_id) { return on_receive(c, stream_id, false); }
  base::result<void> on_receive(const command& c, uint32_t stream_id, bool audio);
  base::result<void> on_seek(const command& c, uint32_t stream_id);
  base::result<void> on_fc_publish(const command& c, uint32_t stream_id);
  base::result<void> on_fc_unpublish(const command& c, uint32_t stream_id);
  base::result<void> on_close_stream(const command& c, uint32_t stream_id);
  base::result<void> on_delete_stream(const command& c, uint32_t stream_id);
  base::result<void> on_length(const command& c, uint32_t);
  base::result<void> on_polite(const command& c, uint32_t);

  message_stream* find(uint32_t id);
  message_stream* find(uint32_t id, activity what);
  bool any(activity what) const;
  bool waits_for_us() const;
  base::result<message_stream*> stream_for(const command& c, uint32_t stream_id);
  bool stop(message_stream& s);
  message_stream* answerable(uint32_t id, activity asked);
  void delivered(const server_event& e);
  void answered(message_stream& s, activity now_is);
  void answer(std::string_view name, double transaction, const std::vector<amf0::value>& values);
  void release_answers();
  void send_result(double transaction, std::vector<amf0::value> values);
  void send_error(double transaction, std::string_view code, std::string_view description);
  void send_status(uint32_t stream_id, std::string_view level, std::string_view code, std::string_view description);
  base::result<std::string> name_of(const amf0::value& v) const;
  std::string text_of(const amf0::value& object, std::string_view member) const;
  std::pair<base::time_point, std::string_view> due() const;
  void settle_clock(base::time_point now);
};

}  // namespace sluice::rtmp
