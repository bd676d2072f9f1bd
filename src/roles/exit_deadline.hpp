#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "base/log.hpp"
#include "base/time.hpp"

namespace sluice::roles {

/// Ends the process with code 1, after a log line `killed`, unless it is destroyed within `time`. On a thread of its
/// own: it also ends a process whose other threads all hang. For an orderly stop that may not take for ever.
class exit_deadline {
 public:
  /// `log` outlives it.
  exit_deadline(base::log_sink& log, base::duration time);
  ~exit_deadline();

 private:
  void wait(base::log_sink& log, base::duration time);

  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;  // guarded by mutex_
  std::thread thread_;
};

}  // namespace sluice::roles
