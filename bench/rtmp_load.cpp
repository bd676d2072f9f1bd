// rtmp_load: RTMP clients for measuring servers. One thread, raw epoll, no code shared with Sluice; see README.md.

#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

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
      --stall            play: stop reading after the first picture
      --drain            play: throw bytes away uncounted by message after the first picture (no latency)
stdin: "mark" prints the counters, "reset" clears the samples, "stop" ends. stdout: JSON, one object a line.
)";

int fail(const char* what) {
  std::fprintf(stderr, "rtmp_load: %s\n%s", what, usage);
  return 2;
}

}  // namespace

int main(int argc, char** argv) try {
  using namespace sluice::bench;
  signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  enum { sleepy = 1000, stall, drain, light };
  const option known[] = {
      {"connections", 1, nullptr, 'n'},   {"streams", 1, nullptr, 'm'}, {"first", 1, nullptr, 'f'},
      {"concurrency", 1, nullptr, 'c'},   {"repeat", 1, nullptr, 'r'},  {"duration", 1, nullptr, 'd'},
      {"start-timeout", 1, nullptr, 't'}, {"rcvbuf", 1, nullptr, 'b'},  {"sleepy", 0, nullptr, sleepy},
      {"stall", 0, nullptr, stall},       {"drain", 0, nullptr, drain}, {"light", 0, nullptr, light},
      {"help", 0, nullptr, 'h'},          {nullptr, 0, nullptr, 0}};
  load_options o;
  for (int c; (c = getopt_long(argc, argv, "n:m:f:c:r:d:t:b:h", known, nullptr)) != -1;) {
    switch (c) {
      case 'n':
        o.connections = std::atoi(optarg);
        break;
      case 'm':
        o.streams = std::atoi(optarg);
        break;
      case 'f':
        o.first = std::atoi(optarg);
        break;
      case 'c':
        o.concurrency = std::atoi(optarg);
        break;
      case 'r':
        o.repeat = std::atoi(optarg);
        break;
      case 'd':
        o.duration_s = std::atof(optarg);
        break;
      case 't':
        o.start_timeout_s = std::atof(optarg);
        break;
      case 'b':
        o.receive_buffer = std::atoi(optarg);
        break;
      case sleepy:
        o.sleepy = true;
        break;
      case light:
        o.light = true;
        break;
      case stall:
        o.stall = true;
        break;
      case drain:
        o.drain = true;
        break;
      case 'h':
        std::fputs(usage, stdout);
        return 0;
      default:
        return fail("unknown option");
    }
  }
  if (argc - optind != 2) return fail("a mode and a URL are needed");
  if (o.connections < 1 || o.concurrency < 1 || o.repeat < 1) return fail("counts must be positive");
  o.mode = argv[optind];
  const auto url = rtmp_url::parse(argv[optind + 1]);
  if (!url) return fail("not a URL of the form rtmp://A.B.C.D:PORT/APP/NAME");
  o.url = *url;
  if (o.mode == "publish") return run_publish(o);
  if (o.mode == "play") return run_play(o);
  if (o.mode == "setup") return run_setup(o);
  if (o.mode == "idle") {
    o.await_frame = false;
    return run_play(o);
  }
  return fail("unknown mode");
} catch (const std::exception& e) {
  std::fprintf(stderr, "rtmp_load: %s\n", e.what());
  return 1;
}
