// The process's log. Callers format a line and append it to a bounded buffer; one thread writes the buffer to the
// descriptor, so a reader that stalls (a full pipe) holds up nobody but that thread.

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "runtime/log_format.hpp"

namespace sluice::runtime {

namespace {

using namespace std::chrono_literals;

constexpr size_t pending_bytes_max = 1 << 20;
/// POSIX: a pipe takes writes up to PIPE_BUF whole, and a pipe that polls writable takes one without blocking.
constexpr size_t write_bytes_max = 4096;
constexpr auto flush_time_max = 1s;

class fd_log_sink final : public base::log_sink {
 public:
  fd_log_sink(int fd, log_format format, base::log_level level, std::vector<base::log_field> common)
      : fd_(fd), format_(format), level_(level), common_(std::move(common)), writer_([this] { write_pending(); }) {}

  ~fd_log_sink() override {
    {
      std::lock_guard lock(mutex_);
      ending_at_ = std::chrono::steady_clock::now() + flush_time_max;
      ending_ = true;
    }
    wake_.notify_one();
    writer_.join();
  }

  bool enabled(base::log_level level) const override { return level >= level_; }

  void write(base::log_level level, std::string_view event, std::span<const base::log_field> fields) override {
    std::string line = format_log_line(format_, std::chrono::system_clock::now(), level, event, common_, fields);
    bool wake = false;
    {
      std::lock_guard lock(mutex_);
      if (pending_.size() + line.size() > pending_bytes_max) {
        ++dropped_;
        return;
      }
      wake = pending_.empty();
      pending_ += line;
    }
    if (wake) wake_.notify_one();
  }

 private:
  void write_pending() {
    // A pipe whose reader is gone must be an error here, not a signal to the process.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    std::string batch;
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return ending_ || !pending_.empty(); });
      if (pending_.empty()) return;
      batch.clear();
      batch.swap(pending_);
      if (const uint64_t dropped = std::exchange(dropped_, 0)) {
        const base::log_field count("count", dropped);
        batch += format_log_line(format_, std::chrono::system_clock::now(), base::log_level::warn, "log_lines_dropped",
                                 common_, {&count, 1});
      }
      lock.unlock();
      const bool written = write_lines(batch);
      lock.lock();
      if (!written && ending_) return;
    }
  }

  /// In pieces of whole lines that a pipe takes at once. False if the time to end came before all was written.
  bool write_lines(std::string_view lines) {
    while (!lines.empty()) {
      std::string_view piece = lines.substr(0, write_bytes_max);
      if (piece.size() < lines.size()) {
        const size_t end = piece.rfind('\n');
        if (end != std::string_view::npos) piece = piece.substr(0, end + 1);
      }
      if (!wait_writable()) return false;
      const ssize_t written = ::write(fd_, piece.data(), piece.size());
      if (written < 0 && errno != EINTR && errno != EAGAIN) return true;  // nowhere to write to: nothing to be done
      if (written > 0) lines.remove_prefix(static_cast<size_t>(written));
    }
    return true;
  }

  bool wait_writable() {
    for (;;) {
      pollfd p{fd_, POLLOUT, 0};
      if (poll(&p, 1, 100) > 0) return true;
      std::lock_guard lock(mutex_);
      if (ending_ && std::chrono::steady_clock::now() >= ending_at_) return false;
    }
  }

  const int fd_;
  const log_format format_;
  const base::log_level level_;
  const std::vector<base::log_field> common_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::string pending_;  // this and what follows: guarded by mutex_
  uint64_t dropped_ = 0;
  bool ending_ = false;
  std::chrono::steady_clock::time_point ending_at_;
  std::thread writer_;  // last: it uses the others
};

}  // namespace

std::unique_ptr<base::log_sink> make_log_to(int fd, log_format format, base::log_level level,
                                            std::vector<base::log_field> common) {
  return std::make_unique<fd_log_sink>(fd, format, level, std::move(common));
}

std::unique_ptr<base::log_sink> make_log(log_format format, base::log_level level,
                                         std::vector<base::log_field> common) {
  return make_log_to(STDERR_FILENO, format, level, std::move(common));
}

}  // namespace sluice::runtime
