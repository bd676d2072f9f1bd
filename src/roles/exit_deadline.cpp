#include "roles/exit_deadline.hpp"

#include <unistd.h>

namespace sluice::roles {
namespace {

// The log writes on a thread of its own, which may be what hangs.
constexpr auto log_time = std::chrono::milliseconds(100);

}  // namespace

exit_deadline::exit_deadline(base::log_sink& log, base::duration time)
    : thread_([this, &log, time] { wait(log, time); }) {}

exit_deadline::~exit_deadline() {
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void exit_deadline::wait(base::log_sink& log, base::duration time) {
  std::unique_lock lock(mutex_);
  if (wake_.wait_for(lock, time, [this] { return done_; })) return;
  log.log(base::log_level::error, "killed",
          {{"reason", "force_quit_timeout"}, {"text", "the orderly stop took too long"}});
  if (!wake_.wait_for(lock, log_time, [this] { return done_; })) ::_exit(1);
}

}  // namespace sluice::roles
