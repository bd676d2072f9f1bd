#include <algorithm>
#include <cstdlib>
#include <set>

#include "proto/rtmp/handshake.hpp"
#include "proto/rtmp/server_session.hpp"

namespace {

using namespace sluice;
using namespace std::chrono_literals;

rtmp::session_config small_config() {
  rtmp::session_config c;
  c.message_bytes_max = 256 * 1024;
  c.chunk_streams_max = 8;
  return c;
}

struct driver {
  rtmp::server_session& session;
  uint8_t mood;  // what is refused
  std::set<uint32_t> accepted;

  void on(rtmp::connect_request& r) {
    if (r.app.size() > 2048 || r.tc_url.size() > 2048) std::abort();
    if (mood & 1) return session.reject_connect("NetConnection.Connect.Rejected", "no");
    session.accept_connect({{"sluice", r.command_object}});
  }
  void on(rtmp::publish_request& r) {
    if (r.name.size() > 2048 || r.name.find('\n') != std::string::npos) std::abort();
    if (mood & 2 || r.name.size() % 2 == 0) {
      return session.reject_publish(r.stream_id, "NetStream.Publish.BadName", r.name);
    }
    session.accept_publish(r.stream_id);
    accepted.insert(r.stream_id);
  }
  void on(rtmp::play_request& r) {
    if (mood & 4) return session.reject_play(r.stream_id, "NetStream.Play.Failed", r.name);
    session.accept_play(r.stream_id);
  }
  void on(rtmp::media_message& m) {
    if (m.msg.payload.headroom() < rtmp::message_headroom) std::abort();
    if (!accepted.contains(m.msg.stream_id)) std::abort();
  }
  void on(rtmp::pause_request& r) { session.send_status(r.stream_id, "status", "NetStream.Pause.Notify", ""); }
  void on(rtmp::receive_request&) {}
  void on(rtmp::stream_closed& c) { accepted.erase(c.stream_id); }
};

}  // namespace

// The first byte: moods of the driver, and whether the input begins behind the handshake (mostly) or with it. The
// second: the size of the pieces. A clock runs along.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  static const auto config = small_config();
  base::time_point now{1h};
  rtmp::server_session session(config, now, 1);
  if (!(data[0] & 0x80)) {
    std::vector<uint8_t> hello(1 + 2 * rtmp::handshake_block_size);
    hello[0] = rtmp::rtmp_version;
    if (!session.receive(hello, now)) std::abort();
  }
  driver d{session, data[0], {}};
  const base::bytes_view in(data + 2, size - 2);
  const size_t step = 1 + 4 * size_t{data[1]};
  for (size_t at = 0; at < in.size(); at += step) {
    if (!session.receive(in.subspan(at, std::min(step, in.size() - at)), now)) break;
    while (auto e = session.next_event()) std::visit([&](auto& v) { d.on(v); }, *e);
    now += 1ms;
    if (now >= session.deadline() || !session.on_timeout(now)) break;
    if (data[0] & 8) session.output().consume(session.output().size());
  }
  while (session.next_event()) {
  }
  return 0;
}
