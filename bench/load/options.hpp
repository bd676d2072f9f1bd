#pragma once

#include <string>
#include <string_view>

#include "load/server_url.hpp"
#include "load/stream_shape.hpp"

namespace sluice::bench {

/// What the command line says (`--help` has the words).
struct load_options {
  std::string mode;
  server_url url;
  int connections = 1;
  int streams = 0;  ///< connection i uses stream first + i % streams; 0: one each
  int first = 0;
  int concurrency = 64;
  int repeat = 1000;
  double duration_s = 0;  ///< 0: until `stop` or the end of stdin
  double start_timeout_s = 20;
  int receive_buffer = 0;
  weight stream = weight::obs;
  bool sleepy = false;
  bool stall = false;
  bool drain = false;
  bool await_frame = true;

  int stream_of(int connection) const { return first + (streams > 0 ? connection % streams : connection); }
};

/// One of the load programs. All read the same options; `usage` names those that mean something to it.
struct load_program {
  const char* name;
  const char* usage;
  std::string_view scheme;              ///< of its URLs
  int (*run)(const load_options& all);  ///< the exit code, or unknown_mode
};
constexpr int unknown_mode = -1;

/// main() of such a program.
int load_main(int argc, char** argv, const load_program& program);

}  // namespace sluice::bench
