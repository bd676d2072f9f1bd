// http_load: HTTP-FLV, HTTP-TS and HLS players for measuring servers. One thread, raw epoll, no code shared with
// Sluice; see README.md.

#include "load/modes.hpp"

namespace {

constexpr char usage[] =
    R"(usage: http_load MODE http://A.B.C.D:PORT/PATH [options]     (one %d in PATH is the stream's number)
modes
  flv   players of HTTP-FLV: count bytes and messages, connect-to-first-frame and per-message latency
  ts    players of HTTP-TS: count bytes and packets
  hls   PATH is a playlist: its segments, asked for in turn, each connection without a pause
options
  -n, --connections N    how many (1)
  -m, --streams M        flv, ts: connection i uses stream FIRST + i % M (one each)
  -f, --first FIRST      number of the first stream (0); of the only one of hls
  -c, --concurrency C    connections being set up at once (64)
  -d, --duration S       seconds; else until "stop" or the end of stdin
  -t, --start-timeout S  until the ready line is printed anyway (20)
  -b, --rcvbuf BYTES     SO_RCVBUF
      --drain            flv, ts: throw bytes away uncounted by message after the first picture (no latency)
stdin: "mark" prints the counters, "reset" clears the samples, "stop" ends. stdout: JSON, one object a line.
)";

int run(const sluice::bench::load_options& o) {
  using namespace sluice::bench;
  if (o.mode == "flv") return run_flv(o);
  if (o.mode == "ts") return run_ts(o);
  if (o.mode == "hls") return run_hls(o);
  return unknown_mode;
}

}  // namespace

int main(int argc, char** argv) {
  return sluice::bench::load_main(argc, argv, {.name = "http_load", .usage = usage, .scheme = "http", .run = run});
}
