#include "load/rtmp_client.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "load/stream_shape.hpp"

namespace sluice::bench {
namespace {

constexpr size_t handshake_part = 1536;
constexpr size_t unsent_bytes_max = 8u << 20;
constexpr size_t read_bytes = 1u << 20;
uint8_t read_buffer[read_bytes];  // one thread

bool contains(bytes where, std::string_view what) {
  return std::string_view(reinterpret_cast<const char*>(where.data()), where.size()).find(what) !=
         std::string_view::npos;
}

}  // namespace

void rtmp_client::open(const server_url& url, int stream, int receive_buffer) {
  shut();
  authority_ = url.authority;
  const std::string path = url.path_of(stream);
  const size_t slash = path.rfind('/');
  app_ = path.substr(0, slash);
  name_ = path.substr(slash + 1);
  scanner_ = {};
  received_ = acknowledged_ = 0;
  ack_window_ = 2'500'000;
  draining_ = stalled_ = false;
  opened_at_ = now_ns();
  fd_ = url.dial(receive_buffer);
  if (fd_ < 0) return lost(std::strerror(errno));
  phase_ = phase::connecting;
  events_ = EPOLLOUT;
  loop_.watch(fd_, events_, this);
}

void rtmp_client::shut() {
  if (fd_ >= 0) {
    loop_.unwatch(fd_);
    close(fd_);
  }
  fd_ = -1;
  phase_ = phase::closed;
  unsent_.clear();
  handshake_.clear();
}

void rtmp_client::lost(const char* why) {
  shut();
  on_lost(why);
}

void rtmp_client::want(uint32_t events) {
  if (fd_ < 0 || events == events_) return;
  events_ = events;
  loop_.change(fd_, events, this);
}

void rtmp_client::stall() {
  stalled_ = true;
  want(EPOLLRDHUP);
}

bool rtmp_client::send(bytes data) {
  if (fd_ < 0) return false;
  if (unsent_.empty()) {
    const ssize_t n = ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
    if (n > 0) data = data.subspan(static_cast<size_t>(n));
  }
  if (data.empty()) return true;
  unsent_.insert(unsent_.end(), data.begin(), data.end());
  if (!stalled_) want(EPOLLIN | EPOLLOUT);
  return unsent_.size() <= unsent_bytes_max;
}

void rtmp_client::write_ready() {
  if (phase_ == phase::connecting) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) return lost(std::strerror(error));
    phase_ = phase::handshake;
    want(EPOLLIN);
    std::vector<uint8_t> c0c1(1 + handshake_part, 0x5A);
    c0c1[0] = 3;
    std::memset(c0c1.data() + 1, 0, 8);
    send(c0c1);
    return;
  }
  const ssize_t n = ::send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN) return lost(std::strerror(errno));
  if (n > 0) unsent_.erase(unsent_.begin(), unsent_.begin() + n);
  if (unsent_.empty()) want(EPOLLIN);
}

void rtmp_client::on_io(uint32_t events) {
  if (fd_ < 0) return;
  if (events & EPOLLOUT) write_ready();
  if (fd_ >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))) {
    if (stalled_) return lost("closed by the server");
    read_ready();
  }
}

void rtmp_client::read_ready() {
  const ssize_t n = recv(fd_, read_buffer, read_bytes, draining_ ? MSG_TRUNC : 0);
  if (n == 0) return lost("closed by the server");
  if (n < 0) {
    if (errno != EAGAIN) lost(std::strerror(errno));
    return;
  }
  const auto count = static_cast<size_t>(n);
  received_ += count;
  on_bytes(count);
  if (!draining_) {
    if (phase_ == phase::handshake) {
      take_handshake({read_buffer, count});
    } else if (!scanner_.scan({read_buffer, count}, [this](const scanned_message& m) { take(m); })) {
      return lost("bad chunk stream");
    }
  }
  if (fd_ >= 0 && received_ - acknowledged_ > ack_window_ / 2) acknowledge();
}

void rtmp_client::acknowledge() {
  acknowledged_ = received_;
  std::vector<uint8_t> payload, out;
  put_u32(payload, static_cast<uint32_t>(received_));
  append_message(out, 2, acknowledgement, 0, 0, payload, stream_shape::chunk_size);
  send(out);
}

void rtmp_client::take_handshake(bytes in) {
  handshake_.insert(handshake_.end(), in.begin(), in.end());
  constexpr size_t whole = 1 + 2 * handshake_part;
  if (handshake_.size() < whole) return;
  phase_ = phase::connect;
  const std::vector<uint8_t> got = std::move(handshake_);
  handshake_ = {};
  std::vector<uint8_t> c2(got.begin() + 1, got.begin() + 1 + handshake_part);
  send(c2);
  send_connect();
  if (got.size() > whole && !scanner_.scan(bytes(got).subspan(whole), [this](const scanned_message& m) { take(m); }))
    lost("bad chunk stream");
}

