#pragma once

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "proto/amf0/value.hpp"
#include "proto/rtmp/message.hpp"

namespace sluice::rtmp {

/// Limits and parameters of a session; one const instance is shared by all sessions of a server.
struct session_config {
  uint32_t message_bytes_max = 8u << 20;
  uint32_t chunk_streams_max = 64;
  uint32_t chunk_size_out = 60000;
  uint32_t window_ack_size = 2'500'000;
  uint32_t peer_bandwidth = 2'500'000;
  /// Of app, tcUrl and stream name: what a stream key takes (a query of 8,192, with tokens) and a path before it.
  uint32_t name_bytes_max = 8192 + 1024;
  base::duration handshake_timeout = std::chrono::seconds(5);
  base::duration command_timeout = std::chrono::seconds(10);  ///< from handshake to publish or play
  base::duration publisher_idle_timeout = std::chrono::seconds(30);
};

struct connect_request {
  std::string app, tc_url, page_url, swf_url, flash_ver;
  amf0::value command_object;  ///< its first 128 members, for what a proxy passes on (E-RTMP capabilities, `sluice`)
  amf0::value arguments;       ///< optional further argument, null if none
};
struct publish_request {
  uint32_t stream_id;
  std::string name;  ///< as sent, with its query
  std::string type;  ///< live, record, append
};
struct play_request {
  uint32_t stream_id;
  std::string name;
  double start = -2, duration = -1;
  bool reset = true;
};
/// A media, data or unknown message of a publisher.
struct media_message {
  message msg;
};
struct pause_request {
  uint32_t stream_id;
  bool pause;
  double position_ms;
};
/// receiveAudio / receiveVideo of a player.
struct receive_request {
  uint32_t stream_id;
  bool audio;  ///< else video
  bool on;
};
/// FCUnpublish, closeStream, deleteStream: what runs on that message stream ends; the connection goes on.
struct stream_closed {
  uint32_t stream_id;
};
using server_event = std::variant<connect_request, publish_request, play_request, media_message, pause_request,
                                  receive_request, stream_closed>;

/// The server's side of one RTMP connection, sans-IO (Adobe RTMP 1.0; Enhanced RTMP v2). Not thread-safe.
///
/// Feed receive(); then drain next_event(); answer connect, publish and play by accept or reject, at once or later;
/// send output(). Memory for messages: 64 KiB each and 256 KiB in all until a publish is accepted (larger media is read
/// past until then, a larger command is an error), then as session_config says. createStream, releaseStream, FCPublish,
/// getStreamLength, acknowledgements, pings, window sizes and aggregates are handled inside. An error from receive() or
/// on_timeout() means: send what is in output(), then close; error::reason is the metric label.
class server_session {
 public:
  /// `random`: for S1. `config` must outlive the session.
  server_session(const session_config& config, base::time_point now, uint64_t random_seed);
  ~server_session();
  server_session(const server_session&) = delete;
  server_session& operator=(const server_session&) = delete;

  base::result<void> receive(base::bytes_view bytes, base::time_point now);
  base::result<void> on_timeout(base::time_point now);
  /// When on_timeout() wants to be called next. Moves later by itself as bytes arrive, so a driver may look only when
  /// its timer fires.
  base::time_point deadline() const;
  std::optional<server_event> next_event();
  base::send_buffer& output();

  /// `extra` members are added to the information object of `_result` (E-RTMP capabilities).
  void accept_connect(const amf0::object& extra = {});
  /// `code` e.g. "NetConnection.Connect.Rejected". The caller closes the connection after output() is sent.
  void reject_connect(std::string_view code, std::string_view description);
  /// An answer to publish or play means the request that next_event() gave last for that stream; it is ignored if the
  /// client has ended or replaced that request meanwhile (the events say so).
  void accept_publish(uint32_t stream_id);
  /// `code` e.g. "NetStream.Publish.BadName".
  void reject_publish(uint32_t stream_id, std::string_view code, std::string_view description);
  /// StreamBegin, Play.Reset (if asked), Play.Start, |RtmpSampleAccess.
  void accept_play(uint32_t stream_id);
  void reject_play(uint32_t stream_id, std::string_view code, std::string_view description);
  /// onStatus of a running stream, e.g. NetStream.Play.UnpublishNotify, NetStream.Unpause.Notify.
  void send_status(uint32_t stream_id, std::string_view level, std::string_view code, std::string_view description);
  /// One message written whole into output(), chunked, with a type 0 header.
  void send_message(uint8_t type, uint32_t chunk_stream_id, uint32_t stream_id, uint32_t timestamp,
                    base::bytes_view payload);
  /// UserControl PingRequest; the answer refreshes deadline().
  void send_ping(base::time_point now);
  /// E-RTMP v2 NetConnection.Connect.ReconnectRequest, if the client announced it; false if it did not.
  bool request_reconnect(std::string_view tc_url, std::string_view description);

  /// Lifts the command timeout: for a control connection that a proxy holds only to send pings.
  void allow_idle();

  bool handshake_done() const;
  bool publishing() const;
  /// What the client says it has received, modulo 2^32 (its last Acknowledgement).
  uint32_t acknowledged() const;
  /// When the last answer to a ping came (at first: when the session began).
  base::time_point last_pong() const;
  uint64_t bytes_received() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace sluice::rtmp
