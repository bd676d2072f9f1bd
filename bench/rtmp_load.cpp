// rtmp_load: RTMP clients for measuring servers. One thread, raw epoll, no code shared with Sluice; see README.md.

#include <cstdio>

#include "load/modes.hpp"

namespace {

constexpr char usage[] =
    R"(usage: rtmp_load MODE rtmp://A.B.C.D:PORT/APP/NAME [options]     (one %d in NAME is the stream's number)
modes
  publish   encoders: 1.5 Mb/s H.264 + AAC shaped streams in real time
  play      players: count bytes and messages, connect-to-first-frame and per-message latency
  setup     connect, play to the first picture, close; again and again
  idle      players that are content with Play.Start, for memory figures
options
  -n, --connections N    how many (1)
  -m, --streams M        connection i uses stream FIRST + i % M (one each)
  -f, --first FIRST      number of the first stream (0)
  -c, --concurrency C    connections being set up at once (64)
  -r, --repeat K         setup: visits in all (1000)
  -d, --duration S       seconds; else until "stop" or the end of stdin
  -t, --start-timeout S  until the ready line is printed anyway; setup: until a visit has failed (20)
  -b, --rcvbuf BYTES     SO_RCVBUF
      --sleepy           publish: after one second of stream only one audio frame a second
      --light            publish: 2.5 small pictures a second, no sound
      --quiet            publish: 60 kb/s, 10 pictures a second, no sound
      --stall            play: stop reading after the first picture
      --drain            play: throw bytes away uncounted by message after the first picture (no latency)
stdin: "mark" prints the counters, "reset" clears the samples, "stop" ends. stdout: JSON, one object a line.
)";

int run(const sluice::bench::load_options& o) {
  using namespace sluice::bench;
  if (o.url.path.find('/') == std::string::npos) {
    std::fputs("rtmp_load: a URL has an app and a name\n", stderr);
    return 2;
  }
  if (o.mode == "publish") return run_publish(o);
  if (o.mode == "play") return run_play(o);
  if (o.mode == "setup") return run_setup(o);
  if (o.mode != "idle") return unknown_mode;
  load_options content = o;
  content.await_frame = false;
  return run_play(content);
}

}  // namespace

int main(int argc, char** argv) {
  return sluice::bench::load_main(argc, argv, {.name = "rtmp_load", .usage = usage, .scheme = "rtmp", .run = run});
}