void rtmp_client::send_connect() {
  std::vector<uint8_t> payload, out;
  amf_writer w(payload);
  w.text("connect").number(1).begin_object().key("app").text(app_);
  if (role_ == role::publish) {
    w.key("type").text("nonprivate").key("flashVer").text("FMLE/3.0 (compatible; sluice-bench)");
  } else {
    w.key("flashVer").text("LNX 9,0,124,2").key("fpad").boolean(false).key("capabilities").number(15);
    w.key("audioCodecs").number(4071).key("videoCodecs").number(252).key("videoFunction").number(1);
  }
  w.key("tcUrl").text("rtmp://" + authority_ + "/" + app_).end();
  append_message(out, 3, command_amf0, 0, 0, payload, 128);
  send(out);
}

void rtmp_client::send_create_stream() {
  phase_ = phase::create_stream;
  std::vector<uint8_t> payload, out, number;
  if (role_ == role::publish) {
    put_u32(number, stream_shape::chunk_size);
    append_message(out, 2, set_chunk_size, 0, 0, number, 128);
    amf_writer(payload).text("releaseStream").number(2).null().text(name_);
    append_message(out, 3, command_amf0, 0, 0, payload, stream_shape::chunk_size);
    payload.clear();
    amf_writer(payload).text("FCPublish").number(3).null().text(name_);
    append_message(out, 3, command_amf0, 0, 0, payload, stream_shape::chunk_size);
    payload.clear();
  } else {
    put_u32(number, 2'500'000);
    append_message(out, 2, window_ack_size, 0, 0, number, 128);
  }
  amf_writer(payload).text("createStream").number(4).null();
  append_message(out, 3, command_amf0, 0, 0, payload, 128);
  send(out);
}

void rtmp_client::send_start() {
  phase_ = phase::start;
  std::vector<uint8_t> payload, out;
  if (role_ == role::publish) {
    amf_writer(payload).text("publish").number(5).null().text(name_).text("live");
  } else {
    std::vector<uint8_t> buffer_length{0, 3};
    put_u32(buffer_length, stream_id_);
    put_u32(buffer_length, 3000);
    append_message(out, 2, user_control, 0, 0, buffer_length, 128);
    amf_writer(payload).text("play").number(5).null().text(name_).number(-2);
  }
  append_message(out, 8, command_amf0, 0, stream_id_, payload, role_ == role::publish ? stream_shape::chunk_size : 128);
  send(out);
}

void rtmp_client::take(const scanned_message& m) {
  switch (m.type) {
    case command_amf0:
      return take_command(m.head);
    case window_ack_size:
      if (m.head.size() >= 4)
        ack_window_ = static_cast<uint32_t>(m.head[0] << 24 | m.head[1] << 16 | m.head[2] << 8 | m.head[3]);
      return;
    case user_control: {
      if (m.head.size() < 6 || m.head[1] != 6) return;  // only PingRequest wants an answer
      std::vector<uint8_t> pong(m.head.begin(), m.head.begin() + 6), out;
      pong[1] = 7;
      append_message(out, 2, user_control, 0, 0, pong, 128);
      send(out);
      return;
    }
    default:
      if (phase_ == phase::running) on_message(m);
  }
}

void rtmp_client::take_command(bytes payload) {
  const command_head head = read_command(payload);
  if (head.name == "_error" && phase_ < phase::running && head.transaction != 2 && head.transaction != 3)
    return lost("refused");
  if (head.name == "_result" && head.transaction == 1 && phase_ == phase::connect) return send_create_stream();
  if (head.name == "_result" && head.transaction == 4 && phase_ == phase::create_stream) {
    if (payload.size() < 9) return lost("bad createStream result");
    std::vector<uint8_t> as_command{
        2, 0, 0};  // read_command() reads a string, then a number: the result's last 9 bytes are one
    as_command.insert(as_command.end(), payload.end() - 9, payload.end());
    stream_id_ = static_cast<uint32_t>(read_command(as_command).transaction);
    return send_start();
  }
  if (head.name != "onStatus") return;
  if (phase_ == phase::start &&
      contains(payload, role_ == role::publish ? "NetStream.Publish.Start" : "NetStream.Play.Start")) {
    phase_ = phase::running;
    return on_started();
  }
  if (contains(payload,
               "\x05"
               "error"))
    lost("refused");
}

}  // namespace sluice::bench
