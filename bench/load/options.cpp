#include "load/options.hpp"

#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>

namespace sluice::bench {
namespace {

/// The options before the mode and the URL; `help` if that is what is wanted, nothing if one is not known.
std::optional<load_options> read_options(int argc, char** argv, bool& help) {
  enum { sleepy = 1000, stall, drain, light, quiet };
  const option known[] = {
      {"connections", 1, nullptr, 'n'},   {"streams", 1, nullptr, 'm'}, {"first", 1, nullptr, 'f'},
      {"concurrency", 1, nullptr, 'c'},   {"repeat", 1, nullptr, 'r'},  {"duration", 1, nullptr, 'd'},
      {"start-timeout", 1, nullptr, 't'}, {"rcvbuf", 1, nullptr, 'b'},  {"sleepy", 0, nullptr, sleepy},
      {"stall", 0, nullptr, stall},       {"drain", 0, nullptr, drain}, {"light", 0, nullptr, light},
      {"quiet", 0, nullptr, quiet},       {"help", 0, nullptr, 'h'},    {nullptr, 0, nullptr, 0}};
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
        o.stream = weight::light;
        break;
      case quiet:
        o.stream = weight::quiet;
        break;
      case stall:
        o.stall = true;
        break;
      case drain:
        o.drain = true;
        break;
      case 'h':
        help = true;
        return o;
      default:
        return {};
    }
  }
  return o;
}

}  // namespace

int load_main(int argc, char** argv, const load_program& program) try {
  signal(SIGPIPE, SIG_IGN);
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  const auto fail = [&](const char* what) {
    std::fprintf(stderr, "%s: %s\n%s", program.name, what, program.usage);
    return 2;
  };
  bool help = false;
  auto o = read_options(argc, argv, help);
  if (!o) return fail("unknown option");
  if (help) {
    std::fputs(program.usage, stdout);
    return 0;
  }
  if (argc - optind != 2) return fail("a mode and a URL are needed");
  if (o->connections < 1 || o->concurrency < 1 || o->repeat < 1) return fail("counts must be positive");
  o->mode = argv[optind];
  const auto url = server_url::parse(argv[optind + 1], program.scheme);
  if (!url) return fail("not a URL of the form that is asked for");
  o->url = *url;
  const int code = program.run(*o);
  return code == unknown_mode ? fail("unknown mode") : code;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s: %s\n", program.name, e.what());
  return 1;
}

}  // namespace sluice::bench
