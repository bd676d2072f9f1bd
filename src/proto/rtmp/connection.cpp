#include "proto/rtmp/connection.hpp"

#include <algorithm>
#include <utility>

#include "proto/rtmp/aggregate.hpp"
#include "proto/rtmp/commands.hpp"

namespace sluice::rtmp {
namespace {

/// Of a peer that names none. 2.5 MB is what Flash Media Server and SRS say.
constexpr uint32_t default_window = 2'500'000;
constexpr uint8_t limit_type_dynamic = 2;

}  // namespace

connection::connection(const session_config& config, std::unique_ptr<handshake> h, base::time_point now)
    : config_(&config),
      handshake_(std::move(h)),
      reader_(config.message_bytes_max, config.chunk_streams_max),
      peer_window_(default_window),
      started_(now),
      last_received_(now),
      last_pong_(now) {
  reader_.want_media(false);
  handshake_->begin(output_.sink());
}

base::result<void> connection::receive(base::bytes_view bytes, base::time_point now, connection_user& user) {
  last_received_ = now;
  bytes_received_ += bytes.size();
  if (handshake_) {
    auto used = handshake_->receive(bytes, output_.sink());
    if (!used) return tl::unexpected(std::move(used.error()));
    if (!handshake_->done()) return {};
    handshake_.reset();
    bytes = bytes.subspan(*used);
    user.on_handshake_done();
  }
  user_ = &user;
  auto ok = reader_.receive(bytes, *this);
  user_ = nullptr;
  if (ok) acknowledge();
  return ok;
}

/// §5.4.3 asks for an acknowledgement per window. We send one per half window, as librtmp and SRS do in their ways: a
/// sender that counts the handshake differently, or stops at the window, never waits. A window of 0 asks for none.
void connection::acknowledge() {
  if (peer_window_ == 0 || bytes_received_ - bytes_acknowledged_ < std::max(peer_window_ / 2, 1u)) return;
  bytes_acknowledged_ = bytes_received_;
  if (!answers_blocked()) send_control(acknowledgement, static_cast<uint32_t>(bytes_received_));
}

base::result<void> connection::on_message(message&& m) {
  switch (m.type) {
    case acknowledgement:
    case window_ack_size:
    case set_peer_bandwidth:
      return on_control_number(m.type, m.payload.view());
    case user_control:
      return on_user_control(m.payload.view());
    case aggregate:
      return split_aggregate(m, *user_);
    case shared_object_amf0:
    case shared_object_amf3:
      return {};
    default:
      return user_->on_message(std::move(m));
  }
}

base::result<void> connection::on_control_number(uint8_t type, base::bytes_view payload) {
  base::byte_reader in(payload);
  const uint32_t value = in.u32();
  if (in.failed()) return base::fail("bad_control_message", "a control message is too short");
  if (type == acknowledgement) acknowledged_ = value;
  if (type == window_ack_size) peer_window_ = value;
  if (type == set_peer_bandwidth && value != window_sent_ && !answers_blocked()) send_window_ack_size(value);  // §5.4.5
  return {};
}

base::result<void> connection::on_user_control(base::bytes_view payload) {
  base::byte_reader in(payload);
  const uint16_t event = in.u16();
  if (in.failed()) return base::fail("bad_control_message", "a user control message is too short");
  if (event == ping_request) {
    const uint32_t time = in.u32();
    if (in.failed()) return base::fail("bad_control_message", "a ping is too short");
    if (!answers_blocked()) send_user_control(ping_response, time);
  } else if (event == ping_response) {
    last_pong_ = last_received_;
  }
  return {};  // the others (StreamBegin, SetBufferLength, buffer empty, …) ask nothing of us
}

void connection::send_message(uint8_t type, uint32_t chunk_stream_id, uint32_t stream_id, uint32_t timestamp,
                              base::bytes_view payload) {
  write_message(output_.sink(), type, chunk_stream_id, stream_id, timestamp, payload, chunk_size_out_);
}

void connection::send_command(uint32_t stream_id, std::string_view name, double transaction,
                              const std::vector<amf0::value>& values) {
  send_message(command_amf0, stream_id == 0 ? command_chunk_stream : stream_chunk_stream, stream_id, 0,
               encode_command(name, transaction, values));
}

void connection::send_control(uint8_t type, uint32_t value) {
  std::vector<uint8_t> payload;
  base::byte_writer out(payload);
  out.u32(value);
  if (type == set_peer_bandwidth) out.u8(limit_type_dynamic);
  send_message(type, control_chunk_stream, 0, 0, payload);
}

void connection::send_window_ack_size(uint32_t bytes) {
  window_sent_ = bytes;
  send_control(window_ack_size, bytes);
}

void connection::send_peer_bandwidth(uint32_t bytes) { send_control(set_peer_bandwidth, bytes); }

void connection::send_chunk_size() {
  const uint32_t size = std::clamp(config_->chunk_size_out, default_chunk_size, chunk_size_max);
  send_control(set_chunk_size, size);
  chunk_size_out_ = size;
}

void connection::send_user_control(uint16_t event, uint32_t value) {
  std::vector<uint8_t> payload;
  base::byte_writer out(payload);
  out.u16(event);
  out.u32(value);
  send_message(user_control, control_chunk_stream, 0, 0, payload);
}

void connection::send_user_control(uint16_t event, uint32_t value, uint32_t second_value) {
  std::vector<uint8_t> payload;
  base::byte_writer out(payload);
  out.u16(event);
  out.u32(value);
  out.u32(second_value);
  send_message(user_control, control_chunk_stream, 0, 0, payload);
}

void connection::send_ping(base::time_point now) {
  using std::chrono::milliseconds;
  const auto since = std::chrono::duration_cast<milliseconds>(now - started_).count();
  send_user_control(ping_request, static_cast<uint32_t>(since));
}

}  // namespace sluice::rtmp
