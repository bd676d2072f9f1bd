#include <algorithm>
#include <cstdlib>

#include "proto/rtmp/client_session.hpp"
#include "proto/rtmp/handshake.hpp"

namespace {

using namespace sluice;
using namespace std::chrono_literals;

rtmp::session_config small_config() {
  rtmp::session_config c;
  c.message_bytes_max = 256 * 1024;
  c.chunk_streams_max = 8;
  return c;
}

}  // namespace

// The first byte: the intent, and whether the input begins behind the handshake (mostly) or with it. The second: the
// size of the pieces.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  static const auto config = small_config();
  base::time_point now{1h};
  rtmp::client_request request;
  request.intent = static_cast<rtmp::client_intent>(data[0] % 3);
  request.app = "live";
  request.tc_url = "rtmp://h/live";
  request.name = "s";
  rtmp::client_session session(config, std::move(request), now, 1);
  if (!(data[0] & 0x80)) {
    std::vector<uint8_t> hello(1 + 2 * rtmp::handshake_block_size);
    hello[0] = rtmp::rtmp_version;
    if (!session.receive(hello, now)) std::abort();
  }
  const base::bytes_view in(data + 2, size - 2);
  const size_t step = 1 + 4 * size_t{data[1]};
  bool started = false;
  const auto drain = [&] {
    while (auto e = session.next_event()) {
      started |= std::holds_alternative<rtmp::client_started>(*e);
      if (const auto* m = std::get_if<rtmp::media_message>(&*e)) {
        if (!started || m->msg.payload.headroom() < rtmp::message_headroom) std::abort();
      }
      if (const auto* s = std::get_if<rtmp::client_status>(&*e); s && s->refused && started) std::abort();
    }
  };
  for (size_t at = 0; at < in.size(); at += step) {
    if (!session.receive(in.subspan(at, std::min(step, in.size() - at)), now)) break;
    drain();
    now += 1ms;
    if (!session.on_timeout(now)) break;
  }
  drain();
  if (started && session.stream_id() == 0) std::abort();
  session.close_stream();
  return 0;
}
