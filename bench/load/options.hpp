#pragma once

#include <string>

#include "load/rtmp_client.hpp"

namespace sluice::bench {

/// What the command line says (`rtmp_load --help` has the words).
struct load_options {
  std::string mode;
  rtmp_url url;
  int connections = 1;
  int streams = 0;  ///< connection i uses stream first + i % streams; 0: one each
  int first = 0;
  int concurrency = 64;
  int repeat = 1000;
  double duration_s = 0;  ///< 0: until `stop` or the end of stdin
  double start_timeout_s = 20;
  int receive_buffer = 0;
  bool sleepy = false;
  bool light = false;
  bool stall = false;
  bool drain = false;
  bool await_frame = true;

  int stream_of(int connection) const { return first + (streams > 0 ? connection % streams : connection); }
};

}  // namespace sluice::bench
