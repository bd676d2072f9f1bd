#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "proto/amf0/value.hpp"
#include "proto/rtmp/message.hpp"
#include "proto/rtmp/server_session.hpp"

namespace sluice::rtmp {

enum class client_intent { publish, play, control /* connect only: pings */ };

struct client_request {
  client_intent intent = client_intent::play;
  std::string app, tc_url, name;  ///< as the server shall see them
  amf0::value command_object;     ///< members override the defaults (flashVer, capabilities, `sluice` …)
  amf0::value arguments;
  std::vector<uint8_t> prefix;  ///< raw bytes before C0 (SRS's 0xF3 client address), or empty
  double play_start = -2, play_duration = -1;
};

/// The server answered connect; carries its information object (to see a Sluice origin's `sluice` member).
struct client_connected {
  amf0::value properties, information;
};
/// Publish.Start or Play.Start came: media may flow.
struct client_started {};
/// The server refused (an onStatus or _error of level error) or ended the stream; `code` as it sent it.
struct client_status {
  bool refused;  ///< before client_started
  std::string level, code, description;
};
using client_event = std::variant<client_connected, client_started, client_status, media_message>;

/// The client's side of one RTMP connection, sans-IO: handshake (simple), connect, createStream, then publish or play.
/// Same shape as server_session. The stream id that createStream returned is stream_id().
class client_session {
 public:
  client_session(const session_config& config, client_request request, base::time_point now, uint64_t random_seed);
  ~client_session();
  client_session(const client_session&) = delete;
  client_session& operator=(const client_session&) = delete;

  base::result<void> receive(base::bytes_view bytes, base::time_point now);
  base::result<void> on_timeout(base::time_point now);
  base::time_point deadline() const;
  std::optional<client_event> next_event();
  base::send_buffer& output();

  void send_message(uint8_t type, uint32_t chunk_stream_id, uint32_t timestamp, base::bytes_view payload);
  void send_command(std::string_view name,
                    const std::vector<amf0::value>& arguments);  ///< on the stream, no answer expected
  void send_ping(base::time_point now);
  /// When the last byte and the last ping answer came.
  base::time_point last_received() const;
  base::time_point last_pong() const;
  uint32_t stream_id() const;
  /// What the server says it has received, modulo 2^32 (its last Acknowledgement). Servers count from C0 or from behind
  /// the handshake.
  uint32_t acknowledged() const;
  uint32_t chunk_size_out() const;
  /// FCUnpublish + deleteStream.
  void close_stream();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace sluice::rtmp
