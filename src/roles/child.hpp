#pragma once

#include <sys/types.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "base/time.hpp"

namespace sluice::roles {

/// Has the kernel kill this process when the thread of `parent` that made it ends; leaves at once, with code 0, if that
/// has happened already. The child's own part: execve() of a file with capabilities or set-user-id undoes what child
/// does for it.
void die_with(pid_t parent);

/// How a process ended.
struct child_exit {
  int code = 0;    ///< of exit(), if signal is 0
  int signal = 0;  ///< that killed it, or 0
  std::string text() const;
};

/// One child process, with a descriptor that becomes readable when it ends. It is killed with the thread that made it
/// (PR_SET_PDEATHSIG), and stands in a process group of its own, so that Ctrl-C reaches its parent only. Main thread
/// only.
class child {
 public:
  /// Executes `program` as `arguments` with exactly `environment`, standard input from /dev/null, no signal blocked.
  /// `pass_fd` (or -1) stays open in it under the same number; of the parent's other descriptors those survive that are
  /// not close-on-exec. Error reason: cannot_start.
  static base::result<child> start(const std::string& program, const std::vector<std::string>& arguments,
                                   const std::vector<std::string>& environment, int pass_fd);
  child(child&& other) noexcept;
  child& operator=(child&& other) noexcept;
  ~child();  ///< kills it if it lives, and waits for that

  pid_t pid() const { return pid_; }
  int exit_fd() const { return pidfd_; }
  void signal(int signo) const;
  /// How it ended; nothing as long as it lives. Asked once more, the same.
  std::optional<child_exit> ended();

 private:
  child(pid_t pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}
  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::optional<child_exit> exit_;
};

/// Delays between restarts: 100 ms, doubled up to 5 s; from the start again after a life of 10 s.
class restart_backoff {
 public:
  static constexpr base::duration first = std::chrono::milliseconds(100);
  static constexpr base::duration last = std::chrono::seconds(5);
  static constexpr base::duration healthy_after = std::chrono::seconds(10);

  /// How long to wait before the next start, when the process lived for `lifetime`.
  base::duration after(base::duration lifetime) {
    if (lifetime >= healthy_after) next_ = first;
    const auto delay = next_;
    next_ = std::min<base::duration>(next_ * 2, last);
    return delay;
  }

 private:
  base::duration next_ = first;
};

}  // namespace sluice::roles
