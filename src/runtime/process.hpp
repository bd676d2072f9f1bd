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

/// Calls `on_signal(signo)` on the loop's thread for each of `signals`, until destroyed (the former dispositions are
/// then restored). A signal that comes twice before the loop looks may be reported once. One per process at a time.
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
/// Descriptors in use now (entries of /proc/self/fd): takes milliseconds if they are thousands.
size_t descriptors_in_use();
/// Processors this process may use: the affinity mask, less by the cgroup's cpu.max (v2) or cfs quota (v1), at least 1.
unsigned usable_cpus();
/// usable memory in bytes: the cgroup's limit if it has one, else what the machine has.
uint64_t usable_memory();

void random_bytes(std::span<uint8_t> into);
/// Names the network stack that this process uses: the same for all processes of a host, or of a container with a
/// network of its own. A loopback address means the same place only there.
std::string network_id();
/// `count` characters of [0-9a-z] from the kernel's randomness.
std::string random_id(size_t count);

enum class log_format { text, json };
/// The process's log: lines to stderr, each written whole (up to 4 KiB), from any thread. A thread of its own does the
/// writing: a full pipe blocks nobody, 1 MiB of lines wait, what comes then is dropped and counted by a line
/// `log_lines_dropped`. Text escapes control characters; JSON lines are {"ts":RFC 3339 UTC with ms,"level","event",
/// fields…} (log_format.hpp). `common` fields stand in every line (role, pid). The destructor writes what waits, for at
/// most a second.
std::unique_ptr<base::log_sink> make_log(log_format format, base::log_level level, std::vector<base::log_field> common);
/// The same to another descriptor, which stays the caller's.
std::unique_ptr<base::log_sink> make_log_to(int fd, log_format format, base::log_level level,
                                            std::vector<base::log_field> common);

}  // namespace sluice::runtime
