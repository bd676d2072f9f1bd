#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/result.hpp"

namespace sluice::runtime {

class loop;

/// Calls `on_signal(signo)` on the loop's thread for each of `signals`. One per process.
class signal_watch {
 public:
  signal_watch(loop& l, std::vector<int> signals, std::function<void(int)> on_signal);
  ~signal_watch();

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Raises RLIMIT_NOFILE to its hard limit and returns it.
size_t raise_descriptor_limit();
/// Descriptors in use now (entries of /proc/self/fd).
size_t descriptors_in_use();
/// Processors this process may use: the affinity mask, less by the cgroup's cpu.max (v2) or cfs quota (v1), at least 1.
unsigned usable_cpus();
/// usable memory in bytes: the cgroup's limit if it has one, else what the machine has.
uint64_t usable_memory();

void random_bytes(std::span<uint8_t> into);
/// `count` characters of [0-9a-z] from the kernel's randomness.
std::string random_id(size_t count);

enum class log_format { text, json };
/// The process's log: lines to stderr, each written whole, from any thread, without blocking on a full pipe for more than a moment
/// (lines are then dropped and counted). Text escapes control characters; JSON lines are {"ts":RFC 3339 UTC with ms,"level",
/// "event", fields…}. `common` fields stand in every line (role, pid).
std::unique_ptr<base::log_sink> make_log(log_format format, base::log_level level, std::vector<base::log_field> common);

}  // namespace sluice::runtime
