#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>

#include "runtime/loop.hpp"
#include "runtime/process.hpp"

namespace sluice::runtime {

namespace {

// A signal handler has no argument of ours: the one global of this library.
std::atomic<int> signal_pipe{-1};

void note_signal(int signo) {
  const int saved = errno;
  const auto byte = static_cast<uint8_t>(signo);
  // A full pipe loses nothing that matters: a signal is waiting already.
  [[maybe_unused]] const ssize_t written = write(signal_pipe.load(std::memory_order_relaxed), &byte, 1);
  errno = saved;
}

}  // namespace

struct signal_watch::impl final : io_handler {
  impl(loop& l, const std::vector<int>& signals, std::function<void(int)> on_signal)
      : loop_(l), on_signal_(std::move(on_signal)) {
    if (pipe2(pipe_, O_NONBLOCK | O_CLOEXEC) != 0) throw std::system_error(errno, std::generic_category(), "pipe2");
    signal_pipe = pipe_[1];
    struct sigaction action{};
    action.sa_handler = note_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    for (const int signo : signals) {
      struct sigaction before{};
      if (sigaction(signo, &action, &before) == 0) before_.emplace_back(signo, before);
    }
    if (!loop_.watch(pipe_[0], *this)) throw std::system_error(errno, std::generic_category(), "epoll_ctl");
  }

  ~impl() {
    for (const auto& [signo, before] : before_) sigaction(signo, &before, nullptr);
    loop_.unwatch(pipe_[0], *this);
    signal_pipe = -1;
    close(pipe_[0]);
    close(pipe_[1]);
  }

  void on_io(io_ready) override {
    std::vector<uint8_t> signals(64);
    const ssize_t count = read(pipe_[0], signals.data(), signals.size());
    signals.resize(count > 0 ? static_cast<size_t>(count) : 0);
    const auto tell = on_signal_;  // it may destroy this object
    for (const uint8_t signo : signals) tell(signo);
  }

  loop& loop_;
  std::function<void(int)> on_signal_;
  std::vector<std::pair<int, struct sigaction>> before_;
  int pipe_[2] = {-1, -1};
};

signal_watch::signal_watch(loop& l, std::vector<int> signals, std::function<void(int)> on_signal)
    : impl_(std::make_unique<impl>(l, signals, std::move(on_signal))) {}

signal_watch::~signal_watch() = default;

}  // namespace sluice::runtime
