#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/result.hpp"
#include "base/time.hpp"
#include "proto/amf0/value.hpp"
#include "proto/rtmp/chunk_reader.hpp"
#include "proto/rtmp/handshake.hpp"
#include "proto/rtmp/server_session.hpp"

namespace sluice::rtmp {

/// Chunk streams on which we send, those that Flash servers use.
enum chunk_stream_id : uint32_t { control_chunk_stream = 2, command_chunk_stream = 3, stream_chunk_stream = 5 };

/// What a session makes of its connection.
class connection_user : public message_sink {
 public:
  /// Before the first byte behind the handshake is read.
  virtual void on_handshake_done() = 0;

 protected:
  ~connection_user() = default;
};

/// One RTMP connection without a side: handshake, chunk stream both ways, control messages (RTMP 1.0 §5.4, §7.1.7),
/// acknowledgements, pings, aggregates. What it does not handle itself goes to the user: commands, media, data and
/// unknown types.
class connection : private message_sink {
 public:
  /// Unsent output beyond which no more answers to pings, windows and refused calls are added: a peer that asks without
  /// reading gets nothing, and costs nothing.
  static constexpr size_t answers_max = 64 * 1024;

  connection(const session_config& config, std::unique_ptr<handshake> h, base::time_point now);

  /// Errors: those of handshake and chunk_reader, bad_control_message, bad_aggregate, and what the user returns.
  base::result<void> receive(base::bytes_view bytes, base::time_point now, connection_user& user);

  base::send_buffer& output() { return output_; }
  const session_config& config() const { return *config_; }
  bool handshake_done() const { return !handshake_; }
  bool answers_blocked() const { return output_.size() > answers_max; }
  uint64_t bytes_received() const { return bytes_received_; }
  /// What the peer says it has received, modulo 2^32.
  uint32_t acknowledged() const { return acknowledged_; }
  uint32_t chunk_size_out() const { return chunk_size_out_; }
  base::time_point started() const { return started_; }
  base::time_point last_received() const { return last_received_; }
  base::time_point last_pong() const { return last_pong_; }

  /// Whether media above 64 KiB is taken in; at first it is not (chunk_reader::want_media).
  void want_media(bool on) { reader_.want_media(on); }

  void send_message(uint8_t type, uint32_t chunk_stream_id, uint32_t stream_id, uint32_t timestamp,
                    base::bytes_view payload);
  /// A command of stream 0, or of a message stream.
  void send_command(uint32_t stream_id, std::string_view name, double transaction,
                    const std::vector<amf0::value>& values);
  void send_window_ack_size(uint32_t bytes);
  void send_peer_bandwidth(uint32_t bytes);
  /// Tells the peer, and uses, config().chunk_size_out.
  void send_chunk_size();
  void send_user_control(uint16_t event, uint32_t value);
  void send_user_control(uint16_t event, uint32_t value, uint32_t second_value);
  void send_ping(base::time_point now);

 private:
  base::result<void> on_message(message&& m) override;
  base::result<void> on_user_control(base::bytes_view payload);
  base::result<void> on_control_number(uint8_t type, base::bytes_view payload);
  void send_control(uint8_t type, uint32_t value);
  void acknowledge();

  const session_config* config_;
  connection_user* user_ = nullptr;  // during receive()
  std::unique_ptr<handshake> handshake_;
  chunk_reader reader_;
  base::send_buffer output_;
  uint64_t bytes_received_ = 0;
  uint64_t bytes_acknowledged_ = 0;  // by us
  uint32_t acknowledged_ = 0;
  uint32_t peer_window_;
  uint32_t window_sent_ = 0;
  uint32_t chunk_size_out_ = default_chunk_size;
  base::time_point started_, last_received_, last_pong_;
};

/// User control events, RTMP 1.0 §7.1.7.
enum user_control_event : uint16_t {
  stream_begin = 0,
  stream_eof = 1,
  set_buffer_length = 3,
  ping_request = 6,
  ping_response = 7,
};

}  // namespace sluice::rtmp
