#include <cstdlib>

#include "media/bridge/ts.hpp"

namespace {

using namespace sluice;

void check(bool ok) {
  if (!ok) std::abort();
}

struct counters {
  std::array<int, 0x2000> last;
  counters() { last.fill(-1); }
};

// Whole packets with sync bytes, of our PIDs, whose adaptation fields fit and whose counters go on.
void check_packets(base::bytes_view ts, counters& c) {
  check(ts.size() % mpegts::packet_size == 0);
  for (size_t at = 0; at < ts.size(); at += mpegts::packet_size) {
    const auto p = ts.subspan(at, mpegts::packet_size);
    const unsigned pid = (p[1] & 0x1Fu) << 8 | p[2], control = p[3] >> 4;
    check(p[0] == 0x47 && control >= 1 && control <= 3);
    check(pid == mpegts::pat_pid || pid == mpegts::pmt_pid || pid == mpegts::video_pid || pid == mpegts::audio_pid);
    if (control & 2) check(p[4] <= (control == 2 ? 183 : 182));
    const int counter = p[3] & 15;
    if (c.last[pid] >= 0) check(counter == (control & 1 ? (c.last[pid] + 1) & 15 : c.last[pid]));
    c.last[pid] = counter;
  }
}

}  // namespace

// Options (1 byte), then messages: what to do before (1 byte: 0 nothing, 1 a segment begins, 2 discontinuity, 3 flush),
// type (1), timestamp (4), size of the body (2), body.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::byte_reader in(base::bytes_view(data, size));
  media::ts_bridge bridge({.audio_pes_ms = in.u8()});
  std::vector<uint8_t> out;
  counters seen;
  uint64_t broken = 0;
  while (in.remaining() >= 8) {
    const uint8_t before = in.u8() & 3, type = in.u8();
    const uint32_t timestamp = in.u32();
    const auto body = in.bytes(std::min<size_t>(in.u16(), in.remaining()));
    rtmp::message m{timestamp, type, 1, 4, base::slice::copy_of(body, rtmp::message_headroom)};
    const media::frame f = media::make_frame(std::move(m), timestamp, {}, true);
    out.clear();
    if (before == 1) {
      bridge.flush(out);
      check_packets(out, seen);
      out.clear();
      bridge.begin_segment();
      seen = {};
    } else if (before == 2) {
      bridge.discontinuity();
    } else if (before == 3) {
      bridge.flush(out);
    }
    bridge.write(f, out);
    check_packets(out, seen);
    check(bridge.broken() >= broken && bridge.broken() <= broken + 1);
    broken = bridge.broken();
    // A frame costs its own bytes, a header for each unit of it, and the fillers of a gap in time.
    check(out.size() <= 200'000 + body.size() * 8);
  }
  return 0;
}
